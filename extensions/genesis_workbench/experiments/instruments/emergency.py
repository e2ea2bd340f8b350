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

_MOST_CHARACTERS = 500
_MOST_LATER = 20
UNWRITTEN = "Until it is, this stop holds only until the gateway ends. The gateway tries again."
log = logging.getLogger(__name__)


def tidied(words: Any, otherwise: str = "no reason given") -> str:
    """Return what somebody said with a stop so that it can be kept and sent. A stop is never refused for its wording."""
    text = "" if words is None else str(words).encode("utf-8", "replace").decode()
    return text.strip()[:_MOST_CHARACTERS].strip() or otherwise


class EmergencyStop:
    """Holds from :meth:`tell` to :meth:`end`, through a restart too. May be used from several threads.

    Each press has a number, and a reset ends those up to the one that it saw when it began. So a stop that comes while
    devices are being released holds on. `tell` and `confirm` never wait for the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal, self._writing, self._numbers = journal, threading.Lock(), itertools.count(1)
        self._changing = threading.Lock()  # never held while something is written
        self._pressed: dict[int, dict[str, str]] = {}  # those that hold, the first of them first
        self._devices: dict[str, str] = {}
        self._told = 0
        self._on_its_way: set[int] = set()
        self._written = True
        found = journal.fact("stop")
        if found:
            first = {name: found[name] for name in ("who", "why", "since")}
            self._pressed = {next(self._numbers): each for each in (first, *found.get("later", ()))}
            self._devices, self._told = dict(found.get("devices", {})), max(self._pressed)

    def is_set(self) -> bool:
        """Whether it holds."""
        return bool(self._pressed)

    @property
    def number(self) -> int:
        """Number of the last press, which a reset has to name."""
        return self._told

    @property
    def fact(self) -> dict[str, Any]:
        """Who stopped it, why, since when, what each device said, and who pressed later; empty where nothing is stopped."""
        with self._changing:
            if not self._pressed:
                return {}
            first, *later = self._pressed.values()
            return {**first, "devices": dict(self._devices), "later": later[-_MOST_LATER:]}

    def tell(self, who: str, why: str) -> int:
        """Hold from now on; return the press's number. Call :meth:`arrived` once devices have been told."""
        with self._changing:
            number = next(self._numbers)
            if not self._pressed:
                self._devices = {}
            self._on_its_way.add(number)
            self._pressed[number] = {"who": who, "why": why, "since": now()}
            self._told = number
        return number

    def arrived(self, number: int) -> None:
        """Say that devices have been told of a stop."""
        self._on_its_way.discard(number)

    def on_its_way(self) -> bool:
        """Whether devices are being told of a stop: one that is released now may be stopped again a moment later."""
        return bool(self._on_its_way)

    def confirm(self, number: int, devices: Mapping[str, str]) -> None:
        """Add what devices answered to a stop; nothing where that is over."""
        with self._changing:
            if number in self._pressed:
                self._devices |= devices

    def write(self, what: str, who: str = "") -> str:
        """Bring it into the journal; return what is wrong where that is not possible.

        Parameters
        ----------
        who : str
            Who did `what`, for the log; whoever stopped it first where left out.
        """
        with self._writing:
            fact = self.fact
            if not fact:
                return ""
            try:
                self._journal.keep("stop", fact, who or fact["who"], what)
            except sqlite3.Error as error:
                log.exception("the emergency stop could not be written down")
                self._written = False
                return f"{self._journal.unwritten(error)} {UNWRITTEN}"
            self._written = True
            return ""

    def write_what_is_missing(self) -> None:
        """Try again where the journal could not be written."""
        if not self._written:
            self.write("the emergency stop is written down")

    def end(self, number: int, who: str, what: str) -> bool:
        """End what was pressed up to that number; False where somebody has pressed since, which holds on."""
        with self._writing:
            if self._told == number:
                self._journal.keep("stop", {}, who, what)
            with self._changing:
                self._pressed = {each: said for each, said in self._pressed.items() if each > number}
                self._written = not self._pressed  # the journal has the ended ones too, or none
                return not self._pressed
