"""Logs that do not fill the disk: each keeps its last lines, and once as many older ones beside them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MOST_BYTES = 20 * 2**20


def shorten(folder: Path, most_bytes: int = MOST_BYTES) -> list[str]:
    """Begin each log anew that has grown beyond `most_bytes`; what it said stays in a file beside it, ending in ``.1``.

    Programs go on writing into the file that they have opened, which they open to append. What one says between the copy and
    the new beginning is lost.

    Returns
    -------
    list of str
        Names of the logs that were begun anew.
    """
    found = []
    for log in folder.glob("*.log"):
        if log.is_symlink() or log.stat().st_size <= most_bytes:
            continue
        older = log.with_suffix(".log.1")
        unfinished = log.with_suffix(".log.new")
        with log.open("rb") as source, unfinished.open("wb") as target:
            source.seek(-most_bytes, os.SEEK_END)
            shutil.copyfileobj(source, target)
        unfinished.replace(older)
        os.truncate(log, 0)
        found.append(log.name)
    return found
