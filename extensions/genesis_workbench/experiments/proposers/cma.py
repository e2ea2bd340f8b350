"""CMA-ES, for many trials of one noisy or rugged objective: the covariance matrix adaptation evolution strategy.

Source: Hansen (2023), "The CMA evolution strategy: a tutorial". The strategy's state is rebuilt by telling it, generation
after generation, the points that have come back, in the order in which they came; failed ones rank last. Which points
those are may differ from those it would have asked for: people's points, and those of comparison's arms, count too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.domain import MOST_DRAWS, Domain
from genesis_workbench.experiments.outcomes import points as repeated
from genesis_workbench.experiments.proposers._base import (
    CannotPropose,
    always,
    arguments,
    domain,
    improved,
    margins,
    measured,
    needs,
    points_so_far,
    seed_of,
)
from genesis_workbench.experiments.proposers._tried import fresh
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

if TYPE_CHECKING:
    from cmaes import CMA

Array = NDArray[np.float64]
_STEP = 0.25  # of the unit cube: covers it from the middle
Rank = tuple[int, float]


class EvolutionProposer:
    """Points drawn from the strategy's distribution, as often again as constraints need."""

    name: ClassVar[str] = "cma"

    def check(self, spec: ExperimentSpec) -> None:
        """Refuse several objectives, parameters that are not always active, and mixtures."""
        arguments(spec, self.name, {})
        needs(self.name, "cmaes")
        if len(spec.objectives) > 1:
            raise CannotPropose(
                f"The proposer 'cma' has one objective, not {len(spec.objectives)}. Use gp or ax."
            )
        always(self.name, spec, "gp or optuna")
        if domain(spec).mixtures:
            raise CannotPropose(
                f"The proposer 'cma' hits the sum of {domain(spec).mixtures[0]} with probability 0. Use gp or baybe."
            )

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points of the present generation. See :class:`Proposer`."""
        self.check(spec)
        strategy = _strategy(spec)
        size = strategy.population_size
        ended = _ranked(spec, trials)
        for start in range(0, len(ended) - size + 1, size):
            generation = ended[start : start + size]
            if all(rank[0] == _FAILED for _, rank in generation):
                continue  # it says nothing about where to go
            order = {rank: place for place, rank in enumerate(sorted({rank for _, rank in generation}))}
            strategy.tell([(at, float(order[rank])) for at, rank in generation])
            if strategy.should_stop():
                strategy = _again(spec, start, strategy.mean)
        fits, first = domain(spec), points_so_far(trials)
        tried = [trial.parameters for trial in trials]
        for number in range(first, first + count):
            strategy.reseed_rng(seed_of(spec, number))
            tried.append(fresh(lambda: _drawn(spec, fits, strategy), tried))
        return tried[len(trials) :]


_KEPT, _BROKEN, _FAILED = range(3)


def _strategy(spec: ExperimentSpec) -> CMA:
    """Return the strategy at its beginning: a point at random, and a step that reaches the whole cube from there."""
    from cmaes import CMA

    # The strategy needs two coordinates; a second one that means nothing costs little.
    width = max(2, space.width(spec.space))
    start = np.random.default_rng(spec.seed).uniform(0.3, 0.7, width)
    return CMA(mean=start, sigma=_STEP, bounds=np.tile([0.0, 1.0], (width, 1)))


def _again(spec: ExperimentSpec, start: int, mean: Array) -> CMA:
    """Return it begun again elsewhere, once it has converged (Auger and Hansen, 2005)."""
    from cmaes import CMA

    elsewhere = np.random.default_rng([spec.seed, start]).random(len(mean))
    return CMA(mean=elsewhere, sigma=_STEP, bounds=np.tile([0.0, 1.0], (len(mean), 1)))


def _ranked(spec: ExperimentSpec, trials: Sequence[Trial]) -> list[tuple[Array, Rank]]:
    """Return the points that have come back and how they rank, less being better: kept limits, broken ones, failures.

    Source: Deb (2000), "An efficient constraint handling method for genetic algorithms". Repeats of a point are one.
    """
    under_way = {trial.point for trial in trials if trial.open}
    good = {each.number: each for each in repeated(measured(spec, trials))}
    last = {trial.point: trial for trial in sorted(trials, key=lambda trial: (trial.settled, trial.number))}
    found = []
    for number, trial in sorted(last.items(), key=lambda each: (each[1].settled, each[1].number)):
        if number in under_way:
            continue
        at = space.encode(spec.space, trial.parameters)
        rank: Rank = (_FAILED, 0.0)
        if number in good:
            repeats = good[number].trials
            kept = np.mean([margins(spec, each) for each in repeats], axis=0)
            lack = -float(np.minimum(kept, 0).sum())
            rank = (
                (_BROKEN, lack)
                if lack
                else (_KEPT, -float(np.mean([improved(spec, each) for each in repeats])))
            )
        found.append((np.resize(at, max(2, len(at))), rank))
    return found


def _drawn(spec: ExperimentSpec, fits: Domain, strategy: CMA) -> dict[str, Any]:
    """Return a point, drawn until it fits (Hansen, 2023, section B.5)."""
    for _ in range(MOST_DRAWS):
        values = space.decode(spec.space, strategy.ask()[: fits.width])
        if fits.holds(values):
            return values
    raise CannotPropose(f"none of {MOST_DRAWS} points that it drew satisfies the constraints; use gp")
