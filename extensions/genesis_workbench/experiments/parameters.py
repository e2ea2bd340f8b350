"""What may be varied: one class for each kind of parameter, and its place in the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, StrictStr, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.record import Name, Record, Unit, given

Value = float | int | str


def _numbers(choices: Any) -> Any:
    """Refuse names, of which each would be told twice: as no whole number and as no real one."""
    if isinstance(choices, Sequence) and any(isinstance(choice, str) for choice in choices):
        raise ValueError("ordered choices are numbers; for names take Categorical")
    return choices


class When(Record):
    """The condition under which a parameter is there at all.

    Attributes
    ----------
    parameter : str
        A parameter that comes earlier in the space.
    is_in : tuple of str, int or float
        The parameter with the condition is active where the other one has one of these values.
    """

    parameter: Name
    is_in: tuple[StrictInt | StrictFloat | StrictStr, ...] = Field(min_length=1, max_length=50)

    def __init__(self, parameter: Any = ..., is_in: Any = ..., **more: Any) -> None:
        super().__init__(**given(parameter=parameter, is_in=is_in), **more)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these values, of which inactive ones are left out."""
        return self.parameter in values and values[self.parameter] in self.is_in


class _Parameter(Record):
    name: Name
    when: When | None = None

    @property
    def width(self) -> int:
        """Number of coordinates in the unit cube."""
        return 1


class _Range(_Parameter):
    @model_validator(mode="after")
    def _bounds(self) -> Self:
        low, high = self.__dict__["low"], self.__dict__["high"]
        if not low < high:
            raise ValueError(f"{self.name!r} needs low < high, not {low} and {high}")
        if self.__dict__["log"] and low <= 0:
            raise ValueError(f"{self.name!r} has a log scale, so low must be above 0, not {low}")
        return self


class Real(_Range):
    """A real number between `low` and `high`; with `log`, equal factors are equal steps."""

    type: Literal["real"] = "real"
    low: float
    high: float
    unit: Unit = ""
    log: bool = False

    def __init__(self, name: Any = ..., low: Any = ..., high: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, low=low, high=high), **more)

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value; InvalidInput where it is none of this parameter's."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            raise InvalidInput(f"{self.name} is {value!r}; it must be between {self.low} and {self.high}.")
        if self.log:
            return [math.log(value / self.low) / math.log(self.high / self.low)]
        return [(value - self.low) / (self.high - self.low)]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the value at coordinates in [0, 1]."""
        share = float(at[0])
        if self.log:
            return min(self.high, max(self.low, self.low * math.exp(share * math.log(self.high / self.low))))
        return min(self.high, max(self.low, self.low + share * (self.high - self.low)))

    def levels(self, count: int) -> list[Value]:
        """Return `count` values that cover it evenly, both ends included."""
        return [self.decode([at]) for at in np.linspace(0, 1, count).tolist()]


class Integer(_Range):
    """A whole number from `low` to `high`, both included; with `log`, equal factors are equal steps."""

    type: Literal["integer"] = "integer"
    low: int
    high: int
    unit: Unit = ""
    log: bool = False

    def __init__(self, name: Any = ..., low: Any = ..., high: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, low=low, high=high), **more)

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value: the middle of its share of [0, 1]."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise InvalidInput(
                f"{self.name} is {value!r}; it must be a whole number from {self.low} to {self.high}."
            )
        if self.log:
            start, stop = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return [(math.log(value) - start) / (stop - start)]
        return [(value - self.low + 0.5) / (self.high - self.low + 1)]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the value at coordinates in [0, 1]."""
        share = float(at[0])
        if self.log:
            start, stop = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = math.floor(math.exp(start + share * (stop - start)) + 0.5)
        else:
            value = self.low + math.floor(share * (self.high - self.low + 1))
        return max(self.low, min(self.high, value))

    def levels(self, count: int) -> list[Value]:
        """Return at most `count` values that cover it evenly."""
        if count >= self.high - self.low + 1:
            return list(range(self.low, self.high + 1))
        return list(dict.fromkeys(self.decode([at]) for at in np.linspace(0, 1, count).tolist()))


class Ordinal(_Parameter):
    """One of a few numbers in order, such as the doses that were prepared; steps between them count as equal."""

    type: Literal["ordinal"] = "ordinal"
    choices: Annotated[tuple[StrictInt | StrictFloat, ...], BeforeValidator(_numbers)] = Field(
        min_length=2, max_length=1000
    )
    unit: Unit = ""

    def __init__(self, name: Any = ..., choices: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, choices=choices), **more)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(not a < b for a, b in zip(self.choices, self.choices[1:], strict=False)):
            raise ValueError(f"{self.name!r} needs its choices in ascending order, not {self.choices}")
        return self

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of a value: the middle of its share of [0, 1]."""
        if isinstance(value, bool) or value not in self.choices:
            raise InvalidInput(
                f"{self.name} is {value!r}; it must be one of {', '.join(map(str, self.choices))}."
            )
        return [(self.choices.index(value) + 0.5) / len(self.choices)]

    def decode(self, at: Sequence[float]) -> Value:
        """Return the value at coordinates in [0, 1]."""
        place = math.floor(float(at[0]) * len(self.choices))
        return self.choices[max(0, min(len(self.choices) - 1, place))]

    def levels(self, count: int) -> list[Value]:
        """Return all choices."""
        return list(self.choices)


class Categorical(_Parameter):
    """One of a few names, without order."""

    type: Literal["categorical"] = "categorical"
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

    def levels(self, count: int) -> list[Value]:
        """Return all choices."""
        return list(self.choices)


AnyParameter = Real | Integer | Ordinal | Categorical
Parameter = Annotated[AnyParameter, Field(discriminator="type")]
