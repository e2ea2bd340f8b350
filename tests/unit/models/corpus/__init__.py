"""Artifacts of every format, made on the spot: benign ones that must be taken, hostile ones that must not.

`canary` is a file that every payload would write, so that a test sees whether anything ran.
"""

from __future__ import annotations

from pathlib import Path

from unit.models.corpus.benign import cases as _benign
from unit.models.corpus.case import Case
from unit.models.corpus.hostile import cases as _hostile


def benign() -> list[Case]:
    """Return every artifact that must be taken."""
    return list(_benign())


def hostile(canary: Path) -> list[Case]:
    """Return every artifact that must be refused."""
    return list(_hostile(canary, {case.name: case for case in benign()}))
