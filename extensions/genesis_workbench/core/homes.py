"""What a person's home gets before a server of theirs starts."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from genesis_workbench.core.errors import Conflict


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
