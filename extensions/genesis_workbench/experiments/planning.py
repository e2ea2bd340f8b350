"""What is tried next: repeats that are due, points of the arms of comparison, and what the proposer proposes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from genesis_workbench.core import plugins
from genesis_workbench.experiments.proposers._base import (
    CannotPropose,
    Proposer,
    domain,
    points_so_far,
    random_values,
)
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.trial import MAIN, Trial

FALL_BACK = "sobol"
_ARMS = 2  # random points of arms are not those that the proposer `random` draws
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A trial to come. `because` says why another proposer than the experiment's own proposed it."""

    parameters: dict[str, Any]
    proposer: str
    point: int
    arm: str = MAIN
    because: str = ""

    def body(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        body = {
            "parameters": self.parameters,
            "proposer": self.proposer,
            "point": self.point,
            "arm": self.arm,
        }
        return {**body, "because": self.because} if self.because else body


def plan(state: ExperimentState, count: int) -> list[Planned]:
    """Return the next `count` trials: a pure function of the events behind `state`."""
    due = _repeats(state)[:count]
    repeats = state.spec.repeats
    for planned in _points(state, -(-(count - len(due)) // repeats)):
        due += [planned] * repeats
    return due[:count]


def _repeats(state: ExperimentState) -> list[Planned]:
    """Return what is left to repeat of points that were begun."""
    begun: dict[int, list[Trial]] = {}
    for trial in state.trials:
        begun.setdefault(trial.point, []).append(trial)
    left = []
    for point, trials in begun.items():
        again = Planned(trials[0].parameters, trials[0].proposer, point, trials[0].arm)
        left += [again] * (state.spec.repeats - len(trials))
    return left


def _points(state: ExperimentState, count: int) -> list[Planned]:
    first = points_so_far(state.trials) + 1
    numbers = range(first, first + count)
    proposed = iter(_proposed(state, sum(state.spec.arm(number) is None for number in numbers)))
    found = []
    for number in numbers:
        arm = state.spec.arm(number)
        if arm is None:
            parameters, proposer, because = next(proposed)
            found.append(Planned(parameters, proposer, number, because=because))
        elif arm.parameters is None:
            found.append(Planned(dict(random_values(state.spec, number, _ARMS)), "random", number, arm.name))
        else:
            found.append(Planned(arm.parameters, "given", number, arm.name))
    return found


def _proposed(state: ExperimentState, count: int) -> list[tuple[dict[str, Any], str, str]]:
    if count <= 0:
        return []
    proposer, because = state.spec.proposer, ""
    try:
        points = _checked(state, plugins.load("proposers", proposer)(), count)
    except Exception as error:  # a plug-in may raise anything; the experiment goes on and says why
        cannot = isinstance(error, CannotPropose)
        log.warning("The proposer %s failed on %s", proposer, state.id, exc_info=not cannot)
        because = f"{proposer} {'cannot be used' if cannot else 'failed'}: {error}"[:500]
        proposer = FALL_BACK
        points = _checked(state, plugins.load("proposers", proposer)(), count)
    return [(point, proposer, because) for point in points]


def _checked(state: ExperimentState, proposer: Proposer, count: int) -> list[dict[str, Any]]:
    fits = domain(state.spec)
    points = proposer.propose(state.spec, state.trials, count)
    for point in points:
        fits.check(point)  # InvalidInput where a proposer leaves the space
    if len(points) < count:
        raise CannotPropose(f"it proposed {len(points)} points, not {count}")
    return points[:count]
