"""The mean lies beyond a bound, whatever the distribution: a test for outcomes that cannot leave a known range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.record import Name
from genesis_workbench.experiments.rules._base import By, Confidence, Observed, Verdict
from genesis_workbench.experiments.trial import MAIN

_BETS = (np.arange(32) + 0.5) / 32  # of the largest bet that cannot lose more than there is
_ROUNDING = 1e-9  # of the range, by which a conversion of units may leave it


class Betting(Limit):
    """A test by betting of the mean against the bound, for outcomes between `lowest` and `highest`.

    Before each observation one bets on it, at odds that are fair if the mean is the bound: a stake grows by
    1 + bet · (observed - bound). If the mean is not beyond the bound, the wealth ever reaches 1 / (1 - confidence) times
    the stake with probability 1 - confidence at most, however often one looks (Ville, 1939). One such game is played on
    each side, its stake spread evenly over all sizes of bets (Waudby-Smith and Ramdas, 2024, Estimating means of bounded
    random variables by betting). The first that reaches it decides: supported on the claimed side, not supported on the
    other. Only the range is taken for granted, no distribution: an observation outside of it shows that nothing may be
    decided.

    Attributes
    ----------
    lowest, highest : float
        What an outcome cannot be below or above, in `unit`: 0 and 100 % of a yield. The closer, the sooner it decides.
    """

    anytime: ClassVar[bool] = True
    type: Literal["betting"] = "betting"
    lowest: float
    highest: float
    confidence: Confidence = 0.95
    arm: Name = MAIN
    by: By = "point"

    @model_validator(mode="after")
    def _bound_inside(self) -> Self:
        if not -math.inf < self.lowest < self.bound < self.highest < math.inf:
            raise ValueError(
                f"the bound {self.bound:g} must lie between lowest, {self.lowest:g}, and highest, {self.highest:g}: what an "
                "outcome cannot be below or above"
            )
        return self

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
        own = [each for each in observed if each.arm == self.arm]
        values = np.array([each.value for each in own])
        span = self.highest - self.lowest
        slack = _ROUNDING * span
        outside = np.flatnonzero(~((values >= self.lowest - slack) & (values <= self.highest + slack)))
        kept = values[: outside[0]] if len(outside) else values
        gains = (np.clip(kept, self.lowest, self.highest) - self.bound) / span
        over, under = log_wealth(gains, self.bound_within), log_wealth(-gains, 1 - self.bound_within)
        needed = -math.log1p(-self.confidence)
        reached = np.flatnonzero(np.maximum(over, under) >= needed)
        n = int(reached[0]) + 1 if len(reached) else len(kept)
        claimed, other = (over, under) if self.sign > 0 else (under, over)
        evidence: dict[str, Any] = {
            "n": n,
            "of": len(values),
            "estimate": float(kept[:n].mean()) if n else None,
            "log_wealth": float(claimed[n - 1]) if n else 0.0,
            "log_wealth_against": float(other[n - 1]) if n else 0.0,
        }
        if not len(reached) and len(outside):
            wrong = own[int(outside[0])]
            says = (
                f"Trial {wrong.trial} measured {self._given(wrong.value)}, outside of the range that was taken for certain, "
                f"{self._range}. Nothing can be decided so."
            )
            return Verdict("undecided", says, evidence)
        if not n:
            return Verdict("undecided", "There is no observation yet.", evidence)
        says = (
            f"After {n} observations the mean is {self._given(evidence['estimate'])}, and a stake on the claim is worth "
            f"e^{evidence['log_wealth']:.4g} times what it was, one against it e^{evidence['log_wealth_against']:.4g} times, "
            f"where e^{needed:.4g} decides."
        )
        if not len(reached):
            return Verdict("undecided", says, evidence)
        return Verdict(
            "supported" if claimed[n - 1] >= needed else "not supported", says, evidence, final=True
        )

    @property
    def bound_within(self) -> float:
        """Where the bound lies in the range: 0 at `lowest`, 1 at `highest`."""
        return (self.bound - self.lowest) / (self.highest - self.lowest)

    @property
    def _range(self) -> str:
        return f"{self.lowest:g} to {self.highest:g} {self.unit}".rstrip()

    def _given(self, value: float) -> str:
        return f"{value:.6g} {self.unit}".rstrip()

    def __str__(self) -> str:
        return f"mean of {super().__str__()} (betting, outcomes from {self._range}, confidence {self.confidence:g})"


def log_wealth(gains: np.ndarray[Any, Any], room: float) -> np.ndarray[Any, Any]:
    """Return the logarithm of what a stake of 1 is worth after each observation.

    Parameters
    ----------
    gains : ndarray of shape (n,)
        Observed less bound, in the direction that is bet on, as parts of the range.
    room : float
        How far below the bound an outcome may lie, as a part of the range: the largest bet is 1 / `room`.
    """
    each = np.cumsum(np.log1p(np.outer(gains, _BETS / room)), axis=0)
    highest = each.max(axis=1, initial=-np.inf, keepdims=True)
    worth: np.ndarray[Any, Any] = highest[:, 0] + np.log(np.exp(each - highest).mean(axis=1))
    return worth
