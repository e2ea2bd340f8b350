"""The emergency stop as a gateway holds it: in memory at once, in the journal as soon as that can be written."""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
from collections.abc import Mapping
from typing import Any

from genesis_workbench.core.clock import now
from genesis_workbench.experiments.instruments.journal import Journal

log = logging.getLogger(__name__)


class EmergencyStop:
    """Holds from :meth:`tell` to :meth:`end`, through a restart too. May be used from several threads.

    Each stop has a number, and a reset ends the one that it saw when it began. So a stop that comes while devices are
    being released holds on, and `tell` waits for no lock.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal, self._writing, self._numbers = journal, threading.Lock(), itertools.count(1)
        self._facts: dict[int, dict[str, Any]] = {0: {}}
        self._told = self._ended = 0
        self._on_its_way: set[int] = set()
        self._written = True
        found = journal.fact("stop")
        if found:
            self._facts[1] = found
            self._told = next(self._numbers)

    def is_set(self) -> bool:
        """Whether it holds."""
        return self._told != self._ended

    @property
    def number(self) -> int:
        """Number of the last stop, which a reset has to name."""
        return self._told

    @property
    def fact(self) -> dict[str, Any]:
        """Who stopped it, why, since when, and what each device said; empty where nothing is stopped."""
        told = self._told
        return {} if told == self._ended else dict(self._facts[told])

    def tell(self, who: str, why: str) -> int:
        """Hold from now on; return the stop's number. Call :meth:`arrived` once devices have been told."""
        number = next(self._numbers)
        self._on_its_way.add(number)
        self._facts[number] = {"who": who, "why": why, "since": now(), "devices": {}}
        self._told = number
        return number

    def arrived(self, number: int) -> None:
        """Say that devices have been told of a stop."""
        self._on_its_way.discard(number)

    def on_its_way(self) -> bool:
        """Whether devices are being told of a stop: one that is released now may be stopped again a moment later."""
        return bool(self._on_its_way)

    def confirm(self, number: int, devices: Mapping[str, str]) -> None:
        """Add what devices answered to a stop."""
        with self._writing:
            kept = self._facts[number]
            self._facts[number] = {**kept, "devices": {**kept.get("devices", {}), **devices}}

    def write(self, what: str) -> str:
        """Bring it into the journal; return what is wrong where that is not possible."""
        with self._writing:
            fact = self.fact
            if not fact:
                return ""
            try:
                self._journal.keep("stop", fact, fact["who"], what)
            except sqlite3.Error as error:
                log.exception("the emergency stop could not be written down")
                self._written = False
                return (
                    f"The journal cannot be written ({error}), so this stop holds only until the gateway ends. Make room "
                    "on its disk; the gateway tries again."
                )
            self._written = True
            return ""

    def write_what_is_missing(self) -> None:
        """Try again where the journal could not be written."""
        if not self._written:
            self.write("the emergency stop is written down")

    def end(self, number: int, who: str, what: str) -> bool:
        """End it; False where another stop came after that number."""
        with self._writing:
            if self._told != number:
                return False
            self._journal.keep("stop", {}, who, what)
            self._ended = number
            return True
