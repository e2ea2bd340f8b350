"""Two arms, or one arm and a reference, are the same within a margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.experiments.record import Name, Record, Unit
from genesis_workbench.experiments.rules._base import (
    By,
    Confidence,
    Moments,
    Observed,
    Verdict,
    one_sided,
    too_few,
    welch,
)
from genesis_workbench.experiments.trial import MAIN


class Equivalence(Record):
    """The means differ by less than `margin`: two one-sided t-tests (Schuirmann, 1987).

    Supported where both one-sided tests reject, not supported where the difference is shown to be larger than the margin.

    Attributes
    ----------
    margin : float
        In `unit`; what difference would matter.
    control : str, optional
        The other arm; without it, `reference` is a known value.
    """

    anytime: ClassVar[bool] = False
    type: Literal["equivalence"] = "equivalence"
    metric: Name
    unit: Unit = ""
    margin: float = Field(gt=0)
    confidence: Confidence = 0.95
    treatment: Name = MAIN
    control: Name | None = None
    reference: float | None = None
    by: By = "point"

    @model_validator(mode="after")
    def _one_other(self) -> Self:
        if (self.control is None) == (self.reference is None):
            raise ValueError("an equivalence is with either a control or a reference")
        return self

    @property
    def by_point(self) -> bool:
        """Whether repeats are one observation."""
        return self.by == "point"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose trials it looks at."""
        return (self.treatment,) if self.control is None else (self.treatment, self.control)

    def verdict(self, observed: Sequence[Observed]) -> Verdict:
        """Decide. See :class:`~genesis_workbench.experiments.rules._base.DecisionRule`."""
        ours = Moments.of(observed, self.treatment)
        if self.control is None:
            assert self.reference is not None  # noqa: S101 - checked by _one_other
            difference, variance, freedom = ours.mean - self.reference, ours.variance, float(ours.n - 1)
        else:
            difference, variance, freedom = welch(ours, Moments.of(observed, self.control))
        above_low, evidence = one_sided(difference, variance, freedom, -self.margin, self.confidence)
        above_high, other = one_sided(difference, variance, freedom, self.margin, self.confidence)
        if too_few(evidence):
            return Verdict(
                "undecided", "The observations are too few, or all the same, to compare.", evidence
            )
        p = max(evidence.pop("p_above"), other["p_below"])
        del evidence["p_below"]
        evidence |= {"p": p, "n": ours.n}
        says = (
            f"The difference is {difference:.6g} {self.unit}, between {evidence['lower']:.6g} and "
            f"{evidence['upper']:.6g} with confidence {self.confidence:.4g} on each side; the margin is {self.margin:g}."
        )
        if above_low == "supported" and above_high == "not supported":
            return Verdict("supported", says, evidence)
        outside = above_low == "not supported" or above_high == "supported"
        return Verdict("not supported" if outside else "undecided", says, evidence)

    def __str__(self) -> str:
        other = f"of {self.control}" if self.control else f"{self.reference:g} {self.unit}".rstrip()
        margin = f"{self.margin:g} {self.unit}".rstrip()
        return (
            f"mean {self.metric} of {self.treatment} within {margin} of {other} "
            f"(two one-sided tests, confidence {self.confidence:g})"
        ).replace("of of", "of that of")
