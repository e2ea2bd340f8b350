"""What is free now, for the page on which a person chooses a server.

Asking a queue or an engine takes a while, and everybody asks in the same minute: one question at a time, its answer kept for
some seconds, and nobody waits longer than the deadline.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.site import ProfileSection

log = logging.getLogger(__name__)
_KEEP_S, _DEADLINE_S = 5.0, 2.0


@dataclass(frozen=True)
class Machine:
    """What one machine has for one more server: what is free, or all of it were it empty."""

    cpu_cores: float
    memory_bytes: int
    accelerators: int = 0

    def holds(self, profile: ProfileSection) -> bool:
        """Tell whether a server of the profile fits on it."""
        return (
            self.cpu_cores >= profile.cpu_cores
            and self.memory_bytes >= profile.memory_bytes
            and self.accelerators >= profile.accelerator_count
        )


@dataclass(frozen=True)
class Free:
    """What one place has free.

    Attributes
    ----------
    cpu_cores : float or None
        Idle processor cores; None where nobody counts them.
    memory_bytes : int or None
        Memory that is free on the machine that has most of it; None where nobody counts it.
    waiting : int
        Jobs that wait there.
    machines : tuple of Machine or None
        Machines, one of which must hold a whole server; None where nobody tells them apart.
    empty : tuple of Machine
        The same machines were they empty, also those that are away now; none where nobody knows, or where a machine is made
        when one is needed.
    """

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    waiting: int = 0
    machines: tuple[Machine, ...] | None = None
    empty: tuple[Machine, ...] = ()

    @classmethod
    def on(cls, machines: Sequence[Machine], waiting: int = 0, empty: Sequence[Machine] = ()) -> Self:
        """Return what is free where a server must fit on one machine: whole cores and memory of the roomiest."""
        roomiest = max(machines, key=lambda each: (each.memory_bytes, each.cpu_cores), default=Machine(0, 0))
        return cls(
            math.floor(roomiest.cpu_cores), roomiest.memory_bytes, waiting, tuple(machines), tuple(empty)
        )

    def never_holds(self, profile: ProfileSection) -> bool:
        """Tell whether a server of the profile is larger than any machine."""
        return bool(self.empty) and not any(machine.holds(profile) for machine in self.empty)

    def holds(self, profile: ProfileSection) -> bool:
        """Tell whether a server of the profile would find room now."""
        if self.machines is not None:  # whoever waits there may need more: a smaller one is let past
            return any(machine.holds(profile) for machine in self.machines)
        enough_cores = self.cpu_cores is None or self.cpu_cores >= profile.cpu_cores
        enough_memory = self.memory_bytes is None or self.memory_bytes >= profile.memory_bytes
        return enough_cores and enough_memory and not self.waiting

    def words(self) -> str:
        """Say what is free, for a person."""
        said = []
        if self.cpu_cores is not None:
            said.append(f"{self.cpu_cores:.0f} core{'' if round(self.cpu_cores) == 1 else 's'}")
        if self.memory_bytes is not None:
            said.append(f"{max(self.memory_bytes, 0) / 2**30:,.1f} GiB of memory")
        if accelerators := max((each.accelerators for each in self.machines or ()), default=0):
            said.append(f"{accelerators} accelerator{'' if accelerators == 1 else 's'}")
        waiting = f"; {self.waiting} waiting" if self.waiting else ""
        return " and ".join(said) + waiting


Places = Mapping[str, Free]
"""What is free by the name of a queue; the only place has the empty name."""


class Look:
    """One look at what is free, shared by everybody who asks."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[None] | None = None
        self._answer: Places = {}
        self._at = 0.0

    async def now(self, ask: Callable[[], Awaitable[Places]]) -> Places:
        """Return what is free: an answer of the last seconds, or nothing where none comes in time.

        Parameters
        ----------
        ask : callable
            Coroutine function that looks, in the name of whoever asks now; not called where an answer is there or under way.
        """
        if time.monotonic() - self._at < _KEEP_S:
            return self._answer
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._look(ask))
        await asyncio.wait({self._asking}, timeout=_DEADLINE_S)
        return self._answer if self._asking.done() else {}

    async def _look(self, ask: Callable[[], Awaitable[Places]]) -> None:
        try:
            self._answer = await ask()
        except (GenesisError, OSError) as error:
            log.warning("what is free cannot be told: %s %s", error, getattr(error, "detail", ""))
            self._answer = {}
        self._at = time.monotonic()
