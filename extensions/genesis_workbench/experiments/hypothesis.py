"""A statement, and the rule that will decide it, both fixed before the first observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.units import convert
from genesis_workbench.experiments.record import Name, Record, Unit

Decision = Literal["supported", "not supported", "undecided"]


class Threshold(Record):
    """Supported once one observation reaches the bound; not supported where the budget ends before that.

    Attributes
    ----------
    metric : str
        Outcome of the executor that is compared.
    at_least, at_most : float
        The bound, in `unit`; one of the two.
    """

    type: Literal["threshold"] = "threshold"
    metric: Name
    at_least: float | None = None
    at_most: float | None = None
    unit: Unit = ""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a threshold has either at_least or at_most")
        return self

    def reached(self, value: float, unit: str) -> bool:
        """Whether an observed value, given in `unit`, reaches the bound."""
        value = convert(value, unit, self.unit)
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None  # noqa: S101 - checked by _one_bound
        return value <= self.at_most

    def decide(self, observed: Sequence[tuple[float, str]]) -> Decision:
        """Decide on all observations of the metric, each a value with its unit."""
        if not observed:
            return "undecided"
        return "supported" if any(self.reached(*each) for each in observed) else "not supported"

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{self.metric} {bound} {self.unit}".rstrip()


class Hypothesis(Record):
    """What is claimed, and what would show it."""

    statement: str = Field(min_length=1, max_length=2000)
    rule: Threshold

    @property
    def digest(self) -> str:
        """SHA-256 under which it is committed."""
        return digest_json(self.model_dump(mode="json"))
