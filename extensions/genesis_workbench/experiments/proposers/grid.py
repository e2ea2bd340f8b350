"""A full grid, as fine as the budget allows, in random order: a factorial design (Fisher, 1935).

Real and whole numbers get the same number of levels, choices all of theirs; a mixture gets its simplex lattice
(Scheffé, 1958). Points that break a constraint are left out. Once the grid is done it begins again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.constraints import Mixture
from genesis_workbench.experiments.parameters import Value
from genesis_workbench.experiments.proposers._base import domain, points_so_far
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

_MOST_POINTS = 20_000
Point = dict[str, Value]


class GridProposer:
    """The next points of the grid."""

    name: ClassVar[str] = "grid"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return the next `count` points. See :class:`Proposer`."""
        points = _grid(spec.model_dump_json())
        order = np.random.default_rng(spec.seed).permutation(len(points))
        first = points_so_far(trials)
        return [dict(points[order[number % len(points)]]) for number in range(first, first + count)]


@lru_cache(maxsize=32)
def _grid(description: str) -> list[Point]:
    """Return the finest grid with at most as many points as the budget; the coarsest where none is so small."""
    spec = ExperimentSpec.model_validate_json(description)
    budget = max(1, spec.budget.trials // spec.repeats)
    best: list[Point] = []
    low, high = 2, max(2, budget)
    while low <= high:
        levels = (low + high) // 2
        points = _points(spec, levels)
        if points is not None and (len(points) <= budget or levels == 2):
            best, low = points or best, levels + 1
        else:
            high = levels - 1
    if not best:
        raise InvalidInput(
            "Nothing fits: no point of the grid satisfies all constraints, or two levels of each parameter are more than "
            f"{_MOST_POINTS} points. Use sobol, which draws between the levels, or fewer parameters."
        )
    return best


def _points(spec: ExperimentSpec, levels: int) -> list[Point] | None:
    """Return the grid's points that fit, each once; None where they are too many to look at."""
    mixtures = [each for each in spec.constraints if isinstance(each, Mixture)]
    mixed = {name for mixture in mixtures for name in mixture.parts}
    axes: list[list[Point]] = [
        [{parameter.name: value} for value in parameter.levels(levels)]
        for parameter in spec.space
        if parameter.name not in mixed
    ]
    for mixture in mixtures:
        lattice = list(itertools.islice(_lattice(spec, mixture, levels - 1), _MOST_POINTS + 1))
        axes.append(lattice)
    if np.prod([float(len(axis)) for axis in axes]) > _MOST_POINTS:
        return None
    fits, found = domain(spec), {}
    for combination in itertools.product(*axes):
        merged = {name: value for part in combination for name, value in part.items()}
        ordered = {parameter.name: merged[parameter.name] for parameter in spec.space}
        point = spaces.active(spec.space, ordered)
        if fits.holds(point):
            found[canonical_json(point)] = point
    return list(found.values())


def _lattice(spec: ExperimentSpec, mixture: Mixture, steps: int) -> Iterator[Point]:
    """Iterate over the mixtures whose parts are multiples of a `steps`-th of what is free above the lower bounds."""
    parts = mixture.of(spec.space)
    free = mixture.total - sum(part.low for part in parts)
    for bars in itertools.combinations(range(steps + len(parts) - 1), len(parts) - 1):
        ends = (-1, *bars, steps + len(parts) - 1)
        counts = [b - a - 1 for a, b in itertools.pairwise(ends)]
        point: Point = {p.name: p.low + free * c / steps for p, c in zip(parts, counts, strict=True)}
        if all(float(point[part.name]) <= part.high for part in parts):
            yield point
