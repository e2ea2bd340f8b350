"""What people say while an experiment runs: approvals, values they enter, what became of a trial, points to try; and what their
notebooks tell of calls.

Each function checks one such word against the state, and returns the event that keeps it. The loop takes it up.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core import clock
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.units import check_unit, convert
from genesis_workbench.experiments.approval import expiry
from genesis_workbench.experiments.checking import APPROVE
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.executing import RETURNED, Running, attempt_cost, ready, running
from genesis_workbench.experiments.executors._base import Executor, Standing, signature
from genesis_workbench.experiments.reach import planned
from genesis_workbench.experiments.record import Record
from genesis_workbench.experiments.record import number as plain_number
from genesis_workbench.experiments.state import ExperimentState, Trial
from genesis_workbench.experiments.steps import Step
from genesis_workbench.experiments.trial import Executed
from genesis_workbench.experiments.writing import Entry

Became = Literal["observed", "failed", "again"]
_MOST_POINTS = 10_000
_LATE_S, _MOST_LATE = 10.0, 20


def command(state: ExperimentState, person: Person, what: str, reason: str) -> Entry | None:
    """Pause, resume or stop; None where it is so already."""
    kinds = {"pause": "experiment.paused", "resume": "experiment.resumed", "stop": "experiment.stopped"}
    if what not in kinds:
        raise InvalidInput(f"An experiment cannot be told {what!r}; use pause, resume or stop.")
    _owns(state, person, what)
    if state.stopping and what != "stop":
        why = f": {state.reason}" if state.reason else ""
        raise Conflict(
            f"The experiment was stopped already{why}. It ends as soon as it is waited for; a fork of it goes on."
        )
    if (
        state.stopping
        or (what == "pause" and state.state == "paused")
        or (what == "resume" and state.state == "running")
    ):
        return None
    return Entry(kinds[what], {"reason": reason[:500]})


def pending(state: ExperimentState) -> list[dict[str, Any]]:
    """Return what waits for a person: trials to approve, values to enter, executions of which nobody knows."""
    found: list[dict[str, Any]] = []
    steps = {step.name: step for step in state.spec.graph}
    for trial in state.under_way.values():
        about = {"trial": trial.number, "parameters": trial.parameters, "reserved": trial.reserved}
        if trial.state == "waiting" and trial.approval and "by" not in trial.approval:
            words = {"why": trial.approval["why"], "digest": trial.approval["digest"]}
            found.append({"for": "approval", **about, **words})
        for name, execution in trial.executions:
            step = steps[name] if name else state.spec.graph[0]
            if execution.answer is not None:
                continue
            if execution.state == "unknown":
                found.append({"for": "resolution", "step": name, **about, "why": execution.reason})
            elif execution.state == "started" and step.executor == "person":
                asks = step.arguments.get("asks", "")
                found.append({"for": "values", "step": name, **about, "why": asks})
    return found


def waits(state: ExperimentState) -> bool:
    """Whether nothing happens until a person says something: all that is under way waits for one."""
    return bool(state.under_way) and {each["trial"] for each in pending(state)} == set(state.under_way)


def queue(state: ExperimentState, executors: Mapping[str, Executor]) -> list[dict[str, Any]]:
    """Return the executions under way, and those that are late to begin, each with where its executor says that it stands."""
    late = [each for each in ready(state) if clock.seconds_since(each.trial.proposed) > _LATE_S]
    if state.state != "running":
        late = []  # they wait for a person
    found = [_standing(each, executors) for each in [*running(state), *late[:_MOST_LATE]]]
    if more := late[_MOST_LATE:]:
        found.append({"words": f"{len(more)} more that have not begun"})
    return found


def _standing(each: Running, executors: Mapping[str, Executor]) -> dict[str, Any]:
    standing = Standing()
    if (ask := getattr(executors[each.step.executor], "standing", None)) is not None:
        try:
            standing = ask(each.execution.key)
        except GenesisError as error:
            standing = Standing(error.message)
    return {
        **each.place,
        "executor": each.step.executor,
        "state": each.execution.state,
        "since": each.execution.started,
        "words": standing.words,
        "laboratory": standing.laboratory,
    }


def approve(state: ExperimentState, person: Person, number: int, digest: str, *, alone: bool) -> Entry:
    """Approve a trial, for exactly the arguments that `digest` stands for.

    Parameters
    ----------
    digest : str
        As it was shown; the empty text for those that the trial has now.
    alone : bool
        Whether this is a bare notebook, in which there is nobody else to ask.
    """
    trial = _waiting(state, person, number, alone)
    assert trial.approval is not None  # noqa: S101 - it waits
    if digest not in ("", trial.approval["digest"]):
        raise Conflict(
            f"Trial {number} is not what was shown: its arguments have the digest {trial.approval['digest']}, not "
            f"{digest}. Look at it again."
        )
    now = clock.now()
    body = {
        "trial": number,
        "digest": trial.approval["digest"],
        "expires": expiry(now, state.spec.approval.valid_s),
        "own": person.name == state.owner,
    }
    return Entry("approval.given", body)


def refuse(state: ExperimentState, person: Person, number: int, reason: str, *, alone: bool) -> Entry:
    """Refuse a trial that waits for approval; the reason stays with it."""
    trial = _waiting(state, person, number, alone)
    assert trial.approval is not None  # noqa: S101 - it waits
    if not reason.strip():
        raise InvalidInput("A refusal needs a reason, which stays with the trial.")
    return Entry(
        "approval.refused",
        {"trial": number, "digest": trial.approval["digest"], "reason": reason.strip()[:500]},
    )


def say(
    state: ExperimentState,
    person: Person,
    executors: Mapping[str, Executor],
    number: int,
    became: Became,
    *,
    step: str | None = None,
    values: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Entry:
    """Say what became of an execution that a person carries out, or of which nobody else knows.

    Parameters
    ----------
    became : str
        ``observed`` with `values`, ``failed`` with a `reason`, or ``again``: it is run once more, as another execution.
    values : mapping
        Outcome to a number in the executor's unit, ``(number, unit)``, or a dictionary of value, unit and uncertainty.
    """
    trial = _trial(state, number)
    of, execution = _asked(state, trial, step)
    if execution.answer is not None:
        given = execution.answer.get("values") or execution.answer.get("reason") or ""
        raise Conflict(
            f"{execution.answer['by']} has said already what became of trial {number}: {execution.answer['as']}"
            f"{f', {given!r:.200}' if given else ''}. That counts; nothing was changed."
        )
    by_hand = of.executor == "person" and execution.state == "started"
    if not by_hand and execution.state != "unknown":
        raise Conflict(
            f"Trial {number} waits for nobody's word: it is {execution.state}. Only values that a person measures are "
            "entered, and only what nobody can know is resolved."
        )
    if not by_hand and person.name != state.owner and APPROVE not in person.scopes:
        raise PermissionRefused(f"Only {state.owner}, or who may approve trials, can say what became of it.")
    body: dict[str, Any] = {"trial": number, "as": became, **({"step": of.name} if trial.steps else {})}
    if became == "observed":
        takes = signature(executors[of.executor], of.arguments)
        body |= {
            "values": _measured(values or {}, takes.outcomes, state.spec.measured_costs),
            "simulated": takes.simulated,
        }
    elif became == "failed" or (became == "again" and not by_hand):
        if became == "failed" and not reason.strip():
            raise InvalidInput("Say why it failed; the reason stays with the trial.")
        if became == "again":
            _affords(state, attempt_cost(state, trial, of))
        body["reason"] = reason.strip()[:500]
    else:
        words = "observed or failed: a person measures it" if by_hand else "observed, failed or again"
        raise InvalidInput(f"Trial {number} cannot have become {became!r}; use {words}.")
    return Entry("outcome.entered", body)


class Reading(Record):
    """One outcome of a call, as the function gave it: whether it can be used is found out later."""

    value: float | int | bool | str | None
    unit: str = Field("", max_length=100)
    uncertainty: float | int | bool | str | None = None


class Returned(Record):
    """What became of a call: values, why it failed, or why nobody can know."""

    values: dict[str, Reading] | None = Field(None, min_length=1, max_length=100)
    failed: str | None = Field(None, max_length=2000)
    unknown: str | None = Field(None, max_length=2000)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.values, self.failed, self.unknown)) != 1:
            raise ValueError("a call has values, failed, or is unknown: give one of them")
        return self


def hear(
    state: ExperimentState,
    person: Person,
    executors: Mapping[str, Executor],
    number: int,
    key: str,
    became: Returned,
) -> Entry | None:
    """Take what became of an execution from the process that made it; None where that is known, or not asked any more.

    Parameters
    ----------
    key : str
        Of the execution: one that was begun again meanwhile has another.
    """
    if person.name != state.owner:
        raise PermissionRefused(f"Only {state.owner}, who launched it, can tell what came of its calls.")
    if state.state == "ended" or not 1 <= number <= len(state.trials):
        return None
    for each in running(state, state.trials[number - 1]):
        if each.execution.key != key or each.execution.answer is not None:
            continue
        if not getattr(executors[each.step.executor], "elsewhere", False):
            raise Conflict(
                f"Trial {number} is executed by {each.step.executor!r}, which tells itself what came of it."
            )
        told = {name: one for name, one in became.model_dump(mode="json").items() if one is not None}
        if each.execution.state == "started" or "unknown" not in told:
            return Entry("outcome.entered", {**each.place, "as": RETURNED, "key": key, **told})
    return None


def _affords(state: ExperimentState, more: Mapping[str, float]) -> None:
    short = state.spending.lacks(state.spec.budget.limits, more)
    if short:
        unit, limit = state.spec.budget.unit(short), state.spec.budget.limits[short]
        raise InvalidInput(
            f"To run it again takes {more[short]:g} {unit} more, since the attempt before has used its own; "
            f"{limit - state.spending.used(short):g} of {limit:g} are left. Say that it failed, or what was measured."
        )


def add_points(state: ExperimentState, person: Person, points: Sequence[Mapping[str, Any]]) -> Entry:
    """Add points that are tried next, before the proposer's own."""
    _owns(state, person, "add points to")
    if not points or len(points) + len(state.added) > _MOST_POINTS:
        raise InvalidInput(f"Give 1 to {_MOST_POINTS - len(state.added)} points, not {len(points)}.")
    fits = Domain(state.spec.space, state.spec.constraints)
    found = []
    for point in points:
        if not isinstance(point, Mapping):
            raise InvalidInput(f"A point is a dictionary of values by parameter, not {point!r:.80}.")
        found.append({name: plain_number(value) for name, value in point.items()})
        fits.check(found[-1])
        planned(state.spec, found[-1])  # what its trial costs can be said
    return Entry("points.added", {"points": found})


def _owns(state: ExperimentState, person: Person, what: str) -> None:
    if state.owner != person.name:
        raise PermissionRefused(f"Only {state.owner}, who launched it, can {what} this experiment.")
    _goes_on(state)


def _goes_on(state: ExperimentState) -> None:
    if state.state == "ended":
        raise Conflict(f"The experiment has ended already: {state.reason}")


def _trial(state: ExperimentState, number: int) -> Trial:
    _goes_on(state)
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidInput(f"A trial is named by its number, such as 2, not by {number!r:.80}.")
    if not 1 <= number <= len(state.trials):
        raise NotFound(f"There is no trial {number}; {len(state.trials)} were proposed so far.")
    return state.trials[number - 1]


def _waiting(state: ExperimentState, person: Person, number: int, alone: bool) -> Trial:
    trial = _trial(state, number)
    if not alone and APPROVE not in person.scopes:
        raise PermissionRefused(f"Approving trials needs the right {APPROVE}. Ask an administrator for it.")
    if not alone and person.name == state.owner:
        raise PermissionRefused(
            "Nobody approves or refuses trials of an experiment that they launched themselves. Ask somebody else; to end "
            "it, stop the experiment."
        )
    if trial.state != "waiting" or trial.approval is None:
        raise Conflict(f"Trial {number} does not wait for approval: it is {trial.state}.")
    if "by" in trial.approval:
        what = "refused" if "refused" in trial.approval else "approved"
        raise Conflict(f"{trial.approval['by']} has {what} trial {number} already.")
    return trial


def _asked(state: ExperimentState, trial: Trial, step: str | None) -> tuple[Step, Executed]:
    """Return the step that is meant: the only one that waits, where none is named."""
    if not trial.steps:
        return state.spec.graph[0], trial
    steps = {each.name: each for each in state.spec.steps}
    if step is None:
        waiting = [
            name
            for name, execution in trial.steps.items()
            if execution.state == "unknown"
            or (execution.state == "started" and steps[name].executor == "person")
        ]
        if len(waiting) != 1:
            raise InvalidInput(
                f"Say which step of trial {trial.number} is meant: {', '.join(waiting) or 'none'} waits."
            )
        step = waiting[0]
    if step not in trial.steps:
        raise NotFound(f"Trial {trial.number} has no step {step!r}; it has {', '.join(trial.steps)}.")
    return steps[step], trial.steps[step]


def _measured(
    values: Mapping[str, Any], outcomes: Mapping[str, str], charged: Container[str]
) -> dict[str, dict[str, Any]]:
    if not values:
        raise InvalidInput(f"Give a value for {', '.join(outcomes)}.")
    found = {}
    for name, given in values.items():
        if name not in outcomes:
            raise InvalidInput(f"There is no outcome {name!r}; there are {', '.join(outcomes)}.")
        seen = _seen(given, outcomes[name])
        for what in ("value", "uncertainty"):
            number = seen.get(what, 0.0)
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise InvalidInput(f"The {what} of {name} is {number!r:.80}; it must be a finite number.")
        for what, number in (("uncertainty", seen.get("uncertainty", 0.0)), ("value", seen["value"])):
            if number < 0 and (what == "uncertainty" or name in charged):
                raise InvalidInput(
                    f"The {what} of {name} is {number}; {'a cost' if what == 'value' else 'it'} cannot be below 0."
                )
        convert(1.0, check_unit(str(seen["unit"])), outcomes[name])
        found[name] = seen
    return found


def _seen(given: Any, unit: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        odd = set(given) - {"value", "unit", "uncertainty"}
        if odd or "value" not in given:
            raise InvalidInput(
                f"A measured value has value, unit and uncertainty; {dict(given)!r:.80} was given."
            )
        return {"unit": unit, **{name: value for name, value in given.items() if value is not None}}
    if isinstance(given, tuple | list) and len(given) == 2:
        return {"value": given[0], "unit": given[1]}
    return {"value": given, "unit": unit}
