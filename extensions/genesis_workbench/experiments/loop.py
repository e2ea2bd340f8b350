"""One turn of the closed loop. The service's runner and a bare process take the same turns.

Each turn: ask executors what became of executions under way, take up what people said, start what may start, propose
new trials, and at the end decide. Every step is written before the next one depends on it, under a lease, so that a
process killed anywhere loses nothing and repeats nothing: an execution's key is in the ledger before its executor hears
of it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from genesis_workbench.core.leases import Lease
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import advice
from genesis_workbench.experiments.effects import (
    Cancel,
    Describe,
    Effect,
    Hands,
    Loop,
    Observe,
    Planner,
    Submit,
    Turn,
)
from genesis_workbench.experiments.executing import (
    Running,
    abandoned,
    due,
    outcome_events,
    ready,
    returned,
    running,
    too_dear,
    unfinished,
)
from genesis_workbench.experiments.executors._base import Executor, Observation, Signature, signature
from genesis_workbench.experiments.finding import decide, verdict
from genesis_workbench.experiments.permission import permissions, touched, unasked
from genesis_workbench.experiments.planning import plan
from genesis_workbench.experiments.proposing import propose
from genesis_workbench.experiments.state import ExperimentState, Trial, fold, stream
from genesis_workbench.experiments.trial import MOST_FAILURES, too_many_failures
from genesis_workbench.experiments.writing import Entry, Writer

ACTOR = "service:runner"


def advance(
    ledger: Ledger,
    experiment: str,
    lease: Lease | None,
    executors: Mapping[str, Executor],
    planner: Planner = plan,
    state: ExperimentState | None = None,
) -> ExperimentState:
    """Bring an experiment as far as it goes without waiting, and return its state.

    Parameters
    ----------
    lease : Lease
        The right to advance it; every append fails once somebody else has taken it over.
    executors : mapping
        Executors by name.
    planner : callable
        Plans the next trials.
    state : ExperimentState, optional
        The experiment as it is now, where that is known; it is brought up to date.
    """
    if state is None:
        state = fold(ledger.all(stream=stream(experiment)))
    taken = Turn(turn(state, executors), lease)
    Hands(ledger, executors, planner).run([taken])
    if taken.error is not None:
        raise taken.error
    return state


def turn(state: ExperimentState, executors: Mapping[str, Executor]) -> Loop:
    """Take one turn of an experiment; `state` is brought up to date with what is written."""
    if state.state == "ended":
        return
    write = Writer(state, ACTOR)
    yield from _take_outcomes(state, executors, write)
    yield from write(permissions(state))
    if state.state == "paused":
        # What is under way goes on: a sample does not stay in the furnace because nothing new is to begin.
        yield from start(state, executors, write, only_begun=True)
        return
    reason = _why_it_ends(state)
    if reason:
        yield from _end(state, write, reason)
        return
    yield from start(state, executors, write)
    if (yield from propose(state, write)):
        yield from start(state, executors, write)
    elif reason := _why_it_ends(state):
        yield from _end(state, write, reason)


def _take_outcomes(state: ExperimentState, executors: Mapping[str, Executor], write: Writer) -> Loop:
    """Write what became of executions under way: what their executors say, or a person where it is asked."""
    under_way = running(state)
    outcomes: dict[str, Any] = {}
    asked: dict[str, list[str]] = {}
    for each in under_way:
        if each.execution.state == "started" and each.execution.answer is None:
            asked.setdefault(each.step.executor, []).append(each.execution.key)
        elif (told := returned(each.execution)) is not None:
            outcomes[each.execution.key] = told
    for name, keys in asked.items():
        outcomes |= yield Observe(name, tuple(keys))
    measured = [each for each in under_way if isinstance(outcomes.get(each.execution.key), Observation)]
    takes = yield from _described(executors, measured)
    if not outcomes and not any(each.execution.answer for each in under_way):
        yield from write(unfinished(state))
        return
    ended: list[Trial] = []
    entries: list[Entry] = []
    for each in under_way:
        if each.trial in ended:
            continue  # another step of it has failed just now
        events = outcome_events(state, takes, each, outcomes.get(each.execution.key))
        if events and events[0].kind == "trial.again":
            if (yield from write(events)) is not None:
                yield from write([too_dear(state, each)])
            continue
        entries += events
        if any(event.kind == "trial.failed" for event in events):
            ended.append(each.trial)
    yield from _cancel(state, ended)
    yield from write(entries)
    yield from write(unfinished(state))


def _described(
    executors: Mapping[str, Executor], executions: Sequence[Running]
) -> Generator[Effect, Any, dict[str, Signature]]:
    """Return what the steps of these executions take and give, by step; without those whose executor is away."""
    steps = {each.step.name: each.step for each in executions}
    found = {}
    for name, step in steps.items():
        if hasattr(
            executors[step.executor], "signature"
        ):  # its own, which may have to be asked for elsewhere
            answer = yield Describe(step.executor, (step.arguments,))
            if answer is not None:
                found[name] = answer[0]
        else:
            found[name] = signature(executors[step.executor], step.arguments)
    return found


def start(
    state: ExperimentState, executors: Mapping[str, Executor], write: Writer, *, only_begun: bool = False
) -> Loop:
    """Submit every execution that may start. Their keys are in the ledger: again after a crash, nothing runs twice.

    Parameters
    ----------
    only_begun : bool
        Whether only trials go on of which something was started before.
    """
    takes = yield from _described(executors, ready(state, only_begun=only_begun))
    # A device may be another one by now than when the experiment was launched.
    yield from write(touched(state, takes))
    yield from write(unasked(state, ready(state, only_begun=only_begun)))
    submitted, entries = due(state, takes, ready(state, only_begun=only_begun))
    yield from write(entries)
    for name, each in submitted.items():
        refused = yield Submit(name, tuple(one.request for one in each))
        if refused is None:
            continue  # the executor is away
        entries = [one.refused(words) for one in each if (words := refused.get(one.request.key)) is not None]
        entries += [one.started() for one in each if one.request.key not in refused]
        yield from write(entries)


def _cancel(state: ExperimentState, trials: Sequence[Trial]) -> Generator[Effect, Any, None]:
    keys: dict[str, list[str]] = {}
    for trial in trials:
        for each in running(state, trial):
            if each.execution.state == "started":
                keys.setdefault(each.step.executor, []).append(each.execution.key)
    for name, some in keys.items():
        yield Cancel(name, tuple(some))


def _why_it_ends(state: ExperimentState) -> str:
    if state.stopping:
        return f"It was stopped: {state.reason}" if state.reason else "It was stopped."
    if too_many_failures(state.trials):
        last = [trial for trial in state.trials if not trial.open][-1]
        return f"{MOST_FAILURES} trials in a row failed. The last one: {last.reason}"
    decided = verdict(state) if state.spec.hypothesis.stopping == "decided" else None
    if decided is not None and decided.final:
        return f"The rule has decided: {decided.says}"
    if state.under_way:
        return ""
    if len(state.trials) >= state.spec.budget.trials:
        return f"All {state.spec.budget.trials} trials of the budget are done."
    return state.spent


def _end(state: ExperimentState, write: Writer, reason: str) -> Loop:
    undone = list(state.under_way.values())
    yield from _cancel(state, undone)
    yield from write([abandoned(state, trial) for trial in undone])
    if state.asking:
        # Whether the answer to that question was paid for nobody can know any more.
        yield from write([Entry("proposer.asked", advice.unanswered(state, state.asking))])
    # Together, so that no death in between can leave a finding without an end, and make a second one.
    yield from write([Entry("finding.made", decide(state)), Entry("experiment.ended", {"reason": reason})])
