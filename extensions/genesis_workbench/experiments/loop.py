"""One step of the closed loop. The service's runner and a bare process call the same function.

Each step is: ask executors what became of trials under way, start those that were proposed, propose new ones, and at
the end decide. Every step is written before the next one depends on it, under a lease, so that a process killed
anywhere loses nothing and repeats nothing: a trial's key is in the ledger before the executor hears of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.identifiers import idempotency_key
from genesis_workbench.core.leases import Lease
from genesis_workbench.core.ledger import Ledger, NewEvent
from genesis_workbench.experiments.executors._base import Executor, Failure
from genesis_workbench.experiments.finding import decide
from genesis_workbench.experiments.proposers._base import CannotPropose, Proposer, domain
from genesis_workbench.experiments.state import ExperimentState, Trial, fold, stream

ACTOR = "service:runner"
FALL_BACK = "sobol"
_FAILURES_IN_A_ROW = 5
log = logging.getLogger(__name__)


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
            write(
                "trial.observed", trial=trial.number, values=outcome.as_dict(), simulated=executor.simulated
            )
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
    last = [trial for trial in state.trials if not trial.open][-_FAILURES_IN_A_ROW:]
    if state.stopping:
        return f"It was stopped: {state.reason}" if state.reason else "It was stopped."
    if len(last) == _FAILURES_IN_A_ROW and all(trial.state == "failed" for trial in last):
        return f"{_FAILURES_IN_A_ROW} trials in a row failed. The last one: {last[-1].reason}"
    if len(state.trials) >= state.spec.budget.trials and not under_way:
        return f"All {state.spec.budget.trials} trials of the budget are done."
    return ""


def _end(
    ledger: Ledger, state: ExperimentState, lease: Lease | None, executor: Executor, reason: str
) -> ExperimentState:
    write = _Writer(ledger, state, lease)
    for trial in [trial for trial in state.trials if trial.open]:
        executor.cancel(trial.key)
        write("trial.failed", trial=trial.number, reason="The experiment ended before it was done.")
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
    if count <= 0:
        return
    proposer, because = state.spec.proposer, ""
    try:
        points = _checked(state, plugins.load("proposers", proposer)(), count)
    except Exception as error:  # a plug-in may raise anything; the experiment goes on and says why
        cannot = isinstance(error, CannotPropose)
        log.warning("The proposer %s failed on %s", proposer, state.id, exc_info=not cannot)
        because = f"{proposer} {'cannot be used' if cannot else 'failed'}: {error}"[:500]
        proposer = FALL_BACK
        points = _checked(state, plugins.load("proposers", proposer)(), count)
    for number, parameters in enumerate(points, start=len(state.trials) + 1):
        key = idempotency_key(state.id, number)
        body: dict[str, Any] = {"trial": number, "parameters": parameters, "proposer": proposer, "key": key}
        write("trial.proposed", **body, **({"because": because} if because else {}))
        _start(write, executor, state, Trial(number, parameters, proposer, key, ""))


def _checked(state: ExperimentState, proposer: Proposer, count: int) -> list[dict[str, Any]]:
    fits = domain(state.spec)
    points = proposer.propose(state.spec, state.trials, count)
    for point in points:
        fits.check(point)  # InvalidInput where a proposer leaves the space
    return points[:count]
