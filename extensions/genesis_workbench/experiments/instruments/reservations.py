"""Who has reserved which device of a laboratory, and until when."""

from __future__ import annotations

import threading
from typing import Any

from genesis_workbench.core.clock import seconds_since
from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.experiments.instruments.journal import Journal

_LONGEST_S = 7 * 86400.0


class Reservations:
    """Reservations of one laboratory, in its journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._keeping = journal, threading.Lock()

    def of(self, device: str) -> dict[str, Any]:
        """Return `who` has a device and `until` when; empty where nobody has."""
        kept = self._journal.fact(f"reserved {device}")
        return kept if kept and seconds_since(kept["until"]) < 0 else {}

    def keep(self, device: str, who: str, until: str, why: str = "") -> None:
        """Keep a device for one person until a time, or give it back.

        Parameters
        ----------
        until : str
            ISO 8601, UTC; empty to give it back.
        why : str
            With an empty time it ends another person's reservation too; everybody sees it in the log.
        """
        with self._keeping:  # of two who ask at once the second finds what the first was given
            self._keep(device, who, until, why)

    def _keep(self, device: str, who: str, until: str, why: str) -> None:
        holder = self.of(device)
        others = bool(holder) and holder["who"] != who
        if others and (until or not why):
            raise Conflict(
                f"{device} is reserved by {holder['who']} until {holder['until']}. Wait, ask them, or end it with a reason."
            )
        if until:
            _check_time(until)
            fact, what = {"who": who, "until": until}, f"reserved {device} until {until}"
        else:
            fact, what = {}, f"gave {device} back"
            if others:
                what = f"ended {holder['who']}'s reservation of {device}: {why}"
        self._journal.keep(f"reserved {device}", fact, who, what)


def _check_time(until: str) -> None:
    try:
        ends_s = -seconds_since(until)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{until!r:.60} is no time; write it like 2026-01-31T08:00:00Z.") from error
    if not 0 < ends_s <= _LONGEST_S:
        raise InvalidInput(f"A reservation ends within the next 7 days; {until} does not.")
