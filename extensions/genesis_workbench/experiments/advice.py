"""What a proposer asked of somebody outside: written down once, paid for, and not asked again.

A language model answers the same question differently each time. So its reply is an event, the proposals are a function of
that event, and whoever takes an experiment up after a crash finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genesis_workbench.core import plugins
from genesis_workbench.experiments.proposers._base import Advised, CannotPropose, points_so_far
from genesis_workbench.experiments.state import ExperimentState


def kept(state: ExperimentState, count: int) -> Advised | None:
    """Return the points that the ledger has for the trials that come next; None where nobody was asked, or for fewer."""
    last = state.advice
    if not last or last["after"] != points_so_far(state.trials) or len(last["points"]) < count:
        return None
    return Advised(last["points"], last)


def afford(state: ExperimentState, count: int) -> None:
    """Refuse to ask where that may cost more money than is left.

    Raises
    ------
    CannotPropose
        With what it may cost.
    """
    spec, limits = state.spec, state.spec.budget.limits
    at_most = getattr(plugins.load("proposers", spec.proposer)(), "at_most", None)
    if at_most is None or "money" not in limits:
        return
    cost = at_most(spec, [*state.earlier, *state.trials], count)
    if state.spending.lacks({"money": limits["money"]}, cost):
        raise CannotPropose(
            f"asking may cost {cost['money']:g} {spec.budget.currency}, and so much is not left"
        )


def body(state: ExperimentState, record: dict[str, Any], points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the event of a question and its answer."""
    return {
        **record,
        "proposer": state.spec.proposer,
        "after": points_so_far(state.trials),
        "points": list(points),
    }
