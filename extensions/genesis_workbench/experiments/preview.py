"""What launching a description would do, without doing it: what is wrong with it, what it would cost, who must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.experiments.budget import Amounts
from genesis_workbench.experiments.checking import Checked
from genesis_workbench.experiments.reach import planned, sampled
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.steps import active

Fault = dict[str, str]
"""`where`, a path such as ``space.0.low``, and `message`."""


def preview(fields: Mapping[str, Any], ask: Callable[[ExperimentSpec], dict[str, Any]]) -> dict[str, Any]:
    """Check a description that may be incomplete, and say what it would cost once it can be read.

    Parameters
    ----------
    fields : mapping
        Of an :class:`ExperimentSpec`, as JSON values.
    ask : callable
        :meth:`Experiments.preview` of where it would be launched.

    Returns
    -------
    dict
        ``faults``, each with where and message; and, where there are none, what :func:`estimate` gives.
    """
    found = faults(fields)
    if found:
        return {"faults": found}
    return ask(ExperimentSpec.model_validate(dict(fields)))


def faults(fields: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with each part of a description, as far as it can be told without its executor."""
    found: list[Fault] = []
    try:
        ExperimentSpec.model_validate(dict(fields))
    except ValidationError as error:
        found = _of(error, fields)
    return found + _settings_faults(fields)


def outlook(spec: ExperimentSpec, check: Callable[[], Checked]) -> dict[str, Any]:
    """Return what launching would do; what refuses it, where something does."""
    try:
        checked = check()
        return {"faults": [], **estimate(spec, checked)}
    except GenesisError as error:
        return {"faults": [{"where": error.where, "message": error.message}]}


def estimate(spec: ExperimentSpec, checked: Checked) -> dict[str, Any]:
    """Return what the experiment would cost and who would be asked, as JSON values.

    Where costs depend on parameters, they are averaged over random points of the space.
    """
    points = sampled(spec)
    each = [planned(spec, point) for point in points]
    amounts = {name: _amount(spec, name, [one.get(name, 0.0) for one in each]) for name in _names(spec)}
    enough = {"trials": spec.budget.trials} | {
        name: found["enough_for"] for name, found in amounts.items() if found["enough_for"] is not None
    }
    ends_by = min(enough, key=lambda name: enough[name])
    trials = min(enough.values())
    for found in amounts.values():
        found["total"] = found["mean"] * trials
    return {
        "trials": trials,
        "ends_by": ends_by,
        "exact": len(points) == 1,
        "amounts": amounts,
        "approvals": _approvals(spec, checked, points, each, trials),
        "simulated": checked.simulated,
        "laboratory": list(checked.laboratory),
    }


def _amount(spec: ExperimentSpec, name: str, costs: list[float]) -> dict[str, Any]:
    mean, limit = math.fsum(costs) / len(costs), spec.budget.limits.get(name)
    enough = None if limit is None or not mean else math.floor(limit / mean * (1 + 1e-9))
    return {
        "mean": mean,
        "low": min(costs),
        "high": max(costs),
        "limit": limit,
        "enough_for": enough,
        "unit": spec.budget.unit(name),
    }


def _approvals(
    spec: ExperimentSpec,
    checked: Checked,
    points: list[dict[str, Any]],
    costs: list[Amounts],
    trials: int,
) -> dict[str, Any]:
    """Return how many trials would wait for a person, and why the first of them would."""
    # The policy `first` looks at numbers: what it says of the rest is asked of a later one.
    later = (spec.approval.first or 0) + 1
    asked, why = 0, ""
    for point, cost in zip(points, costs, strict=True):
        touching = tuple(step.name for step in active(spec.graph, point) if step.name in checked.laboratory)
        needed = spec.approval.needed(later, cost, touching)
        asked += bool(needed)
        why = why or needed
    first = min(spec.approval.first or 0, trials)
    rest = (trials - first) * asked / len(points)
    return {"needed": first + rest, "why": why or (spec.approval.needed(1, {}, ()) if first else "")}


def _names(spec: ExperimentSpec) -> list[str]:
    return sorted({str(name) for costs in (spec.cost, *(step.cost for step in spec.steps)) for name in costs})


def _of(error: ValidationError, fields: Mapping[str, Any]) -> list[Fault]:
    """Return pydantic's faults with paths into what was given."""
    found: list[Fault] = []
    short: list[Fault] = []
    for fault in error.errors():
        raised = getattr(fault.get("ctx", {}).get("error"), "where", "")
        told = {
            "where": ".".join(filter(None, (_path(fault["loc"], fields), raised))),
            "message": "This is needed."
            if fault["type"] == "missing" or fault.get("input") == ""
            else fault["msg"].removeprefix("Value error, "),
        }
        (short if fault["type"] == "too_short" else found).append(told)
    # A list that seems too short because one of its members is wrong has that one fault only.
    return found + [
        each for each in short if not any(other["where"].startswith(f"{each['where']}.") for other in found)
    ]


def _path(loc: tuple[int | str, ...], given: Any) -> str:
    """Return a location as a path into `given`: without the members of unions that pydantic names in between."""
    path: list[str] = []
    for place, part in enumerate(loc):
        inside = isinstance(given, Mapping) and part in given
        if isinstance(part, int) and isinstance(given, list | tuple) and part < len(given):
            inside = True
        union = isinstance(given, Mapping) and given.get("type") == part
        if inside or (place == len(loc) - 1 and not union):
            path.append(str(part))
            given = given[part] if inside else None
    return ".".join(path)


def _settings_faults(fields: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with the settings of the executor, or of those of the steps, all of it at once."""
    steps = fields.get("steps") or ()
    if not isinstance(steps, list | tuple) or not steps:
        return _settings_of(fields, "executor_arguments", "")
    return [
        fault
        for place, step in enumerate(steps)
        if isinstance(step, Mapping)
        for fault in _settings_of(step, "arguments", f"steps.{place}.")
    ]


def _settings_of(fields: Mapping[str, Any], key: str, under: str) -> list[Fault]:
    name, arguments = fields.get("executor"), fields.get(key, {})
    if (
        not isinstance(name, str)
        or name not in plugins.names("executors")
        or not isinstance(arguments, Mapping)
    ):
        return []
    try:
        settings = getattr(plugins.load("executors", name), "settings", None)
        if settings is not None:
            settings.model_validate(dict(arguments))
    except ValidationError as error:
        found = _of(error, arguments)
        return [{**fault, "where": f"{under}{key}.{fault['where']}".rstrip(".")} for fault in found]
    except GenesisError as error:
        return [{"where": f"{under}executor", "message": error.message}]
    return []
