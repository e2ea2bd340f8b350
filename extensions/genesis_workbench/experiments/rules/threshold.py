"""One observation reaches a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.rules._base import Decision, Observed, Verdict
from genesis_workbench.experiments.trial import MAIN


class Threshold(Limit):
    """Supported once one observation reaches the bound; not supported where the budget is used up before that.

    It claims that such a point was seen, not that it would be seen again: for noisy outcomes take :class:`Mean`.
    """

    anytime: ClassVar[bool] = True
    type: Literal["threshold"] = "threshold"

    @property
    def by_point(self) -> bool:
        """Each trial counts."""
        return False

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose trials it looks at."""
        return (MAIN,)

    def decide(self, observed: Sequence[tuple[float, str]]) -> Decision:
        """Decide on all observations of the metric, each a value with its unit."""
        if not observed:
            return "undecided"
        return "supported" if any(self.reached(*each) for each in observed) else "not supported"

    def verdict(self, observed: Sequence[Observed]) -> Verdict:
        """Decide. See :class:`~genesis_workbench.experiments.rules._base.DecisionRule`."""
        reaching = [each.trial for each in observed if self.reached(each.value, self.unit)]
        decision = self.decide([(each.value, self.unit) for each in observed])
        says = f"{len(reaching)} of {len(observed)} observed trials reach the bound."
        return Verdict(decision, says, {"reaching": sorted(reaching)}, final=bool(reaching))
