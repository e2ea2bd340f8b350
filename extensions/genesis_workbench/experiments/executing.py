"""Executions of trials and steps: which may start, with what, and what their outcomes mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.units import convert
from genesis_workbench.experiments.budget import UNITS, Amounts, Cost, together
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Request,
    Signature,
    Unknown,
)
from genesis_workbench.experiments.permission import wanted
from genesis_workbench.experiments.state import ExperimentState, Trial
from genesis_workbench.experiments.steps import Step, before, key_of
from genesis_workbench.experiments.trial import UNDONE, Executed
from genesis_workbench.experiments.writing import Entry

RETURNED = "returned"
"""As what an ``outcome.entered`` counts that comes from the process of an executor elsewhere, and not from a person."""

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Running:
    """An execution, with the step and the trial that it belongs to."""

    trial: Trial
    step: Step
    execution: Executed

    @property
    def place(self) -> dict[str, Any]:
        """How events name it: by trial, and by step where the experiment names steps."""
        return {"trial": self.trial.number, **({"step": self.step.name} if self.trial.steps else {})}


@dataclass(frozen=True)
class Ready:
    """An execution that may start."""

    running: Running
    request: Request

    def started(self) -> Entry:
        """Return the entry that it has started."""
        kind = "step.started" if self.running.trial.steps else "trial.started"
        return Entry(kind, {**self.running.place, "key": self.request.key})

    def refused(self, reason: str) -> Entry:
        """Return the entry that its executor refused it."""
        return _failure(self.running, reason, {} if not self.running.trial.started else None)


def _executions(state: ExperimentState, trial: Trial) -> Iterator[Running]:
    if not trial.steps:
        yield Running(trial, state.spec.graph[0], trial)
        return
    for step in state.spec.steps:
        if step.name in trial.steps:
            yield Running(trial, step, trial.steps[step.name])


def running(state: ExperimentState, only: Trial | None = None) -> list[Running]:
    """Return the executions that were started, or of which nobody knows what became of them."""
    trials = state.under_way.values() if only is None else [only]
    return [
        each
        for trial in trials
        for each in _executions(state, trial)
        if each.execution.state in ("started", "unknown")
    ]


def ready(state: ExperimentState, *, only_begun: bool = False) -> list[Running]:
    """Return the executions that may start now; with `only_begun`, of trials of which something was started before."""
    return [
        each
        for trial in state.under_way.values()
        if trial.state != "waiting" and (trial.started or not only_begun)
        for each in _executions(state, trial)
        if each.execution.state == "proposed" and _may_start(each)
    ]


def due(
    state: ExperimentState, takes: Mapping[str, Signature], executions: Sequence[Running]
) -> tuple[dict[str, list[Ready]], list[Entry]]:
    """Return what is to be submitted, by executor, and the entries of trials that cannot start.

    Parameters
    ----------
    takes : mapping
        What steps take and give, by step; those whose executor is away are left for later.
    """
    found: dict[str, list[Ready]] = {}
    entries, failed = [], set()
    for each in executions:
        step = each.step
        if step.name not in takes or each.trial.number in failed:
            continue
        try:
            parameters = _inputs(takes[step.name], each)
        except InvalidInput as error:
            entries.append(_failure(each, error.message, None, state))
            failed.add(each.trial.number)
            continue
        until = (each.trial.approval or {}).get("expires", "") if step.name in state.laboratory else ""
        real = step.name in state.real
        request = Request(each.execution.key, parameters, step.arguments, real, state.owner, until)
        found.setdefault(step.executor, []).append(Ready(each, request))
    return found, entries


def _may_start(each: Running) -> bool:
    steps = each.trial.steps
    return all(steps[name].state == "observed" for name in before(each.step) if name in steps)


def _inputs(takes: Signature, each: Running) -> dict[str, Any]:
    """Return the parameters of one execution: from the trial, or from the outcomes of the steps before."""
    space, step = each.trial.parameters, each.step
    if takes.parameters is None:
        found = dict(space) if not step.takes else {}
        return found | {name: _source(each, name, source, None) for name, source in step.takes.items()}
    found = {}
    for name, unit in takes.parameters.items():
        if name in step.takes:
            found[name] = _source(each, name, step.takes[name], unit)
        elif name in space:
            found[name] = space[name]
        else:
            earlier = [other for other in step.after if name in each.trial.steps[other].values]
            if earlier:
                found[name] = _source(each, name, f"{earlier[-1]}.{name}", unit)
            elif name not in takes.optional:
                raise InvalidInput(f"The step {step.name!r} needs {name!r}, and no step before it gave that.")
    return found


def _source(each: Running, name: str, source: str, unit: str | None) -> Any:
    step, dot, outcome = source.partition(".")
    if not dot:
        return each.trial.parameters.get(source)
    made = each.trial.steps.get(step)
    if made is None or outcome not in made.values:
        raise InvalidInput(f"The step {each.step.name!r} takes {name!r} from {source!r}, which gave nothing.")
    seen = made.values[outcome]
    return seen["value"] if unit is None else convert(float(seen["value"]), seen["unit"], unit)


def outcome_events(
    state: ExperimentState, takes: Mapping[str, Signature], each: Running, outcome: Outcome | None
) -> list[Entry]:
    """Return the entries for what became of one execution, by its executor's word, here or elsewhere, or a person's.

    Parameters
    ----------
    takes : mapping
        What steps take and give, by step; what was measured by one that is not there is taken up later.
    """
    answer = each.execution.answer
    if answer is not None and answer["as"] != RETURNED:
        return [_answered(state, each, answer)]
    match outcome:
        case None:
            return []
        case Unknown():
            return [Entry("trial.unknown", {**each.place, "reason": outcome.reason[:2000]})]
        case Failure():
            return [_failure(each, outcome.reason, _charged(outcome), state)]
        case Observation():
            known = takes.get(each.step.name)
            return [] if known is None else [_observed(state, known, each, outcome)]


def returned(execution: Executed) -> Outcome | None:
    """Return what the process of an executor elsewhere told of an execution; None where it has told nothing."""
    match execution.answer:
        case {"as": "returned", "values": values}:
            seen = {name: (one["value"], one["unit"], one.get("uncertainty")) for name, one in values.items()}
            return Observation(seen)
        case {"as": "returned", "failed": reason}:
            return Failure(reason)
        case {"as": "returned", "unknown": reason}:
            return Unknown(reason)
    return None


def _answered(state: ExperimentState, each: Running, answer: dict[str, Any]) -> Entry:
    by = answer["by"]
    if answer["as"] == "again":
        attempt = each.execution.attempt + 1
        key = key_of(state.id, each.trial.number, each.step.name, attempt)
        body: dict[str, Any] = {**each.place, "attempt": attempt, "key": key, "by": by}
        attempts = {other.step.name: other.execution.attempt for other in _executions(state, each.trial)}
        attempts[each.step.name] = attempt
        approval = wanted(state, each.trial.number, each.trial.parameters, each.trial.reserved, attempts)
        # Whatever became of it, the one before has used what was planned for it.
        cost = attempt_cost(state, each.trial, each.step)
        if state.spending.lacks(state.spec.budget.limits, cost):
            return too_dear(state, each)
        body |= {name: value for name, value in (("approval", approval), ("cost", cost)) if value}
        return Entry("trial.again", body)
    if answer["as"] == "failed":
        return _failure(each, f"{by} says: {answer['reason']}", None, state)
    kind = "step.observed" if each.trial.steps else "trial.observed"
    body = {**each.place, "values": answer["values"], "simulated": answer["simulated"], "by": by}
    return Entry(kind, body | _cost(state, each, answer["values"], {}))


def _observed(state: ExperimentState, takes: Signature, each: Running, outcome: Observation) -> Entry:
    """Keep what was measured and can be used; what cannot is named, and an execution with nothing left has failed."""
    values, unusable = outcome.as_dict(), {}
    charged = state.spec.measured_costs
    for name, seen in list(values.items()):
        reason = _unusable(seen, takes.outcomes.get(name))
        if not reason and name in charged and seen["value"] < 0:
            reason = (
                f"has the value {seen['value']!r}, and a cost cannot be below 0; what was planned is charged"
            )
        if reason:
            unusable[name] = reason
            del values[name]
    if not values:
        why = "; ".join(f"{name} {reason}" for name, reason in unusable.items()) or "it gave no values"
        reason = f"The trial gave nothing that can be used: {why}."[:2000]
        return _failure(each, reason, _charged(outcome), state)
    simulated = takes.simulated if outcome.simulated is None else outcome.simulated
    body: dict[str, Any] = {**each.place, "values": values, "simulated": simulated}
    if unusable:
        body["unusable"] = unusable
    if outcome.attachments:
        body["attachments"] = dict(outcome.attachments)
    kind = "step.observed" if each.trial.steps else "trial.observed"
    return Entry(kind, body | _cost(state, each, values, _charged(outcome)))


def _unusable(seen: Mapping[str, Any], unit: str | None) -> str:
    for what in ("value", "uncertainty"):
        number = seen.get(what, 0.0)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"has the {what} {number!r:.80}, no finite number"
    if seen.get("uncertainty", 0.0) < 0:
        return f"has the uncertainty {seen['uncertainty']!r}, below 0"
    if unit is None or seen["unit"] != unit:
        try:
            convert(1.0, str(seen["unit"]), str(seen["unit"]) if unit is None else unit)
        except GenesisError as error:
            return f"has a wrong unit: {error.message}"[:300]
    return ""


def _charged(outcome: Observation | Failure) -> Amounts:
    """Return what an executor says that an execution has cost: nothing that it says gives any of a budget back."""
    return {name: amount if amount > 0 else 0.0 for name, amount in outcome.cost.items()}


def unfinished(state: ExperimentState) -> list[Entry]:
    """Return the entries of trials whose steps have all given their outcomes: later steps' outcomes count first."""
    entries = []
    for trial in state.under_way.values():
        if not trial.steps or any(each.state != "observed" for each in trial.steps.values()):
            continue
        values: dict[str, Any] = {}
        files: dict[str, str] = {}
        for each in _executions(state, trial):
            values |= each.execution.values
            files |= {
                f"{each.step.name}/{name}": digest for name, digest in each.execution.attachments.items()
            }
        body: dict[str, Any] = {
            "trial": trial.number,
            "values": values,
            "simulated": all(each.simulated for each in trial.steps.values()),
        }
        if files:
            body["attachments"] = files
        cost = _all_costs(state, trial, {})
        entries.append(Entry("trial.observed", {**body, **({"cost": cost} if cost else {})}))
    return entries


def _failure(each: Running, reason: str, cost: Amounts | None, state: ExperimentState | None = None) -> Entry:
    """Return the entry that a trial has failed. Without a word on its cost, it has cost what was reserved."""
    body: dict[str, Any] = {"trial": each.trial.number, "reason": reason[:2000]}
    if each.trial.steps:
        body |= {"step": each.step.name, "reason": f"The step {each.step.name!r}: {reason}"[:2000]}
    if state is not None:
        settled = _all_costs(state, each.trial, {each.step.name: ({}, cost or {})})
        return Entry("trial.failed", {**body, **({"cost": settled} if settled else {})})
    return Entry("trial.failed", body if cost is None else {**body, "cost": cost})


def abandoned(state: ExperimentState, trial: Trial) -> Entry:
    """Return the entry of a trial that the end of its experiment cuts off: what was never started has cost nothing."""
    begun = any(execution.started for _, execution in trial.executions)
    cost = _all_costs(state, trial, {}) if begun else {}
    return Entry("trial.failed", {"trial": trial.number, "reason": UNDONE, "cost": cost})


def attempt_cost(state: ExperimentState, trial: Trial, step: Step) -> Amounts:
    """Return what one more execution of a step is planned to use; of a trial without steps, all that the trial is."""
    own: dict[str, Cost] = {str(name): cost for name, cost in step.cost.items()}
    return _planned(state, trial, own, {}) if trial.steps else dict(trial.reserved)


def too_dear(state: ExperimentState, each: Running) -> Entry:
    """Return the entry of a trial that a person wants to have run again, and for which too little of the budget is left."""
    needs = together(attempt_cost(state, each.trial, each.step))
    words = ", ".join(f"{amount:g} {state.spec.budget.unit(name)}" for name, amount in needs.items())
    return _failure(
        each, f"It was to be run again, and the budget has not the {words} left for that.", None, state
    )


def _cost(state: ExperimentState, each: Running, values: Values, said: Amounts) -> dict[str, Any]:
    """Return what one execution has cost, as a part of its event: a trial's whole cost, or what a step's executor said."""
    cost = said if each.trial.steps else _all_costs(state, each.trial, {each.step.name: (values, said)})
    return {"cost": cost} if cost else {}


def _all_costs(state: ExperimentState, trial: Trial, latest: Mapping[str, tuple[Values, Amounts]]) -> Amounts:
    """Return what a trial has really cost: measured, else by its executor's word, else as planned.

    Parameters
    ----------
    latest : mapping
        By step, the values and costs of executions that have just ended.
    """
    total: Amounts = {}
    everything: dict[str, Mapping[str, Any]] = {}
    said_of: set[str] = set()
    for each in _executions(state, trial):
        values, said = latest.get(each.step.name, (each.execution.values, each.execution.cost))
        everything |= values
        total = together(total, said)
        said_of |= set(said)
        if each.execution.started or values:
            own: dict[str, Cost] = {name: cost for name, cost in each.step.cost.items() if name not in said}
            total = together(total, _planned(state, trial, own, values))
    rest: dict[str, Cost] = {
        name: cost
        for name, cost in state.spec.cost.items()
        if cost.actual in everything or name not in said_of
    }
    # A measured cost counts instead of what executors said of it.
    measured = {name for name, cost in rest.items() if cost.actual in everything}
    total = {name: amount for name, amount in total.items() if name not in measured}
    return together(total, _planned(state, trial, rest, everything))


def _planned(state: ExperimentState, trial: Trial, costs: Mapping[str, Cost], values: Values) -> Amounts:
    """Return costs as they were measured; as they were planned where they were not."""
    found: Amounts = {}
    for name, cost in costs.items():
        seen = values.get(cost.actual) if cost.actual else None
        if seen:
            found[name] = convert(float(seen["value"]), seen["unit"], UNITS[name])
        else:
            found[name] = cost.of(state.spec.space, trial.parameters)
    return found
