"""Train a model on the site's queue and put it into the zoo with where it came from.

A recipe is a folder of code with a typed configuration. A training run is a job of ``compute`` like any other: the
recipe's files by their hash, JSON arguments, no pickles. It survives being killed at any moment. Importing this is
light: torch is imported where something is trained. Nothing here may know of experiments, widgets or the hub.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.training.launching import train
    from genesis_workbench.training.recipe import recipes
    from genesis_workbench.training.run import TrainingRun, get, runs

_WHERE = {"TrainingRun": "run", "get": "run", "recipes": "recipe", "runs": "run", "train": "launching"}

__all__ = ["TrainingRun", "get", "recipes", "runs", "train"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
