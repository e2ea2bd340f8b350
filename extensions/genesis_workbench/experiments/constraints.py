"""What parameters must satisfy together: a linear bound, a condition in the small language, or a mixture."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.expression import Expression, Undefined
from genesis_workbench.experiments.parameters import AnyParameter, Categorical, Real
from genesis_workbench.experiments.record import Name, Record, about, given

_SUM_TOLERANCE = 1e-9
_Choices = Mapping[str, tuple[str, ...]]


class Linear(Record):
    """A weighted sum of parameters, each in its own unit, with a bound.

    It does not apply where one of its parameters is inactive.
    """

    type: Literal["linear"] = "linear"
    weights: dict[Name, float] = Field(min_length=1, max_length=100)
    at_least: float | None = None
    at_most: float | None = None

    def __init__(self, weights: Any = ..., **more: Any) -> None:
        super().__init__(**given(weights=weights), **more)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a linear constraint has at_least, at_most or both")
        return self

    def check(self, space: Sequence[AnyParameter]) -> None:
        """Refuse names that are no numbers of the space, and what no point drawn from it can hold."""
        _numbers(self.weights, space, str(self))
        if self.at_least is None or self.at_most is None:
            return
        if self.at_least > self.at_most:
            raise InvalidInput(f"The constraint {self} can never hold: give at_least below at_most.")
        if self.at_least == self.at_most and any(
            isinstance(each, Real) and each.name in self.weights for each in space
        ):
            raise InvalidInput(
                f"The constraint {self} leaves points that nobody hits by chance. {self._instead()}"
            )

    def _instead(self) -> str:
        """Return how to say that a weighted sum has one value."""
        first, *others = self.weights.values()
        total = 0.0 if self.at_least is None or not first else self.at_least / first
        if total > 0 and all(weight == first for weight in others):
            return f"Use Mixture({list(self.weights)}, total={total:g}) instead."
        last = list(self.weights)[-1]
        return f"Leave {last!r} out of the space, and let the executor compute it from the others."

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether these values satisfy it, within rounding."""
        if not set(self.weights) <= set(values):
            return True
        terms = [weight * values[name] for name, weight in self.weights.items()]
        total = math.fsum(terms)
        return (self.at_least is None or total >= self.at_least or _sum_to(terms, self.at_least)) and (
            self.at_most is None or total <= self.at_most or _sum_to(terms, self.at_most)
        )

    def __str__(self) -> str:
        total = " + ".join(name if w == 1 else f"{w:g} {name}" for name, w in self.weights.items())
        low = "" if self.at_least is None else f"{self.at_least:g} ≤ "
        return f"{low}{total}" + ("" if self.at_most is None else f" ≤ {self.at_most:g}")


class Condition(Record):
    """A condition in the language of :mod:`~genesis_workbench.core.expression`.

    It does not apply where one of its parameters is inactive, and does not hold where it has no value.
    """

    type: Literal["condition"] = "condition"
    expression: str = Field(min_length=1, max_length=500)

    def __init__(self, expression: Any = ..., **more: Any) -> None:
        super().__init__(**given(expression=expression), **more)

    @field_validator("expression")
    @classmethod
    def _readable(cls, text: str) -> str:
        Expression(text)
        return text

    def check(self, space: Sequence[AnyParameter]) -> None:
        """Refuse names that are no parameters."""
        Expression(self.expression).check_names([parameter.name for parameter in space])

    def check_kinds(self, space: Sequence[AnyParameter]) -> None:
        """Refuse comparisons of what is never equal, and names of choices where a number is needed.

        Asked before a launch only: what was launched before this was looked at can still be read.
        """
        choices = {each.name: each.choices for each in space if isinstance(each, Categorical)}
        for node in ast.walk(Expression(self.expression).tree):
            match node:
                case ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
                    self._comparable(node.left, node.comparators[0], choices)
                case ast.Compare():
                    self._calculable((node.left, *node.comparators), choices)
                case ast.BinOp():
                    self._calculable((node.left, node.right), choices)
                case ast.UnaryOp():
                    self._calculable((node.operand,), choices)
                case ast.Call():
                    self._calculable(node.args, choices)

    def _comparable(self, one: ast.expr, other: ast.expr, choices: _Choices) -> None:
        """Refuse to compare what is never equal, such as a choice that is misspelt: that would shrink the space silently."""
        if isinstance(one, ast.Constant):
            one, other = other, one
        known, given = _texts(one, choices), _texts(other, choices)
        if known == given == () or set(known) & set(given):
            return
        near = [repr(each) for text in given for each in get_close_matches(text, known, n=1)]
        raise InvalidInput(
            f"{self.expression!r} compares {ast.unparse(one)} with {ast.unparse(other)}, which it never is."
            + (f" Did you mean {near[0]}?" if near else "")
            + f" {ast.unparse(one)} is {'one of ' + ', '.join(known) if known else 'a number; compare it with one'}."
        )

    def _calculable(self, parts: Iterable[ast.expr], choices: _Choices) -> None:
        for part in parts:
            if known := _texts(part, choices):
                raise InvalidInput(
                    f"{self.expression!r} takes {ast.unparse(part)} for a number; it is one of {', '.join(known)}. "
                    "Compare it with one of them by == or !=."
                )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether these values satisfy it."""
        expression = Expression(self.expression)
        if not expression.names <= set(values):
            return True
        try:
            return bool(expression(values))
        except Undefined:
            return False

    def __str__(self) -> str:
        return self.expression


class Mixture(Record):
    """Real parameters that sum to `total`, such as the shares of an alloy."""

    type: Literal["mixture"] = "mixture"
    parts: tuple[Name, ...] = Field(min_length=2, max_length=50)
    total: float = Field(1.0, gt=0)

    def __init__(self, parts: Any = ..., **more: Any) -> None:
        super().__init__(**given(parts=parts), **more)

    def check(self, space: Sequence[AnyParameter]) -> None:
        """Refuse parts that are no plain real numbers of one unit, and sums that nothing reaches."""
        _numbers(self.parts, space, str(self))
        parts = self.of(space)
        if len(set(self.parts)) < len(self.parts) or len({part.unit for part in parts}) > 1:
            raise InvalidInput(f"The parts of the mixture {self} must differ in name and share one unit.")
        if len(parts) < len(self.parts) or any(part.log or part.when for part in parts):
            raise InvalidInput(
                f"The parts of the mixture {self} must be real, without log scale and without condition."
            )
        low, high = math.fsum(part.low for part in parts), math.fsum(part.high for part in parts)
        if not low < self.total <= high:
            raise InvalidInput(
                f"The mixture {self} can never hold: its parts sum to at least {low:g} and at most {high:g}."
            )

    def of(self, space: Sequence[AnyParameter]) -> list[Real]:
        """Return its parts, in its order."""
        named = {parameter.name: parameter for parameter in space}
        found = (named.get(name) for name in self.parts)
        return [parameter for parameter in found if isinstance(parameter, Real)]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether these values sum to the total, within rounding."""
        return _sum_to([values[name] for name in self.parts if name in values], self.total)

    def __str__(self) -> str:
        return f"{' + '.join(self.parts)} = {self.total:g}"


AnyConstraint = Linear | Condition | Mixture
Constraint = Annotated[AnyConstraint, Field(discriminator="type")]


def check(space: Sequence[AnyParameter], constraints: Sequence[AnyConstraint]) -> None:
    """Refuse names given twice, conditions on what comes later, and constraints that no space could satisfy.

    Raises
    ------
    InvalidInput
        Naming the first that makes no sense.
    """
    names = [parameter.name for parameter in space]
    for place, parameter in enumerate(space):
        if parameter.name in names[:place]:
            raise InvalidInput(
                f"A parameter is named twice: {parameter.name!r}. Give one of the two another name.",
                where=f"space.{place}.name",
            )
        if parameter.when is not None:
            with about(f"space.{place}.when"):
                _condition(parameter, space[:place])
    mixed = [
        name for constraint in constraints if isinstance(constraint, Mixture) for name in constraint.parts
    ]
    for row, constraint in enumerate(constraints):
        with about(f"constraints.{row}"):
            constraint.check(space)
    if len(set(mixed)) < len(mixed):
        raise InvalidInput(f"A parameter is in two mixtures: {mixed}.", where="constraints")


def _condition(parameter: AnyParameter, earlier: Sequence[AnyParameter]) -> None:
    assert parameter.when is not None  # noqa: S101 - asked only then
    other = {each.name: each for each in earlier}.get(parameter.when.parameter)
    if other is None:
        raise InvalidInput(
            f"{parameter.name!r} depends on {parameter.when.parameter!r}, which does not come before it in the space.",
            where="parameter",
        )
    if isinstance(other, Real):
        raise InvalidInput(
            f"{parameter.name!r} depends on the real number {other.name!r}, which has no single values. Use a choice or "
            "a whole number.",
            where="parameter",
        )
    with about("is_in"):
        for value in parameter.when.is_in:
            other.encode(value)


def _sum_to(terms: Sequence[float], total: float) -> bool:
    """Whether terms sum to a total within rounding, which is relative to the terms: they may cancel each other."""
    size = math.fsum(map(abs, terms))
    return math.isclose(math.fsum(terms), total, rel_tol=_SUM_TOLERANCE, abs_tol=_SUM_TOLERANCE * size)


def _texts(node: ast.expr, choices: _Choices) -> tuple[str, ...]:
    """Return the texts that a part of an expression may be; none where it is a number."""
    match node:
        case ast.Constant(value=str() as text):
            return (text,)
        case ast.Name(id=name):
            return choices.get(name, ())
    return ()


def _numbers(names: Any, space: Sequence[AnyParameter], text: str) -> None:
    known = {parameter.name: parameter for parameter in space}
    for name in names:
        if name not in known or isinstance(known[name], Categorical):
            raise InvalidInput(f"{text!r} names {name!r}, which is no number of the space.")
