"""Closed loops: a hypothesis is committed, a proposer proposes, an executor executes, the rule decides.

The engine is a library: with a folder to write to it runs in a bare Python process; the service's runner advances the
same experiments when nobody looks. State is a fold over the ledger's events. Nothing about pages or HTTP servers here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.experiments.approval import Approval
    from genesis_workbench.experiments.budget import Budget, Cost
    from genesis_workbench.experiments.constraints import Condition, Linear, Mixture
    from genesis_workbench.experiments.experiment import Experiment
    from genesis_workbench.experiments.hypothesis import Hypothesis
    from genesis_workbench.experiments.notebook import (
        compare,
        get,
        keep,
        open_budget,
        search,
        shared_budget,
        verify,
    )
    from genesis_workbench.experiments.outcomes import Limit
    from genesis_workbench.experiments.parameters import Categorical, Integer, Ordinal, Real, When
    from genesis_workbench.experiments.rules import (
        Betting,
        Equivalence,
        Mean,
        Posterior,
        Sequential,
        Superiority,
        Threshold,
    )
    from genesis_workbench.experiments.rules.posterior import Prior
    from genesis_workbench.experiments.run import Run
    from genesis_workbench.experiments.spec import Arm, ExperimentSpec, Objective
    from genesis_workbench.experiments.steps import Fidelity, Step

_WHERE = {
    "Approval": "approval",
    "Arm": "spec",
    "Betting": "rules",
    "Budget": "budget",
    "Categorical": "parameters",
    "Condition": "constraints",
    "Cost": "budget",
    "Equivalence": "rules",
    "Experiment": "experiment",
    "ExperimentSpec": "spec",
    "Fidelity": "steps",
    "Hypothesis": "hypothesis",
    "Integer": "parameters",
    "Limit": "outcomes",
    "Linear": "constraints",
    "Mean": "rules",
    "Mixture": "constraints",
    "Objective": "spec",
    "Ordinal": "parameters",
    "Posterior": "rules",
    "Prior": "rules.posterior",
    "Real": "parameters",
    "Run": "run",
    "Sequential": "rules",
    "Step": "steps",
    "Superiority": "rules",
    "Threshold": "rules",
    "When": "parameters",
    "compare": "notebook",
    "get": "notebook",
    "keep": "notebook",
    "open_budget": "notebook",
    "search": "notebook",
    "shared_budget": "notebook",
    "verify": "notebook",
}

__all__ = [
    "Approval",
    "Arm",
    "Betting",
    "Budget",
    "Categorical",
    "Condition",
    "Cost",
    "Equivalence",
    "Experiment",
    "ExperimentSpec",
    "Fidelity",
    "Hypothesis",
    "Integer",
    "Limit",
    "Linear",
    "Mean",
    "Mixture",
    "Objective",
    "Ordinal",
    "Posterior",
    "Prior",
    "Real",
    "Run",
    "Sequential",
    "Step",
    "Superiority",
    "Threshold",
    "When",
    "compare",
    "get",
    "keep",
    "open_budget",
    "search",
    "shared_budget",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
