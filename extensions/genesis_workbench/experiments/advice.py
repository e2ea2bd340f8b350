"""What a proposer asked of somebody outside: written down once, paid for, and not asked again.

A language model answers the same question differently each time. So its reply is an event, the proposals are a function of
that event, and whoever takes an experiment up after a crash finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genesis_workbench.core import plugins
from genesis_workbench.experiments.proposers._base import Advised, CannotPropose, points_so_far
from genesis_workbench.experiments.spec import PERSON
from genesis_workbench.experiments.state import ExperimentState


def kept(state: ExperimentState, count: int) -> Advised | None:
    """Return the points that the ledger has for the trials that come next; None where nobody was asked, or for fewer."""
    last = state.advice
    if not last or last["after"] != points_so_far(state.trials) or len(last["points"]) < count:
        return None
    return Advised(last["points"], last)


def at_most(state: ExperimentState, count: int) -> dict[str, float]:
    """Return the most that asking for `count` points can cost; nothing for a proposer that asks nobody outside."""
    spec = state.spec
    if spec.proposer == PERSON:
        return {}
    ask = getattr(plugins.load("proposers", spec.proposer)(), "at_most", None)
    cost: dict[str, float] = {} if ask is None else ask(spec, [*state.earlier, *state.trials], count)
    return {name: amount for name, amount in cost.items() if amount}


def afford(state: ExperimentState, count: int) -> None:
    """Refuse to ask where that may cost more money than is left, or than could be held for it in a shared budget.

    Raises
    ------
    CannotPropose
        With what it may cost.
    """
    cost, budget = at_most(state, count), state.spec.budget
    own = {"money": budget.limits["money"]} if "money" in budget.limits else {}
    if state.spending.lacks(own, cost) or (cost and budget.account and not state.asking):
        where = f" in the shared budget {budget.account!r}" if budget.account else ""
        raise CannotPropose(
            f"asking may cost {cost['money']:g} {budget.currency}, and so much is not left{where}"
        )


def about_to_ask(state: ExperimentState, count: int) -> dict[str, Any] | None:
    """Return the event that holds, in a shared budget, what the next question may cost; None where there is nothing to hold."""
    if not state.spec.budget.account or state.asking or kept(state, count) is not None:
        return None
    cost = at_most(state, count)
    return {"proposer": state.spec.proposer, "cost": cost} if cost else None


def unanswered(state: ExperimentState, cost: dict[str, float]) -> dict[str, Any]:
    """Return the event that what was held for a question has cost so much, and that it gave nothing."""
    return body(state, {"calls": [], "cost": cost, "why": []}, [])


def body(state: ExperimentState, record: dict[str, Any], points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the event of a question and its answer."""
    return {
        **record,
        "proposer": state.spec.proposer,
        "after": points_so_far(state.trials),
        "points": list(points),
    }
