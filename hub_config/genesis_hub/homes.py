"""How full a person's home is: said before a server starts, and the reason why one does not.

One that the hub sees it looks at once a minute at most, unless it is full. A home that only its server sees, such as a pod's, is looked
at by that as its first act: it says so in a line of its log, and the hub shows what was seen last.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path

from genesis_workbench.core.homes import Home, look
from genesis_workbench.core.site import ProfileSection

LIMIT_VARIABLE = "GENESIS_HOME_BYTES"
_KEEP_S = 60.0
_REPORT = "home: "
RESCUE = ProfileSection(
    name="rescue",
    title="Rescue",
    description="Opens your files so that you can delete some. It writes nothing into your home, and deletes for good.",
    memory_bytes=2**30,
    idle_s=3600,
    walltime_s=3600,
)
_looked: dict[tuple[Path, int], tuple[float, Home]] = {}


async def measure(folder: Path, limit_bytes: int) -> Home:
    """Return how full a home is that the hub sees; an answer of the last minute where there is one, and it was not full."""
    which = folder, limit_bytes
    at, home = _looked.get(which, (-_KEEP_S, None))
    if home is None or home.full or time.monotonic() - at >= _KEEP_S:
        home = await asyncio.to_thread(look, folder, limit_bytes)
        _looked[which] = time.monotonic(), home
    return home


def report(home: Home) -> str:
    """Return the line in which a server tells of its home."""
    return _REPORT + json.dumps(asdict(home))


def reported(log: str) -> Home | None:
    """Return what a server's log told of its home; None where it told nothing that can be read.

    What its person runs can write into that log too.
    """
    for line in log.splitlines():
        if line.startswith(_REPORT):
            try:
                told = json.loads(line.removeprefix(_REPORT))
                used, limit, left = (int(told[name]) for name in ("used_bytes", "limit_bytes", "left_bytes"))
                refused = bool(told.get("refused"))
                return Home(used, limit, left, bool(told["whole"]), seen=time.time(), refused=refused)
            except (ValueError, TypeError, KeyError, OverflowError):
                return None
    return None
