"""What people write, as the fields of a description: a text for a condition, several objectives, a function, a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genesis_workbench.experiments.checking import outcomes_named
from genesis_workbench.experiments.constraints import Condition
from genesis_workbench.experiments.executors import function as functions
from genesis_workbench.experiments.spec import ExperimentSpec


def described_by(written: Mapping[str, Any]) -> ExperimentSpec:
    """Return the description that somebody wrote.

    Raises
    ------
    ValidationError, InvalidInput
        Where it cannot be used.
    """
    fields = dict(written)
    objective = fields.get("objective")
    if isinstance(objective, Sequence) and not isinstance(objective, str) and objective:
        fields["objective"], fields["further_objectives"] = objective[0], tuple(objective[1:])
    constraints = fields.get("constraints")
    if isinstance(constraints, Sequence) and not isinstance(constraints, str):
        fields["constraints"] = tuple(Condition(one) if isinstance(one, str) else one for one in constraints)
    earlier = fields.get("warm_start")
    if isinstance(earlier, Sequence) and not isinstance(earlier, str):
        fields["warm_start"] = tuple(getattr(one, "id", one) for one in earlier)
    function = fields.get("executor")
    if not callable(function):
        return ExperimentSpec.model_validate(fields)
    return _calling(function, {**fields, "executor": "function"})


def _calling(function: Callable[..., Any], fields: dict[str, Any]) -> ExperimentSpec:
    """Return a description whose trials are calls of a function, which gives all outcomes that the description names."""
    # Two threads in a function that was written for one give each other's values, and nobody notices.
    fields = {"parallel": 1, **fields}
    spec = ExperimentSpec.model_validate(fields)
    outcomes = [(name, unit) for name, unit, _where, _field in outcomes_named(spec)]
    _, arguments = functions.named(function, spec.executor_arguments, outcomes, spec.space)
    return ExperimentSpec.model_validate({**fields, "executor_arguments": arguments})
