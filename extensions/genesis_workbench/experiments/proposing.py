"""New trials: planned, paid for out of the budget, written down with their keys."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import advice
from genesis_workbench.experiments.budget import Amounts, Spending, together
from genesis_workbench.experiments.effects import Effect, Propose
from genesis_workbench.experiments.permission import wanted
from genesis_workbench.experiments.planning import Plan, Planned, given_up
from genesis_workbench.experiments.reach import planned
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.steps import ONLY, active, key_of
from genesis_workbench.experiments.writing import Entry, Writer


def propose(state: ExperimentState, write: Writer) -> Generator[Effect, Any, bool]:
    """Write new proposals, as many as may be under way and as the budget has room for; return whether there are any."""
    count = min(state.spec.parallel - len(state.under_way), state.spec.budget.trials - len(state.trials))
    if count <= 0 or state.spent:
        return False
    if not given_up(state) and (asking := advice.about_to_ask(state, count)) is not None:
        yield from write([Entry("proposer.asking", asking)])  # where it does not fit, the planner asks nobody
    plan = yield from _plan(state, count)
    if plan is None:
        return False
    entries = [Entry("proposer.asked", asked) for asked in plan.asked]
    if state.asking and not entries:
        entries = [Entry("proposer.asked", advice.unanswered(state, {}))]
    entries += [Entry("proposer.failed", failure) for failure in plan.failures]
    asking = together(*(asked.get("cost", {}) for asked in plan.asked))
    proposals, why = _within_budget(state, plan.trials, asking)
    before = len(state.trials)
    lacks = yield from write([*entries, *proposals])
    if why and not state.under_way:
        yield from write([Entry("budget.spent", {"reason": why()})])
    elif lacks and not lacks.held and not state.under_way:
        unit = state.spec.budget.unit(lacks.amount)
        reason = (
            f"The shared budget {state.spec.budget.account!r} has not enough {unit} left for another trial."
        )
        yield from write([Entry("budget.spent", {"reason": reason})])
    return len(state.trials) > before


def _plan(state: ExperimentState, count: int) -> Generator[Effect, Any, Plan | None]:
    """Return the next trials; where nothing has happened since they were planned, those that were planned then."""
    if state.planned is not None and state.planned[:2] == (state.version, count):
        kept: Plan = state.planned[2]
        return kept
    plan: Plan | None = yield Propose(state, count)
    if plan is not None:
        state.planned = (state.version, count, plan)
    return plan


def _within_budget(
    state: ExperimentState, trials: list[Planned], asking: Amounts
) -> tuple[list[Entry], Callable[[], str] | None]:
    """Return the proposals for which there is room, and what says, once they are written, why there is none for the next.

    `asking` is what it has cost to ask for them.
    """
    limits = {name: limit for name, limit in state.spec.budget.limits.items() if name != "trials"}
    so_far = Spending(spent={name: state.spending.used(name) + asking.get(name, 0.0) for name in limits})
    entries: list[Entry] = []
    for number, each in enumerate(trials, start=len(state.trials) + 1):
        try:
            reserved = planned(state.spec, each.parameters)
        except InvalidInput as error:
            # The same trials give the same point at every turn: there is no way around it.
            return entries, partial(_unknown, error.message)
        short = so_far.lacks(limits, reserved)
        if short:
            return entries, partial(_spent, state, short, reserved)
        so_far.reserve(str(number), reserved)
        entries.append(_proposal(state, number, each, reserved))
    return entries, None


def _proposal(state: ExperimentState, number: int, one: Planned, reserved: Amounts) -> Entry:
    body: dict[str, Any] = {"trial": number, **one.body(), "key": key_of(state.id, number, ONLY)}
    if reserved:
        body["reserved"] = reserved
    if state.spec.steps:
        body["steps"] = [step.name for step in active(state.spec.steps, one.parameters)]
    approval = wanted(state, number, one.parameters, reserved)
    if approval is not None:
        body["approval"] = approval
    return Entry("trial.proposed", body)


def _unknown(message: str) -> str:
    return f"Nobody can say what the next trial would cost, so it was not proposed. {message}"


def _spent(state: ExperimentState, short: str, next_one: Amounts) -> str:
    """Return why nothing more is proposed."""
    budget = state.spec.budget
    return (
        f"The budget of {budget.unit(short)} is spent: {state.spending.used(short):g} of {budget.limits[short]:g}, and "
        f"the next trial would cost {next_one[short]:g}."
    )
