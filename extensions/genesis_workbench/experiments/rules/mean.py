"""The mean lies beyond a bound, with confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.record import Name
from genesis_workbench.experiments.rules._base import (
    By,
    Confidence,
    Decision,
    Moments,
    Observed,
    Verdict,
    one_sided,
    too_few,
)
from genesis_workbench.experiments.trial import MAIN

_RESAMPLES = 4999


class Mean(Limit):
    """The mean over an arm's observations keeps the bound; not supported where it is shown not to.

    Attributes
    ----------
    confidence : float
        0.95 lets each of the two answers be wrong in at most one of twenty experiments.
    method : str
        ``t``: Student's one-sided t-test. ``bootstrap``: the bootstrap-t interval of Efron and Tibshirani (1993, section
        12.5) with 4999 resamples and a fixed seed, for outcomes that are far from normal; at least eight observations.
    arm : str
        Whose trials.
    by : str
        ``point`` (its repeats are one observation) or ``trial``.
    """

    anytime: ClassVar[bool] = False
    type: Literal["mean"] = "mean"
    confidence: Confidence = 0.95
    method: Literal["t", "bootstrap"] = "t"
    arm: Name = MAIN
    by: By = "point"

    @property
    def by_point(self) -> bool:
        """Whether repeats are one observation."""
        return self.by == "point"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose trials it looks at."""
        return (self.arm,)

    def verdict(self, observed: Sequence[Observed]) -> Verdict:
        """Decide. See :class:`~genesis_workbench.experiments.rules._base.DecisionRule`."""
        values = np.array([self.sign * each.value for each in observed if each.arm == self.arm])
        if self.method == "bootstrap":
            decision, evidence = _bootstrap(values, self.sign * self.bound, self.confidence)
        else:
            m = Moments.of((Observed(value) for value in values.tolist()), MAIN)
            decision, evidence = one_sided(
                m.mean, m.variance, m.n - 1, self.sign * self.bound, self.confidence
            )
        evidence = _turned(evidence, self.sign) | {"n": len(values)}
        if too_few(evidence) and "lower" not in evidence:
            return Verdict(
                "undecided", f"{len(values)} observations are too few, or all the same, to say.", evidence
            )
        says = (
            f"The mean of {len(values)} observations is {evidence['estimate']:.6g} {self.unit}, between "
            f"{evidence['lower']:.6g} and {evidence['upper']:.6g} with {self.confidence:.4g} confidence on each side."
        )
        return Verdict(decision, says, evidence)

    def __str__(self) -> str:
        return f"mean of {super().__str__()} ({self.method}, confidence {self.confidence:g})"


def _bootstrap(
    values: np.ndarray[Any, Any], bound: float, confidence: float
) -> tuple[Decision, dict[str, Any]]:
    n = len(values)
    if n < 8 or np.ptp(values) == 0:
        return "undecided", {"estimate": float(values.mean()) if n else 0.0}
    drawn = values[np.random.default_rng(20250101).integers(0, n, (_RESAMPLES, n))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))
    # A resample of one value over and over has no error; it lies as far out as its mean says.
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num((drawn.mean(axis=1) - mean) / errors, nan=0.0, posinf=1e9, neginf=-1e9)
    lower = mean - float(np.quantile(spread, confidence)) * error
    upper = mean - float(np.quantile(spread, 1 - confidence)) * error
    evidence = {"estimate": mean, "standard_error": error, "lower": lower, "upper": upper}
    return ("supported" if lower >= bound else "not supported" if upper <= bound else "undecided"), evidence


def _turned(evidence: dict[str, Any], sign: int) -> dict[str, Any]:
    """Return evidence on values whose sign was changed, in the values' own sense."""
    if sign > 0:
        return evidence
    swap = {"lower": "upper", "upper": "lower", "p_above": "p_below", "p_below": "p_above"}
    turned = {swap.get(name, name): value for name, value in evidence.items()}
    for name in ("estimate", "lower", "upper"):
        if name in turned:
            turned[name] = -turned[name]
    return turned
