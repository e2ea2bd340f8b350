"""A statement, the rule that will decide it and when the experiment stops, fixed before the first observation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.experiments.record import Record
from genesis_workbench.experiments.rules import Decision, Rule, Threshold, source_digest

__all__ = ["Decision", "Hypothesis", "Threshold"]


class Hypothesis(Record):
    """What is claimed, and what would show it.

    Attributes
    ----------
    statement : str
        The claim, in words.
    rule : Rule
        The test that decides it.
    stopping : str
        ``budget``: the experiment runs until its budget is spent. ``decided``: it ends as soon as the rule has decided,
        which only rules allow whose error rate does not grow with each look.
    analysis : str
        SHA-256 of the rule's source; written when the hypothesis is committed.
    within_limits : bool
        Whether a point only shows that there is such a point while it keeps the limits on outcomes. It is written when the
        hypothesis is committed; what was committed before it was asked for is still decided without.
    """

    statement: str = Field(min_length=1, max_length=2000)
    rule: Rule
    stopping: Literal["budget", "decided"] = "budget"
    analysis: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")
    within_limits: bool = False

    @model_validator(mode="after")
    def _may_stop(self) -> Self:
        if self.stopping == "decided" and not self.rule.anytime:
            raise ValueError(
                f"the rule {self.rule.type!r} is meant for one look at the end: stopping as soon as it says yes would make "
                "it wrong far more often than its confidence. Use stopping='budget', or one of the rules sequential and betting"
            )
        return self

    def committed(self) -> Hypothesis:
        """Return it as it is committed: with the digest of the source that will decide it, and within the limits."""
        return self.model_copy(update={"analysis": source_digest(self.rule), "within_limits": True})

    @property
    def digest(self) -> str:
        """SHA-256 under which it is committed."""
        return digest_json(self.model_dump(mode="json"))
