"""The mean lies beyond a bound: a test that may be looked at after every observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.record import Name
from genesis_workbench.experiments.rules._base import By, Confidence, Observed, Verdict
from genesis_workbench.experiments.trial import MAIN


class Sequential(Limit):
    """A mixture sequential probability ratio test of the mean against the bound, its variance unknown.

    The likelihood ratio of Student's t is averaged over effect sizes with the distribution N(0, `effect`²) (Robbins, 1970;
    with the variance unknown Lai, 1976; Wang and Ramdas, 2025, Anytime-valid t-tests and confidence sequences for
    Gaussian means with unknown variance). If the mean is the bound, the ratio ever reaches 1 / (1 - confidence) with
    probability 1 - confidence at most, however often one looks (Ville, 1939). The first time that it does decides: supported
    where the mean is on the claimed side, not supported on the other. Observations are taken as normal.

    Attributes
    ----------
    effect : float
        Effect, in standard deviations of one observation, for which the test is quickest.
    """

    anytime: ClassVar[bool] = True
    type: Literal["sequential"] = "sequential"
    confidence: Confidence = 0.95
    effect: float = Field(1.0, gt=0, le=100)
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
        values = [self.sign * (each.value - self.bound) for each in observed if each.arm == self.arm]
        needed = -math.log1p(-self.confidence)
        n, mean, squares, log_ratio = 0, 0.0, 0.0, 0.0
        for value in values:
            n += 1
            step = value - mean
            mean += step / n
            squares += step * (value - mean)  # Welford (1962)
            log_ratio = log_mixture_ratio(n, mean, squares, self.effect)
            if log_ratio >= needed:
                break
        evidence = {
            "n": n,
            "of": len(values),
            "estimate": self.bound + self.sign * mean,
            "log_ratio": log_ratio,
        }
        says = (
            f"After {n} observations the mean is {evidence['estimate']:.6g} {self.unit} and the likelihood ratio "
            f"e^{log_ratio:.4g}, where e^{needed:.4g} decides."
        )
        if log_ratio < needed or mean == 0:
            return Verdict("undecided", says, evidence)
        return Verdict("supported" if mean > 0 else "not supported", says, evidence, final=True)

    def __str__(self) -> str:
        return f"mean of {super().__str__()} (sequential, confidence {self.confidence:g})"


def log_mixture_ratio(n: int, mean: float, squares: float, effect: float) -> float:
    """Return the logarithm of the likelihood ratio of t, averaged over effects N(0, `effect`²), to that without effect.

    Parameters
    ----------
    n : int
        Observations.
    mean, squares : float
        Their mean, and the sum of squared distances from it.
    """
    if n < 2 or squares <= 0:
        return 0.0
    grown = 1 + n * effect**2
    t_squared = n * mean**2 / (squares / (n - 1))
    without, within = math.log1p(t_squared / (n - 1)), math.log1p(t_squared / (n - 1) / grown)
    return n / 2 * (without - within) - math.log(grown) / 2
