"""What was tried already: measured again, a point says less than another one would say for the first time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.parameters import Real
from genesis_workbench.experiments.proposers._gaussian import Array

_SAME = 1e-9  # of the unit cube: an optimum that is there without noise may be refined down to this
_APART = 1e-4  # points of one batch: nearer than this the second says what the first does
_DRAWS = 32  # of a sampler that may come upon the same point of a finite space again
_FEW = 1024  # points of a finite space that are all looked at


@dataclass(frozen=True)
class Tried:
    """Points of the unit cube, shape (n, d), that need not be measured again, and those of unknown outcome."""

    done: Array
    pending: Array

    def new(self, points: Array) -> NDArray[np.bool_]:
        """Return which points, shape (m, d), are none of these."""
        return _apart(points, self.done, _SAME) & _apart(points, self.pending, _APART)

    def free(self, points: Array) -> NDArray[np.bool_]:
        """Return which points, shape (m, d), are not under way."""
        return _apart(points, self.pending, _APART)

    def instead(
        self,
        best: Array,
        points: Array,
        values: Array,
        doubt: Callable[[Array], Array],
        *,
        worth: bool = True,
    ) -> Array:
        """Return the best point, shape (d,); where it was tried, or is not worth it, the one most in doubt of those of `points` that
        are new.

        Only where all were tried does one come again: that of the largest of `values`.
        """
        if worth and self.new(best[None])[0]:
            return best
        new = self.new(points)
        if new.any():
            return np.asarray(points[new][np.argmax(doubt(points[new]))])
        free = self.free(points)
        return np.asarray(points[free][np.argmax(values[free])]) if free.any() else best


def _apart(points: Array, others: Array, distance: float) -> NDArray[np.bool_]:
    """Return which points, shape (m, d), differ from all `others`, shape (n, d), by more than `distance` in a coordinate."""
    found = np.ones(len(points), dtype=bool)
    for other in others:
        found &= (np.abs(points - other) > distance).any(axis=1)
    return found


def fresh(draw: Callable[[], dict[str, Any]], tried: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a point that `draw` gives and that is none of `tried`; one of them again where it gives no other."""
    for _ in range(_DRAWS):
        values = draw()
        if values not in tried:
            break
    return values


def everything(fits: Domain) -> Array | None:
    """Return all points of a small finite space, shape (n, d); None where it is neither."""
    if any(isinstance(each, Real) for each in fits.space):
        return None
    levels = [each.levels(_FEW + 1) for each in fits.space]
    if math.prod(map(len, levels)) > _FEW:
        return None
    names = [each.name for each in fits.space]
    found = {}
    for combination in itertools.product(*levels):
        values = space.active(fits.space, dict(zip(names, combination, strict=True)))
        if fits.holds(values):
            found[tuple(values.items())] = space.encode(fits.space, values)
    return np.array(list(found.values()))
