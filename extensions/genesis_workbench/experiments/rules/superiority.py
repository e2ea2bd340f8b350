"""One arm is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

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


class Superiority(Record):
    """The treatment's mean is better than the control's by more than `margin`: Welch's one-sided t-test (Welch, 1947).

    Attributes
    ----------
    metric, unit : str
        Outcome that is compared, and the margin's unit.
    margin : float
        By how much; 0 is any.
    maximize : bool
        Whether more is better.
    treatment, control : str
        Arms: ``main`` is what the proposer proposed; others are named in the experiment's `arms`.
    """

    anytime: ClassVar[bool] = False
    type: Literal["superiority"] = "superiority"
    metric: Name
    unit: Unit = ""
    margin: float = Field(0.0, ge=0)
    maximize: bool = True
    confidence: Confidence = 0.95
    treatment: Name = MAIN
    control: Name = "control"
    by: By = "point"

    @property
    def by_point(self) -> bool:
        """Whether repeats are one observation."""
        return self.by == "point"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose trials it looks at."""
        return (self.treatment, self.control)

    def verdict(self, observed: Sequence[Observed]) -> Verdict:
        """Decide. See :class:`~genesis_workbench.experiments.rules._base.DecisionRule`."""
        sign = 1 if self.maximize else -1
        ours, theirs = (Moments.of(observed, arm) for arm in self.arms)
        difference, variance, freedom = welch(ours, theirs)
        decision, evidence = one_sided(sign * difference, variance, freedom, self.margin, self.confidence)
        evidence |= {"n": ours.n, "n_control": theirs.n, "mean": ours.mean, "mean_control": theirs.mean}
        if too_few(evidence):
            return Verdict(
                "undecided",
                f"{ours.n} and {theirs.n} observations are too few, or all the same, to compare.",
                evidence,
            )
        says = (
            f"{self.treatment} is better than {self.control} by {evidence['estimate']:.6g} {self.unit}, at least "
            f"{evidence['lower']:.6g} with confidence {self.confidence:.4g} ({ours.n} and {theirs.n} observations)."
        )
        return Verdict(decision, says, evidence)

    def __str__(self) -> str:
        by = f" by more than {self.margin:g} {self.unit}".rstrip() if self.margin else ""
        more = "higher" if self.maximize else "lower"
        return f"mean {self.metric} of {self.treatment} {more} than of {self.control}{by} (confidence {self.confidence:g})"
