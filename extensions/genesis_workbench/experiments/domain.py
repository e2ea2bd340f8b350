"""Draw points that satisfy everything the space asks: bounds, conditions, constraints and mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.constraints import AnyConstraint, Mixture
from genesis_workbench.experiments.parameters import AnyParameter, Value

MOST_DRAWS = 10_000
"""Points that are drawn at most for one that fits."""

Array = NDArray[np.float64]


class Domain:
    """A space with its constraints."""

    def __init__(self, space: Sequence[AnyParameter], constraints: Sequence[AnyConstraint] = ()) -> None:
        self.space, self.constraints = tuple(space), tuple(constraints)
        self.width = spaces.width(self.space)
        self.mixtures = [each for each in self.constraints if isinstance(each, Mixture)]
        self._places = {}
        start = 0
        for parameter in self.space:
            self._places[parameter.name] = start
            start += parameter.width

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise InvalidInput where `values` are no point of the domain, naming what they break."""
        spaces.encode(self.space, values)
        for constraint in self.constraints:
            if not constraint.holds(values):
                raise InvalidInput(f"{dict(values)} does not satisfy the constraint {constraint}.")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether `values`, which lie in the space, satisfy all constraints."""
        return self._broken(values) is None

    def place(self, point: Array) -> dict[str, Value] | None:
        """Return the values that a point of the unit cube, shape (width,), stands for; None where none fit there.

        The coordinates of a mixture's parts are made into exponential variables; their shares of the sum are uniform
        over all mixtures (a Dirichlet distribution with all parameters 1; Devroye, 1986, section XI.4).
        """
        values = self._drawn(point)
        return values if values is not None and self._broken(values) is None else None

    def first(self, points: Callable[[], Array], count: int = 1) -> list[dict[str, Value]]:
        """Return the first `count` points that fit, of those that repeated calls of `points` give in turn.

        Raises
        ------
        InvalidInput
            If 10,000 points in a row do not fit, saying how often each constraint held.
        """
        found: list[dict[str, Value]] = []
        misses: list[dict[str, Value] | None] = []
        while len(found) < count:
            for point in points():
                values = self._drawn(point)
                if values is not None and self._broken(values) is None:
                    found.append(values)
                    misses = []
                    continue
                misses.append(values)
                if len(misses) >= MOST_DRAWS:
                    raise InvalidInput(self._why(misses))
        return found[:count]

    def _drawn(self, point: Array) -> dict[str, Value] | None:
        values = spaces.decode(self.space, point)
        for mixture in self.mixtures:
            parts = mixture.of(self.space)
            share = np.array([point[self._places[part.name]] for part in parts])
            grown = -np.log1p(-np.clip(share, 1e-12, 1 - 1e-12))
            low = math.fsum(part.low for part in parts)
            amounts = (mixture.total - low) * grown / grown.sum()
            for part, amount in zip(parts, amounts.tolist(), strict=True):
                values[part.name] = part.low + amount
                if part.low + amount > part.high:
                    return None
        return values

    def _broken(self, values: Mapping[str, Any]) -> AnyConstraint | None:
        return next((each for each in self.constraints if not each.holds(values)), None)

    def _why(self, misses: Sequence[dict[str, Value] | None]) -> str:
        inside = [values for values in misses if values is not None]
        shares = [
            f"{str(constraint)!r} held for {sum(map(constraint.holds, inside))}"
            for constraint in self.constraints
            if not isinstance(constraint, Mixture)
        ]
        shares += [
            f"{str(mixture)!r} kept its parts below their upper bounds for {len(inside)}"
            for mixture in self.mixtures
        ]
        return (
            f"Nothing fits: of {len(misses)} points drawn in a row from the space, none satisfied all constraints; "
            f"{'; '.join(shares)}. Loosen the one that holds least, or narrow the parameters' bounds around what fits."
        )
