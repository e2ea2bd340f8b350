"""Genesis Workbench: data, models, compute and experiments in one call each.

``import genesis_workbench as gw`` is light (under 0.3 s): a public name is imported when it is first used, and
nothing heavy lives here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> (module, attribute); a module alone where the attribute is None
_PUBLIC: dict[str, tuple[str, str | None]] = {
    "catalog": ("genesis_workbench.catalog", None),
    "open": ("genesis_workbench.catalog", "open"),
    "cite": ("genesis_workbench.catalog", "cite"),
    "compute": ("genesis_workbench.compute", None),
    "cluster": ("genesis_workbench.compute", "cluster"),
    "submit": ("genesis_workbench.compute", "submit"),
    "JobSpec": ("genesis_workbench.compute", "JobSpec"),
    "models": ("genesis_workbench.models", None),
    "model": ("genesis_workbench.models", "model"),
    "ModelZoo": ("genesis_workbench.widgets.model_zoo", "ModelZoo"),
    "training": ("genesis_workbench.training", None),
    "train": ("genesis_workbench.training", "train"),
    "TrainingMonitor": ("genesis_workbench.widgets.training_monitor", "TrainingMonitor"),
    "experiments": ("genesis_workbench.experiments", None),
    "Experiment": ("genesis_workbench.experiments", "Experiment"),
    "Hypothesis": ("genesis_workbench.experiments", "Hypothesis"),
    "Objective": ("genesis_workbench.experiments", "Objective"),
    "Real": ("genesis_workbench.experiments", "Real"),
    "Integer": ("genesis_workbench.experiments", "Integer"),
    "Categorical": ("genesis_workbench.experiments", "Categorical"),
    "Ordinal": ("genesis_workbench.experiments", "Ordinal"),
    "Threshold": ("genesis_workbench.experiments", "Threshold"),
    "Budget": ("genesis_workbench.experiments", "Budget"),
    "laboratories": ("genesis_workbench.experiments.instruments.laboratories", "laboratories"),
    "Approval": ("genesis_workbench.experiments", "Approval"),
    "Cost": ("genesis_workbench.experiments", "Cost"),
    "Step": ("genesis_workbench.experiments", "Step"),
    "Fidelity": ("genesis_workbench.experiments", "Fidelity"),
    "ExperimentLauncher": ("genesis_workbench.widgets.experiment_launcher", "ExperimentLauncher"),
    "compute_panel": ("genesis_workbench.widgets", "compute_panel"),
    "explore": ("genesis_workbench.widgets", "explore"),
    "progress": ("genesis_workbench.widgets", "progress"),
    "me": ("genesis_workbench.core.service", "me"),
    "dashboards": ("genesis_workbench.dashboards", None),
    "share": ("genesis_workbench.dashboards", "share"),
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the names above, resolved by __getattr__

if TYPE_CHECKING:
    from genesis_workbench import catalog, compute, dashboards, experiments, models, training
    from genesis_workbench.catalog import cite, open  # noqa: A004 - gw.open is the public name
    from genesis_workbench.compute import JobSpec, cluster, submit
    from genesis_workbench.core.service import me
    from genesis_workbench.dashboards import share
    from genesis_workbench.experiments import (
        Approval,
        Budget,
        Categorical,
        Cost,
        Experiment,
        Fidelity,
        Hypothesis,
        Integer,
        Objective,
        Ordinal,
        Real,
        Step,
        Threshold,
    )
    from genesis_workbench.experiments.instruments.laboratories import laboratories
    from genesis_workbench.models import model
    from genesis_workbench.training import train
    from genesis_workbench.widgets import compute_panel, explore, progress
    from genesis_workbench.widgets.experiment_launcher import ExperimentLauncher
    from genesis_workbench.widgets.model_zoo import ModelZoo
    from genesis_workbench.widgets.training_monitor import TrainingMonitor


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'genesis_workbench' has no attribute {name!r}") from None
    value = importlib.import_module(module)
    if attribute is not None:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
