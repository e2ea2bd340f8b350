"""The curve of a run as lines of JSON that are only ever appended, and that a notebook follows while they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genesis_workbench.core import clock

FILE = "metrics.jsonl"
START, STEP, VALIDATION, CHECKPOINT, END = "start", "step", "validation", "checkpoint", "end"


class MetricsLog:
    """Appends to the curve.

    Parameters
    ----------
    path : Path
        The file. A last line that a kill has cut off is left as it is, and ignored by readers.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        if self._file.tell() and not ends_line(path):
            self._file.write(b"\n")

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one line, in one write."""
        line = {"kind": kind, "step": step, "time": clock.now(), **values}
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Bring it to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines that count: of steps that were done twice, because a kill had cost them, only the later."""
    return current(whole(path))


def whole(path: Path) -> list[dict[str, Any]]:
    """Return all lines as they were appended, but for those that a kill has cut off."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for raw in text.split(b"\n")[:-1]:
        try:
            found.append(json.loads(raw))
        except ValueError:
            continue  # cut off by a kill
    return found


def current(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of :func:`whole` the lines that count. See :func:`read`."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line["kind"] == START:
            found = [each for each in found if each["step"] <= line["step"] or each["kind"] == START]
        found.append(line)
    return found


def ends_line(path: Path) -> bool:
    """Whether a file, which is not empty, ends with a whole line."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
