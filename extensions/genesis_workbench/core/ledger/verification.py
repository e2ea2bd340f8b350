"""Check the chain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.core.ledger.event import GENESIS, hash_of


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


def verify(batches: Iterable[Sequence[Sequence[Any]]]) -> Verification:
    """Walk over all events in order, each as the table's row, and stop at the first that does not agree."""
    last, head = 0, GENESIS
    for batch in batches:
        for seq, name, time, stream, version, kind, actor, body, previous, kept in batch:
            if seq != last + 1:
                return Verification(last, head, last + 1, f"event {last + 1} is missing")
            if previous != head:
                return Verification(last, head, seq, "it does not name the hash of the event before it")
            if hash_of(seq, name, time, stream, version, kind, actor, body, previous) != kept:
                # The text need not be canonical: keys that were numbers had another order.
                text = canonical_json(json.loads(body)).decode()
                if hash_of(seq, name, time, stream, version, kind, actor, text, previous) != kept:
                    return Verification(last, head, seq, "its content does not give its hash")
            last, head = seq, kept
    return Verification(last, head)
