"""How full a person's home is: said before a server starts, and the reason why one does not.

Where the file system keeps a quota for each home's folder (a project quota of XFS or ext4), it answers at once, and exactly. Elsewhere
the files are counted, in a thread, for at most two seconds, once a minute.

A home that only its server sees, such as a pod's, is looked at by that as its first act: it says so in a line of its log, and
the hub shows what was seen last.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from genesis_workbench.core.site import ProfileSection

LIMIT_VARIABLE, RESCUE_VARIABLE = "GENESIS_HOME_BYTES", "GENESIS_RESCUE"
_DEADLINE_S, _KEEP_S = 2.0, 60.0
_REPORT = "home: "
_NOTHING_LEFT = 32 * 2**20
"""Bytes below which a server cannot write its own few files."""
_MADE_FOR_IT = 1.1
"""Times the limit: a disk up to that size was made for one home."""
RESCUE = ProfileSection(
    name="rescue",
    title="Rescue",
    description="Opens your files so that you can delete some. It writes nothing into your home, and deletes for good.",
    memory_bytes=2**30,
    idle_s=3600,
)
_counted: dict[Path, tuple[float, Home]] = {}


@dataclass(frozen=True)
class Home:
    """What one home holds.

    Attributes
    ----------
    used_bytes : int
        What its files take; at least that where not `whole`.
    limit_bytes : int
        What they may take; 0 for no limit.
    left_bytes : int
        What the disk below it still takes.
    whole : bool
        Whether everything was counted.
    seen : float
        When that was, in seconds since 1970, where it is not now.
    """

    used_bytes: int
    limit_bytes: int
    left_bytes: int
    whole: bool = True
    seen: float = 0.0

    @property
    def full(self) -> bool:
        """Whether no server but the one for deleting may start."""
        return self.left_bytes < _NOTHING_LEFT or (0 < self.limit_bytes <= self.used_bytes)

    @property
    def words(self) -> str:
        """Say how full it is."""
        least = "" if self.whole else "at least "
        of = f" of {_gib(self.limit_bytes)}" if self.limit_bytes else ""
        if self.full and not 0 < self.limit_bytes <= self.used_bytes:
            is_ = "was" if self.seen else "is"
            return f"The disk of your home {is_} full{self._when}: {_gib(max(self.left_bytes, 0))} are left, for everybody on it."
        now, then = ("is full", "was full") if self.full else ("holds", "held")
        return f"Your home {then if self.seen else now}{self._when}: {least}{_gib(self.used_bytes)}{of}."

    @property
    def _when(self) -> str:
        return f" when your last server started, {_ago(time.time() - self.seen)}" if self.seen else ""


async def measure(folder: Path, limit_bytes: int) -> Home:
    """Return how full a home is; an answer of the last minute where there is one."""
    at, home = _counted.get(folder, (-_KEEP_S, None))
    if (
        home is not None
        and home.limit_bytes == limit_bytes
        and time.monotonic() - at < _KEEP_S
        and not home.full
    ):
        return home
    home = await asyncio.to_thread(look, folder, limit_bytes)
    _counted[folder] = time.monotonic(), home
    return home


def look(folder: Path, limit_bytes: int, deadline_s: float = _DEADLINE_S) -> Home:
    """Look at a home now.

    Parameters
    ----------
    folder : Path
        The home; one that is not there yet is empty.
    limit_bytes : int
        What the site allows; 0 for no limit.
    deadline_s : float
        After which counting stops.
    """
    if not folder.is_dir():
        return Home(
            0, limit_bytes, shutil.disk_usage(folder.parent).free if folder.parent.is_dir() else 2**62
        )
    disk, around = shutil.disk_usage(folder), shutil.disk_usage(folder.parent)
    if os.path.ismount(folder) and 0 < disk.total <= _MADE_FOR_IT * limit_bytes:
        # A disk of its own, such as a cluster makes for a claim.
        return Home(disk.used, disk.total, disk.free)
    if disk.total != around.total and folder.stat().st_dev == folder.parent.stat().st_dev:
        # The same disk, but of another size: that is how a project quota shows.
        return Home(disk.used, disk.total, min(disk.free, around.free))
    used, whole = _count(folder, time.monotonic() + deadline_s) if limit_bytes else (0, True)
    return Home(used, limit_bytes, disk.free, whole)


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
                return Home(used, limit, left, bool(told["whole"]), seen=time.time())
            except (ValueError, TypeError, KeyError, OverflowError):
                return None
    return None


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def _count(folder: Path, deadline: float) -> tuple[int, bool]:
    """Count what the files below a folder take, links apart; stop at the deadline."""
    used, ahead, seen = 0, [str(folder)], set()
    while ahead:
        if time.monotonic() > deadline:
            return used, False
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    if about.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if about.st_ino in seen:
                            continue
                        seen.add(about.st_ino)
                    used += about.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
        except OSError:
            continue  # it was removed meanwhile, or its owner has closed it: what cannot be seen is not counted
    return used, True


def _gib(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB"
