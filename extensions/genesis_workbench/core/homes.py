"""A person's home: how full it is, and what it gets before a server of theirs starts.

Where the file system keeps a quota for each home's folder (a project quota of XFS or ext4), it answers at once, and exactly. Elsewhere
the files are counted, for at most two seconds. Quotas of other kinds, such as a cluster's for each account, show when somebody
tries to write.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from genesis_workbench.core.errors import Conflict

RESCUE_VARIABLE = "GENESIS_RESCUE"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What a file system says that takes no more."""
_DEADLINE_S = 2.0
_NOTHING_LEFT = 32 * 2**20
"""Bytes below which a server cannot write its own few files."""
_MADE_FOR_IT = 1.1
"""Times the limit: a disk up to that size was made for one home."""
_TRIED = 2**20
_WRITTEN_BY_A_SERVER = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "IPYTHONDIR",
    "XDG_CACHE_HOME",
    "NPM_CONFIG_CACHE",
)


@dataclass(frozen=True)
class Home:
    """What one home holds.

    Attributes
    ----------
    used_bytes : int
        What its files take; at least that where not `whole`. Not looked at where there is no limit.
    limit_bytes : int
        What they may take; 0 for no limit.
    left_bytes : int
        What the disk below it still takes.
    whole : bool
        Whether everything was counted.
    seen : float
        When that was, in seconds since 1970, where it is not now.
    refused : bool
        Whether its file system took no more when it was tried: a quota of the person's is used up.
    """

    used_bytes: int
    limit_bytes: int
    left_bytes: int
    whole: bool = True
    seen: float = 0.0
    refused: bool = False

    @property
    def full(self) -> bool:
        """Whether no server but the one for deleting may start."""
        return self.left_bytes < _NOTHING_LEFT or self.refused or (0 < self.limit_bytes <= self.used_bytes)

    @property
    def words(self) -> str:
        """Say how full it is."""
        if self.full and not 0 < self.limit_bytes <= self.used_bytes:
            is_ = "was" if self.seen else "is"
            if self.left_bytes >= _NOTHING_LEFT:
                return f"Your home {is_} full{self._when}: your quota on its disk takes nothing more."
            return f"The disk of your home {is_} full{self._when}: {_gib(max(self.left_bytes, 0))} are left, for everybody on it."
        if not self.limit_bytes:
            has = "had" if self.seen else "has"
            return (
                f"The disk of your home {has} {_gib(self.left_bytes)} left{self._when}, for everybody on it."
            )
        least = "" if self.whole else "at least "
        now, then = ("is full", "was full") if self.full else ("holds", "held")
        return f"Your home {then if self.seen else now}{self._when}: {least}{_gib(self.used_bytes)} of {_gib(self.limit_bytes)}."

    @property
    def _when(self) -> str:
        return f" when your last server started, {_ago(time.time() - self.seen)}" if self.seen else ""


def look(folder: Path, limit_bytes: int, deadline_s: float = _DEADLINE_S, *, write: bool = False) -> Home:
    """Look at a home now.

    Parameters
    ----------
    folder : Path
        The home; one that is not there yet is empty.
    limit_bytes : int
        What the site allows; 0 for no limit.
    deadline_s : float
        After which counting stops.
    write : bool
        Whether to try to write a little, which goes at once. Only as the person whose home it is.
    """
    found = _look(folder, limit_bytes, deadline_s)
    return replace(found, refused=True) if write and _takes_no_more(folder) else found


def rescue_variables(folder: str) -> dict[str, str]:
    """Return variables with which a server of a full home writes nothing into it, but below `folder`."""
    return {RESCUE_VARIABLE: "1", **{name: f"{folder}/{name.lower()}" for name in _WRITTEN_BY_A_SERVER}}


def _look(folder: Path, limit_bytes: int, deadline_s: float) -> Home:
    if not folder.is_dir():
        there = next(parent for parent in folder.parents if parent.is_dir())
        return Home(0, limit_bytes, shutil.disk_usage(there).free)
    disk, around = shutil.disk_usage(folder), shutil.disk_usage(folder.parent)
    if os.path.ismount(folder) and 0 < disk.total <= _MADE_FOR_IT * limit_bytes:
        # A disk of its own, such as a cluster makes for a claim.
        return Home(disk.used, disk.total, disk.free)
    if disk.total != around.total and folder.stat().st_dev == folder.parent.stat().st_dev:
        # The same disk, but of another size: that is how a project quota shows.
        return Home(disk.used, disk.total, min(disk.free, around.free))
    used, whole = _count(folder, time.monotonic() + deadline_s) if limit_bytes else (0, True)
    return Home(used, limit_bytes, disk.free, whole)


def runtime_folder(home: Path) -> Path:
    """Return a short path for the sockets of the kernels of one home, for this account alone.

    The address of a Unix socket holds 107 bytes, and a home below a state folder is easily longer.

    Raises
    ------
    Conflict
        If somebody else has made it, or opened it to others.
    """
    short = hashlib.sha256(str(home).encode()).hexdigest()[:10]
    folder = Path("/tmp") / f"gw-{os.getuid()}-{short}"  # noqa: S108 - checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise Conflict(
            f"{folder} belongs to somebody else or is open to others. Remove it, then start again."
        )
    return folder


def copy_tutorials(source: Path, target: Path) -> None:
    """Copy tutorials that are not there yet; what a person changed stays as they left it."""
    if not source.is_dir():
        return
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _takes_no_more(folder: Path) -> bool:
    """Write a little, and take it away again; what else may be wrong with a home shows when a server starts in it."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(_TRIED))  # zeros take no room on disks that compress
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in NO_ROOM
    return False


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
