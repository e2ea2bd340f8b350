"""The machines of a site that run containers: which has memory left, and which has fallen silent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from genesis_hub.spawners._about import About
from genesis_hub.spawners._engine import Engine, engine
from genesis_workbench.core.errors import GenesisError, Unavailable
from genesis_workbench.core.site import NodeSection

SITE_LABEL = "genesis-workbench.site"
SERVER_LABEL = "genesis-workbench.server"
MEMORY_LABEL = "genesis-workbench.memory_bytes"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """Memory of one machine that no server was promised, in bytes."""

    node: NodeSection
    free_bytes: int
    total_bytes: int


class Machines:
    """All machines of one site, shared by all spawners of the hub.

    Memory counts as taken from the moment a server was given a machine, by the limit of the server: what a server may use,
    it will use.
    """

    def __init__(self, site: str, nodes: Sequence[NodeSection]) -> None:
        self._site = site
        self._nodes = {node.name: node for node in nodes}
        self._promised: dict[str, tuple[str, int]] = {}
        self._silent_since: dict[str, float] = {}
        self._left_behind: dict[str, set[str]] = {}
        self._remarked: dict[str, About] = {}

    def node(self, name: str) -> NodeSection | None:
        """Return a machine of the site file; None where it is no longer in it."""
        return self._nodes.get(name)

    def engine(self, name: str) -> Engine:
        """Return the client of a machine's engine.

        Raises
        ------
        Unavailable
            If the site file no longer has that machine.
        """
        if name not in self._nodes:
            raise Unavailable(f"The machine {name!r} is no longer in the site file.")
        return engine(self._nodes[name].socket)

    async def place(self, server: str, memory_bytes: int) -> NodeSection:
        """Choose the machine with the most free memory, and promise it to the server.

        Whatever is left of an earlier start of the same server is removed, on every machine that answers.

        Raises
        ------
        Unavailable
            If no machine answers, or none has that much left.
        """
        rooms = await self.rooms(server)
        if not rooms:
            raise Unavailable(
                f"None of this site's machines answers ({', '.join(self._nodes)}). Your files are kept. Try again in a few "
                "minutes, and tell the operator if it stays so."
            )
        best = max(rooms, key=lambda room: room.free_bytes)
        if best.free_bytes < memory_bytes:
            raise Unavailable(
                f"All machines are full: this server needs {_gib(memory_bytes)} of memory, and the most that is free on one "
                f"machine is {_gib(max(best.free_bytes, 0))}. Choose a smaller server, stop one that you no longer need, or "
                "try again later."
            )
        self._promised[server] = (best.node.name, memory_bytes)
        return best.node

    def release(self, server: str) -> None:
        """Take back what was promised to a server that has ended."""
        self._promised.pop(server, None)

    async def rooms(self, starting: str = "") -> list[Room]:
        """Return the machines that answer, with what is free there."""
        found = await asyncio.gather(*(self._room(node, starting) for node in self._nodes.values()))
        return [room for room in found if room]

    def heard(self, name: str) -> None:
        """Note that a machine has answered."""
        if self._silent_since.pop(name, None):
            log.info("machine %s answers again", name)

    def silent_s(self, name: str) -> float:
        """Note that a machine has not answered, and return for how many seconds that has been so."""
        return time.monotonic() - self._silent_since.setdefault(name, time.monotonic())

    def leave_behind(self, name: str, container: str) -> None:
        """Note a container that cannot be ended now: it will be as soon as its machine answers."""
        self._left_behind.setdefault(name, set()).add(container)

    def _remark(self, node: NodeSection, about: About) -> None:
        """Say in the hub's log, once, what of a machine's engine is not as it should be."""
        if self._remarked.get(node.name) == about:
            return
        self._remarked[node.name] = about
        for remark in (about.refusal, *about.faults()):
            if remark:
                log.warning("machine %s, %s: %s", node.name, about.name, remark)

    async def _room(self, node: NodeSection, starting: str) -> Room | None:
        client = engine(node.socket)
        try:
            about = await client.about()
            self._remark(node, about)
            listed = await client.containers(**{SITE_LABEL: self._site})
            left_behind = self._left_behind.pop(node.name, set())
            taken = 0
            for each in listed:
                labels = each["Labels"]
                if each["Id"] in left_behind or (starting and labels[SERVER_LABEL] == starting):
                    log.warning("removing what was left of %s on %s", labels[SERVER_LABEL], node.name)
                    await client.remove(each["Id"])
                else:
                    taken += int(labels[MEMORY_LABEL])
        except GenesisError as error:
            log.warning("machine %s: %s %s", node.name, error.message, error.detail)
            self.silent_s(node.name)
            return None
        self.heard(node.name)
        names = {each["Labels"][SERVER_LABEL] for each in listed}
        promised = (
            memory
            for server, (where, memory) in self._promised.items()
            if where == node.name and server not in names and server != starting
        )
        free = about.memory_bytes - node.reserve_bytes - taken - sum(promised)
        return Room(node, free, about.memory_bytes)


@cache
def machines_of(site: str, nodes: tuple[NodeSection, ...]) -> Machines:
    """Return the one view of a site's machines that all spawners of this hub share."""
    return Machines(site, nodes)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}".removesuffix(".0") + " GiB"
