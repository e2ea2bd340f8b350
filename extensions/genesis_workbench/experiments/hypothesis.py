"""A statement, and the rule that will decide it, both fixed before the first observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.record import Record

Decision = Literal["supported", "not supported", "undecided"]


class Threshold(Limit):
    """Supported once one observation reaches the bound; not supported where the budget ends before that."""

    type: Literal["threshold"] = "threshold"

    def decide(self, observed: Sequence[tuple[float, str]]) -> Decision:
        """Decide on all observations of the metric, each a value with its unit."""
        if not observed:
            return "undecided"
        return "supported" if any(self.reached(*each) for each in observed) else "not supported"


class Hypothesis(Record):
    """What is claimed, and what would show it."""

    statement: str = Field(min_length=1, max_length=2000)
    rule: Threshold

    @property
    def digest(self) -> str:
        """SHA-256 under which it is committed."""
        return digest_json(self.model_dump(mode="json"))
