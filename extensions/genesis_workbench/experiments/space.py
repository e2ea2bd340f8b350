"""What may be varied: parameters with bounds and units, and their place in the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.record import Name, Record, Unit, given

Value = float | int | str


class Real(Record):
    """A real number between `low` and `high`."""

    type: Literal["real"] = "real"
    name: Name
    low: float
    high: float
    unit: Unit = ""

    def __init__(self, name: Any = ..., low: Any = ..., high: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, low=low, high=high), **more)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"{self.name!r} needs low < high, not {self.low} and {self.high}")
        return self

    @property
    def width(self) -> int:
        """Number of coordinates in the unit cube."""
        return 1

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value; InvalidInput where it is none of this parameter's."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            raise InvalidInput(f"{self.name} is {value!r}; it must be between {self.low} and {self.high}.")
        return [(value - self.low) / (self.high - self.low)]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the value at coordinates in [0, 1]."""
        return min(self.high, max(self.low, self.low + float(at[0]) * (self.high - self.low)))


class Integer(Record):
    """A whole number from `low` to `high`, both included."""

    type: Literal["integer"] = "integer"
    name: Name
    low: int
    high: int
    unit: Unit = ""

    def __init__(self, name: Any = ..., low: Any = ..., high: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, low=low, high=high), **more)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"{self.name!r} needs low < high, not {self.low} and {self.high}")
        return self

    @property
    def width(self) -> int:
        """Number of coordinates in the unit cube."""
        return 1

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value: the middle of its share of [0, 1]."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise InvalidInput(
                f"{self.name} is {value!r}; it must be a whole number from {self.low} to {self.high}."
            )
        return [(value - self.low + 0.5) / (self.high - self.low + 1)]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the value at coordinates in [0, 1]."""
        return min(self.high, self.low + math.floor(float(at[0]) * (self.high - self.low + 1)))


class Categorical(Record):
    """One of a few names, without order."""

    type: Literal["categorical"] = "categorical"
    name: Name
    choices: tuple[str, ...] = Field(min_length=2, max_length=50)
    unit: Literal[""] = ""

    def __init__(self, name: Any = ..., choices: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, choices=choices), **more)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(f"{self.name!r} names a choice twice: {self.choices}")
        return self

    @property
    def width(self) -> int:
        """Number of coordinates in the unit cube."""
        return len(self.choices)

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value: 1 at its choice, 0 elsewhere."""
        if value not in self.choices:
            raise InvalidInput(f"{self.name} is {value!r}; it must be one of {', '.join(self.choices)}.")
        return [float(choice == value) for choice in self.choices]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the choice with the largest coordinate."""
        return self.choices[int(np.argmax(at))]


Parameter = Annotated[Real | Integer | Categorical, Field(discriminator="type")]


def width(space: Sequence[Real | Integer | Categorical]) -> int:
    """Return the number of coordinates of the whole space."""
    return sum(parameter.width for parameter in space)


def encode(space: Sequence[Real | Integer | Categorical], values: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the point of the unit cube, shape (width,), that stands for `values`.

    Raises
    ------
    InvalidInput
        If a parameter is missing, unknown or out of its bounds.
    """
    known = {parameter.name for parameter in space}
    if set(values) != known:
        odd = sorted(set(values) ^ known)
        raise InvalidInput(f"These parameters are missing or unknown: {', '.join(map(repr, odd))}.")
    return np.array([x for parameter in space for x in parameter.encode(values[parameter.name])])


def decode(space: Sequence[Real | Integer | Categorical], point: NDArray[np.float64]) -> dict[str, Value]:
    """Return the values at a point of the unit cube, shape (width,)."""
    values: dict[str, Value] = {}
    start = 0
    for parameter in space:
        values[parameter.name] = parameter.decode(point[start : start + parameter.width].tolist())
        start += parameter.width
    return values


def snap(space: Sequence[Real | Integer | Categorical], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points, shape (n, width), to the nearest that stand for values: integers and choices are coarse."""
    return np.array([encode(space, decode(space, point)) for point in points]).reshape(points.shape)
