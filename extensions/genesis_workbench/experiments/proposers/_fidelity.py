"""How true to life the next trial is: as cheap as it may be and still teach something about the real thing.

Where to look is decided at the target's fidelity. The trial is then given to the fidelity that takes away most of the
variance there for what it costs (after Song, Chen and Yue, 2019, "A general framework for multi-fidelity Bayesian
optimization with Gaussian processes").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genesis_workbench.experiments import space
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.proposers._gaussian import Array, GaussianProcess
from genesis_workbench.experiments.proposers._tried import Tried
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.steps import Fidelity, active

_LEVELS = 5  # that are looked at of a fidelity without single values


class Fidelities:
    """The fidelities of an experiment that names a parameter for them."""

    def __init__(self, spec: ExperimentSpec, fidelity: Fidelity, fits: Domain) -> None:
        self._spec, self._fidelity, self._fits = spec, fidelity, fits
        start = 0
        for each in spec.space:
            if each.name == fidelity.parameter:
                self._at, self._parameter = slice(start, start + each.width), each
            start += each.width
        self._target = np.array(self._parameter.encode(fidelity.target))

    def real(self, points: Array) -> Array:
        """Return points, shape (n, d), as they are at the target's fidelity."""
        moved = points.copy()
        moved[:, self._at] = self._target
        return moved

    def within(self, box: Array) -> Array:
        """Return a box, shape (d, 2), that holds the target's fidelity only."""
        narrow = box.copy()
        narrow[self._at] = self._target[:, None]
        return narrow

    def cheapest(self, model: GaussianProcess, point: Array, tried: Tried) -> Array:
        """Return a point of the target's fidelity, shape (d,), at the fidelity that is worth its cost most and was not tried."""
        dear = self._costs(point)
        levels = [self._fidelity.target, *self._parameter.levels(_LEVELS)]
        found: list[tuple[float, int, Array]] = []
        for place, level in enumerate(dict.fromkeys(levels)):
            other = point.copy()
            other[self._at] = self._parameter.encode(level)
            fits = self._fits.holds(space.decode(self._spec.space, other))
            if not fits or not tried.new(other[None])[0]:
                continue
            costs = self._costs(other)
            shares = [costs.get(name, 0.0) / cost for name, cost in dear.items() if cost > 0]
            share = max(float(np.mean(shares)), 1e-3) if shares else 1.0
            found.append((model.learned(other, point) / share, -place, other))
        return max(found, key=lambda each: each[:2])[2] if found else point

    def _costs(self, point: Array) -> Mapping[str, float]:
        values: dict[str, Any] = space.decode(self._spec.space, point)
        costs: dict[str, float] = {
            name: cost.of(self._spec.space, values) for name, cost in self._spec.cost.items()
        }
        for step in active(self._spec.steps, values):
            for name, cost in step.cost.items():
                costs[name] = costs.get(name, 0.0) + cost.of(self._spec.space, values)
        return costs
