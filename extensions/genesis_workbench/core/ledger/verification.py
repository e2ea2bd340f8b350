"""Check the chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genesis_workbench.core.ledger.event import GENESIS, Event


@dataclass(frozen=True)
class Verification:
    """What a walk over the whole ledger found.

    Attributes
    ----------
    events : int
        How many events agree, from the first on.
    head : str
        Hash of the last of them. Kept elsewhere, it shows later whether events were cut off the end.
    broken_at : int or None
        Number of the first event that does not agree.
    reason : str
        Why it does not.
    """

    events: int
    head: str
    broken_at: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return self.broken_at is None


def verify(batches: Iterable[list[Event]]) -> Verification:
    """Walk over all events in order and stop at the first that does not agree."""
    seq, previous = 0, GENESIS
    for batch in batches:
        for event in batch:
            if event.seq != seq + 1:
                return Verification(seq, previous, seq + 1, f"event {seq + 1} is missing")
            if event.previous != previous:
                return Verification(
                    seq, previous, event.seq, "it does not name the hash of the event before it"
                )
            if event.expected_hash() != event.hash:
                return Verification(seq, previous, event.seq, "its content does not give its hash")
            seq, previous = event.seq, event.hash
    return Verification(seq, previous)
