"""What launching a description would do, without doing it: what is wrong with it, what it would cost, who must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.experiments.budget import Amounts
from genesis_workbench.experiments.checking import Checked
from genesis_workbench.experiments.reach import planned, sampled
from genesis_workbench.experiments.record import A_NAME, NAME
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.steps import active

Fault = dict[str, str]
"""`where`, a path such as ``space.0.low``, and `message`."""

_MOST = 3
"""Values of one list that are shown as wrong."""

# What pydantic finds, in words of a form; the value that was seen comes behind them.
_WORDS = {
    "greater_than": "It must be above {gt}",
    "greater_than_equal": "It must be {ge} or more",
    "less_than": "It must be below {lt}",
    "less_than_equal": "It must be {le} or less",
    **dict.fromkeys(("float_type", "float_parsing"), "A number is needed"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "A whole number is needed"),
    "finite_number": "A finite number is needed",
    **dict.fromkeys(("bool_type", "bool_parsing"), "Yes or no is needed"),
    "literal_error": "It must be {expected}",
    "string_type": "Text is needed",
    "string_too_short": "At least {min_length} characters are needed",
    "string_too_long": "At most {max_length} characters are possible; shorten it",
    "too_short": "At least {min_length} are needed, not {actual_length}",
    "too_long": "At most {max_length} are possible, not {actual_length}",
    **dict.fromkeys(("tuple_type", "list_type"), "A list is needed"),
    **dict.fromkeys(("dict_type", "mapping_type"), "Names, each with a value, are needed"),
    "union_tag_not_found": "Say of which kind it is",
    "union_tag_invalid": "It must be of the kind {expected_tags}",
    "extra_forbidden": "There is nothing of this name here; leave it out",
}
_PATTERNS = {
    NAME: A_NAME[0].upper() + A_NAME[1:],
    r"^[A-Z]{3}$": "A currency has three capital letters, such as USD",
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$": "Name a function by its module, such as package.module:function",
}


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
        told = estimate(spec, checked)
    except GenesisError as error:
        return {"faults": [{"where": error.where, "message": error.message}]}
    if not told["trials"]:
        return {"faults": [_too_dear(told["ends_by"], told["amounts"][told["ends_by"]])]}
    return {"faults": [], **told}


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


def _too_dear(name: str, amount: Mapping[str, Any]) -> Fault:
    """Return that what is there of an amount is not enough for one trial of the usual kind."""
    message = (
        f"One trial costs about {amount['mean']:.4g} {amount['unit']}, and the whole budget is {amount['limit']:g}: that is "
        "not enough for one. Give a larger budget, or a cheaper trial."
    )
    return {"where": f"budget.{name}", "message": message}


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
    """Return how many trials would wait for a person, why the first of them would, and which groups can see them."""
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
    why = why or (spec.approval.needed(1, {}, ()) if first else "")
    return {"needed": first + rest, "why": why, "groups": list(spec.groups)}


def _names(spec: ExperimentSpec) -> list[str]:
    return sorted({str(name) for costs in (spec.cost, *(step.cost for step in spec.steps)) for name in costs})


def _of(error: ValidationError, fields: Mapping[str, Any]) -> list[Fault]:
    """Return pydantic's faults in plain words, with paths into what was given."""
    found: dict[tuple[str, str], list[str]] = {}
    short: dict[tuple[str, str], list[str]] = {}
    for fault in error.errors():
        raised = getattr(fault.get("ctx", {}).get("error"), "where", "")
        where = ".".join(filter(None, (_path(fault["loc"], fields), raised)))
        words, seen = _told(fault)
        if seen and where.rpartition(".")[2].isdigit():
            # A list is typed into one field: what is wrong with several of its members alike is told once.
            where = where.rpartition(".")[0]
        (short if fault["type"] == "too_short" else found).setdefault((where, words), []).append(seen)
    # A list that seems too short because one of its members is wrong has that one fault only.
    wrong = [f"{where}." for where, _ in found] + [where for where, _ in short]
    found |= {
        key: seen for key, seen in short.items() if not any(each.startswith(f"{key[0]}.") for each in wrong)
    }
    return [{"where": where, "message": _sentence(words, seen)} for (where, words), seen in found.items()]


def _told(fault: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is needed, in words of a form, and the value that was seen, where that helps."""
    kind, seen, given = fault["type"], fault.get("input"), fault.get("ctx", {})
    if kind == "missing" or seen in ("", [], ()):
        return "This is needed", ""
    if kind == "string_pattern_mismatch":
        words = _PATTERNS.get(given["pattern"], "It is not written as it must be")
    elif kind in _WORDS:
        words = _WORDS[kind].format_map({name: _short(value) for name, value in given.items()})
    else:
        words = (
            str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "it should").rstrip(".")
        )
        return (words[0].upper() + words[1:] if words.startswith(("a ", "an ", "it ", "the ")) else words), ""
    shown = isinstance(seen, str | int | float) and kind not in ("string_too_long", "extra_forbidden")
    return words, f"{seen!r:.60}" if shown else ""


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sentence(words: str, seen: Sequence[str]) -> str:
    """Return words and the values they are about, a few of them, as a sentence."""
    values = list(dict.fromkeys(filter(None, seen)))
    more = f" and {len(values) - _MOST} more" if len(values) > _MOST else ""
    return f"{words}, not {', '.join(values[:_MOST])}{more}." if values else f"{words}."


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
