"""What is optimised: four suites of functions over the unit cube, each as regret, of which 0 is the optimum.

bbob
    The 24 functions of BBOB (Hansen et al., 2009; the package ioh); an instance moves and turns a function.
limits
    botorch's constrained synthetic functions. A limit is an outcome that is measured with the value and must not be below 0.
fidelity
    botorch's augmented functions that have one fidelity. A trial at the lowest of five levels costs a tenth of a real one.
chemistry
    BoFire's reaction and its detergent (:mod:`.chemistry`), with limits.

A group is one of the five of BBOB, or another suite. Of each group a seed has one function, the next seed the next one, at an instance
of its own; outside of bbob an instance is no more than another seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments_parts.chemistry import CHEMISTRY

GROUPS = {
    "separable": range(1, 6),
    "moderate conditioning": range(6, 10),
    "high conditioning": range(10, 15),
    "multimodal": range(15, 20),
    "weak structure": range(20, 25),
}
OTHERS: dict[str, dict[str, int]] = {
    "limits": {
        "ConstrainedGramacy": 2, "TensionCompressionString": 3, "PressureVessel": 4, "WeldedBeamSO": 4,
        "ConstrainedHartmann": 6, "SpeedReducer": 7,
    },
    "fidelity": {"AugmentedBranin": 2, "AugmentedHartmann": 6},
    "chemistry": {name: d for name, (d, _, _) in CHEMISTRY.items()},
}  # fmt: skip
"""The functions of each other suite, and how many parameters each has."""

BELOW = {"PressureVessel": 5633.95, "WeldedBeamSO": 1.587077}
"""Smallest values where botorch names larger ones.

Its vessel's price counts a plate's thickness in sixteenths of an inch, rounded, and its limits do not: found by going through
all thicknesses. Its beam has other limits than the literature's: found by differential evolution.
"""

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
CHEAPEST = 0.1  # of what a real trial costs
FLOOR = 1e-4  # of the spread: outside of bbob optima are known to four digits or so
LOOKS = 200  # random points that say how far values spread


@dataclass(frozen=True)
class Problem:
    """What is optimised, and how."""

    suite: str
    function: int | str
    instance: int
    d: int
    setting: str

    @property
    def seed(self) -> int:
        if isinstance(self.function, int):
            return 1000 * self.function + self.instance
        place = [name for functions in OTHERS.values() for name in functions].index(self.function)
        return 1000 * (100 + place) + self.instance


def problems(
    suites: list[str], dims: list[int], seeds: Iterable[int], settings: list[str]
) -> Iterator[Problem]:
    """Iterate over problems, all of one seed before the next; `dims` are BBOB's, the others have their own."""
    for seed in seeds:
        for suite in suites:
            own = OTHERS.get(suite, {})
            for d in [0] if own else dims:
                for setting in settings:
                    for members in [list(own)] if own else map(list, GROUPS.values()):
                        function = members[(seed - 1) % len(members)]
                        yield Problem(suite, function, seed, own.get(str(function), d), setting)


def group(suite: str, function: int | str) -> str:
    """Return the group of a function: of BBOB its own, else the suite."""
    return next((name for name, members in GROUPS.items() if function in members), suite)


class Function:
    """A function over the unit cube: its regret, then by how much each limit is kept, in standard deviations.

    With fidelities a point has one more coordinate, its level; where it is left out, a trial is real.

    Parameters
    ----------
    outcomes : callable
        Of a point, with its level where there are levels, gives the value, and what each limit wants not to be below 0.
    """

    def __init__(
        self,
        problem: Problem,
        optimum: float,
        outcomes: Callable[[np.ndarray], Sequence[float]],
        levels: tuple[float, ...] = (),
        floor: float = FLOOR,
    ) -> None:
        self.d, self.levels = problem.d, levels
        self._outcomes, self._optimum = outcomes, optimum
        points = np.random.default_rng(problem.seed).random((LOOKS, self.d)).tolist()
        seen = np.array([outcomes(self._whole(point)) for point in points])
        low, high = np.quantile(seen[:, 0], [0.25, 0.75])
        self.spread, self.worst = float(high - low), float(seen[:, 0].max()) - optimum
        self.floor = floor * self.spread
        self._scales = seen[:, 1:].std(axis=0)
        self.limits = len(self._scales)

    def __call__(self, point: list[float]) -> list[float]:
        value, *margins = self._outcomes(self._whole(point))
        found = [value - self._optimum, *(np.array(margins) / self._scales).tolist()]
        if self.counts(point, found) and found[0] < -10 * self.floor:
            raise RuntimeError(f"{value} is less than the smallest value that was known, {self._optimum}")
        return found

    def counts(self, point: list[float], outcomes: Sequence[float]) -> bool:
        """Whether a trial is real and keeps the limits."""
        return self._whole(point)[self.d :].min(initial=1.0) == 1 and min(outcomes[1:], default=0.0) >= 0

    def cost(self, point: list[float]) -> float:
        """Return what a trial costs; a real one 1."""
        return 1.0 if len(point) == self.d else CHEAPEST + (1 - CHEAPEST) * point[self.d]

    def _whole(self, point: list[float]) -> np.ndarray:
        return np.array([*point, 1.0] if self.levels and len(point) == self.d else point)


def function_of(problem: Problem) -> Function:
    """Return the function of a problem."""
    if problem.suite == "chemistry":
        _, optimum, measured = CHEMISTRY[str(problem.function)]
        return Function(problem, optimum, measured)
    return _bbob(problem) if problem.suite == "bbob" else _botorch(problem)


def _bbob(problem: Problem) -> Function:
    import ioh

    at = ioh.get_problem(problem.function, problem.instance, problem.d, ioh.ProblemClass.BBOB)

    def outcomes(point: np.ndarray) -> list[float]:
        return [max(float(at((10 * point - 5).tolist())), at.optimum.y)]

    return Function(problem, at.optimum.y, outcomes, floor=0.0)


def _botorch(problem: Problem) -> Function:
    import torch
    from botorch.test_functions import multi_fidelity, synthetic

    limited = problem.suite == "limits"
    at = getattr(synthetic if limited else multi_fidelity, str(problem.function))()
    low, high = at.bounds.double()

    def outcomes(point: np.ndarray) -> list[float]:
        x = (low + torch.tensor(point) * (high - low)).unsqueeze(0)
        slack = at.evaluate_slack_true(x)[0].tolist() if limited else []
        return [float(at.evaluate_true(x)), *slack]

    optimum = BELOW.get(str(problem.function), float(at.optimal_value))
    return Function(problem, optimum, outcomes, () if limited else LEVELS)
