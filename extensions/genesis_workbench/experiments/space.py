"""The space as a whole: between the values of its active parameters and points of the unit cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.parameters import (
    AnyParameter,
    Categorical,
    Integer,
    Ordinal,
    Parameter,
    Real,
    Value,
    When,
)

__all__ = [
    "AnyParameter",
    "Categorical",
    "Integer",
    "Ordinal",
    "Parameter",
    "Real",
    "Value",
    "When",
    "decode",
    "encode",
    "snap",
    "width",
]

# Where an inactive parameter has no say: the middle of each of its coordinates.
_INACTIVE = 0.5


def width(space: Sequence[AnyParameter]) -> int:
    """Return the number of coordinates of the whole space."""
    return sum(parameter.width for parameter in space)


def active(space: Sequence[AnyParameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `values` that are active: their condition holds, or they have none."""
    kept: dict[str, Any] = {}
    for parameter in space:
        if parameter.name in values and (parameter.when is None or parameter.when.holds(kept)):
            kept[parameter.name] = values[parameter.name]
    return kept


def encode(space: Sequence[AnyParameter], values: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the point of the unit cube, shape (width,), that stands for `values`.

    Raises
    ------
    InvalidInput
        If a parameter is missing, unknown, out of its bounds, or given while it is inactive.
    """
    expected: set[str] = set()
    point: list[float] = []
    for parameter in space:
        if parameter.when is not None and not parameter.when.holds(values):
            point += [_INACTIVE] * parameter.width
            continue
        expected.add(parameter.name)
        if parameter.name in values:
            point += parameter.encode(values[parameter.name])
    if set(values) != expected:
        odd = sorted(set(values) ^ expected)
        raise InvalidInput(f"These parameters are missing or unknown: {', '.join(map(repr, odd))}.")
    return np.array(point)


def decode(space: Sequence[AnyParameter], point: NDArray[np.float64]) -> dict[str, Value]:
    """Return the values at a point of the unit cube, shape (width,); inactive parameters are left out."""
    values: dict[str, Value] = {}
    start = 0
    for parameter in space:
        values[parameter.name] = parameter.decode(point[start : start + parameter.width].tolist())
        start += parameter.width
    return active(space, values)


def snap(space: Sequence[AnyParameter], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points, shape (n, width), to the nearest that stand for values: integers and choices are coarse."""
    return np.array([encode(space, decode(space, point)) for point in points]).reshape(points.shape)
