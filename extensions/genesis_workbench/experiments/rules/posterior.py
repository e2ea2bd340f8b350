"""The mean keeps a bound with a stated probability, given a stated prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.record import Name, Record
from genesis_workbench.experiments.rules._base import By, Observed, Verdict
from genesis_workbench.experiments.trial import MAIN


class Prior(Record):
    """What is believed of a mean and its variance beforehand: the normal-inverse-gamma distribution.

    Attributes
    ----------
    mean : float
        Expected mean, in the rule's unit.
    observations : float
        How many observations that belief is worth.
    shape, scale : float
        Of the inverse gamma distribution of one observation's variance; `scale` in the unit's square.
    """

    mean: float
    observations: float = Field(gt=0)
    shape: float = Field(gt=0)
    scale: float = Field(gt=0)


class Posterior(Limit):
    """The probability that the mean keeps the bound is at least `probability`; not supported at most 1 - `probability`.

    The conjugate update of Gelman et al. (2013, Bayesian Data Analysis, section 3.3): the mean has a t distribution. The
    answer may be asked for at any time and means the same; how often it would be wrong in the long run depends on the
    prior and is not controlled. Take :class:`~genesis_workbench.experiments.rules.sequential.Sequential` for that.
    """

    anytime: ClassVar[bool] = True
    type: Literal["posterior"] = "posterior"
    prior: Prior
    probability: float = Field(0.95, gt=0.5, lt=1)
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
        from scipy.stats import t as student

        values = [each.value for each in observed if each.arm == self.arm]
        n = len(values)
        mean, freedom, scale = updated(self.prior, values)
        at = self.sign * (mean - self.bound) / scale
        probability = float(student.cdf(at, freedom))
        evidence = {
            "n": n,
            "posterior_mean": mean,
            "scale": scale,
            "degrees_of_freedom": freedom,
            "probability": probability,
        }
        says = f"After {n} observations the claim has the probability {probability:.4g}; {self.probability:g} was asked for."
        if n and probability >= self.probability:
            return Verdict("supported", says, evidence, final=True)
        if n and probability <= 1 - self.probability:
            return Verdict("not supported", says, evidence, final=True)
        return Verdict("undecided", says, evidence)

    def __str__(self) -> str:
        p = self.prior
        return (
            f"P(mean of {super().__str__()}) ≥ {self.probability:g}, prior mean {p.mean:g} worth {p.observations:g} "
            f"observations, variance inverse gamma({p.shape:g}, {p.scale:g})"
        )


def updated(prior: Prior, values: Sequence[float]) -> tuple[float, float, float]:
    """Return location, degrees of freedom and scale of the mean's t distribution after observing `values`."""
    n = len(values)
    average = math.fsum(values) / n if n else 0.0
    weight = prior.observations + n
    mean = (prior.observations * prior.mean + n * average) / weight
    shape = prior.shape + n / 2
    scale = prior.scale + math.fsum((value - average) ** 2 for value in values) / 2
    scale += prior.observations * n * (average - prior.mean) ** 2 / (2 * weight)
    return mean, 2 * shape, math.sqrt(scale / (shape * weight))
