"""One step of the closed loop. The service's runner and a bare process call the same function.

Each step is: ask executors what became of trials under way, start those that were proposed, propose new ones, and at
the end decide. Every step is written before the next one depends on it, under a lease, so that a process killed
anywhere loses nothing and repeats nothing: a trial's key is in the ledger before the executor hears of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.identifiers import idempotency_key
from genesis_workbench.core.leases import Lease
from genesis_workbench.core.ledger import Ledger, NewEvent
from genesis_workbench.core.units import convert
from genesis_workbench.experiments.executors._base import Executor, Failure, Observation
from genesis_workbench.experiments.finding import decide, verdict
from genesis_workbench.experiments.planning import plan
from genesis_workbench.experiments.spec import Cost
from genesis_workbench.experiments.state import ExperimentState, Trial, fold, stream
from genesis_workbench.experiments.trial import MOST_FAILURES, UNDONE, too_many_failures

ACTOR = "service:runner"


def advance(
    ledger: Ledger, experiment: str, lease: Lease | None, executors: Mapping[str, Executor]
) -> ExperimentState:
    """Bring an experiment as far as it goes without waiting, and return its state.

    Parameters
    ----------
    lease : Lease
        The right to advance it; every append fails once somebody else has taken it over.
    executors : mapping
        Executors by name.
    """
    state = fold(ledger.all(stream=stream(experiment)))
    if state.state == "ended":
        return state
    executor = executors[state.spec.executor]
    write = _Writer(ledger, state, lease)
    for trial in [trial for trial in state.trials if trial.state == "started"]:
        outcome = executor.observe(trial.key)
        if isinstance(outcome, Failure):
            write("trial.failed", trial=trial.number, reason=outcome.reason)
        elif outcome is not None:
            _observed(write, executor, trial, outcome)
    state = fold(ledger.all(stream=stream(experiment)))
    if state.state == "paused":
        return state
    reason = _why_it_ends(state)
    if reason:
        return _end(ledger, state, lease, executor, reason)
    write = _Writer(ledger, state, lease)
    for trial in [trial for trial in state.trials if trial.state == "proposed"]:
        _start(write, executor, state, trial)
    _propose(write, state, executor)
    return fold(ledger.all(stream=stream(experiment)))


def _observed(write: _Writer, executor: Executor, trial: Trial, outcome: Observation) -> None:
    """Keep what was measured and can be used; what cannot is named, and a trial with nothing left has failed."""
    values, unusable = outcome.as_dict(), {}
    for name, seen in list(values.items()):
        reason = _unusable(seen, executor.outcomes.get(name))
        if reason:
            unusable[name] = reason
            del values[name]
    if not values:
        why = "; ".join(f"{name} {reason}" for name, reason in unusable.items()) or "it gave no values"
        write(
            "trial.failed",
            trial=trial.number,
            reason=f"The trial gave nothing that can be used: {why}."[:2000],
        )
        return
    more: dict[str, Any] = {"unusable": unusable} if unusable else {}
    if outcome.attachments:
        more["attachments"] = dict(outcome.attachments)
    write("trial.observed", trial=trial.number, values=values, simulated=executor.simulated, **more)


def _unusable(seen: Mapping[str, Any], unit: str | None) -> str:
    for what in ("value", "uncertainty"):
        number = seen.get(what, 0.0)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"has the {what} {number!r:.80}, no finite number"
    try:
        convert(1.0, str(seen["unit"]), str(seen["unit"]) if unit is None else unit)
    except GenesisError as error:
        return f"has a wrong unit: {error.message}"[:300]
    return ""


class _Writer:
    """Appends to one experiment's stream; each append expects the version that the one before left."""

    def __init__(self, ledger: Ledger, state: ExperimentState, lease: Lease | None) -> None:
        self._ledger, self._stream, self._lease = ledger, stream(state.id), lease
        self._version = state.version

    def __call__(self, kind: str, **body: Any) -> None:
        self.both((kind, body))

    def both(self, *events: tuple[str, dict[str, Any]]) -> None:
        """Append several in one transaction."""
        new = [
            NewEvent(self._stream, kind, body, ACTOR, self._version + number)
            for number, (kind, body) in enumerate(events)
        ]
        self._version = self._ledger.append_many(new, lease=self._lease)[-1].version


def _why_it_ends(state: ExperimentState) -> str:
    under_way = any(trial.open for trial in state.trials)
    if state.stopping:
        return f"It was stopped: {state.reason}" if state.reason else "It was stopped."
    if too_many_failures(state.trials):
        last = [trial for trial in state.trials if not trial.open][-1]
        return f"{MOST_FAILURES} trials in a row failed. The last one: {last.reason}"
    decided = verdict(state) if state.spec.hypothesis.stopping == "decided" else None
    if decided is not None and decided.final:
        return f"The rule has decided: {decided.says}"
    if len(state.trials) >= state.spec.budget.trials and not under_way:
        return f"All {state.spec.budget.trials} trials of the budget are done."
    return "" if under_way else state.spent


def _end(
    ledger: Ledger, state: ExperimentState, lease: Lease | None, executor: Executor, reason: str
) -> ExperimentState:
    write = _Writer(ledger, state, lease)
    for trial in [trial for trial in state.trials if trial.open]:
        executor.cancel(trial.key)
        write("trial.failed", trial=trial.number, reason=UNDONE)
    state = fold(ledger.all(stream=stream(state.id)))
    # Together, so that no death in between can leave a finding without an end, and make a second one.
    write.both(("finding.made", decide(state)), ("experiment.ended", {"reason": reason}))
    return fold(ledger.all(stream=stream(state.id)))


def _start(write: _Writer, executor: Executor, state: ExperimentState, trial: Trial) -> None:
    # The key was written with the proposal. Submitting it again after a crash here runs nothing twice.
    try:
        executor.submit(trial.key, trial.parameters, state.spec.executor_arguments)
    except GenesisError as error:
        write("trial.failed", trial=trial.number, reason=error.message)
        return
    write("trial.started", trial=trial.number, key=trial.key)


def _propose(write: _Writer, state: ExperimentState, executor: Executor) -> None:
    under_way = sum(trial.open for trial in state.trials)
    count = min(state.spec.parallel - under_way, state.spec.budget.trials - len(state.trials))
    if count <= 0 or state.spent:
        return
    spent = state.cost
    for number, planned in enumerate(plan(state, count), start=len(state.trials) + 1):
        budget, cost = state.spec.budget.cost, None
        if budget is not None:
            cost = budget.planned(state.spec.space, planned.parameters)
            if spent + (cost or 0.0) > budget.limit or (cost is None and spent >= budget.limit):
                write("budget.spent", reason=_spent(budget, spent, cost))
                return
            spent += cost or 0.0
        key = idempotency_key(state.id, number)
        body: dict[str, Any] = {"trial": number, **planned.body(), "key": key}
        write("trial.proposed", **body, **({"cost": cost} if cost is not None else {}))
        _start(write, executor, state, Trial(number, planned.parameters, planned.proposer, key, ""))


def _spent(budget: Cost, spent: float, next_one: float | None) -> str:
    """Return why nothing more is proposed."""
    left = "" if next_one is None else f", and the next trial would cost {next_one:g}"
    return f"The budget's cost is spent: {spent:g} of {budget.limit:g} {budget.unit}".rstrip() + f"{left}."
