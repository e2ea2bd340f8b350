"""Files whose names differ in one number or day alone: each is a dataset, and all of them together are one more."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from genesis_workbench.catalog.sources._objects import described

_DAY = r"(?:19|20)\d{2}([-_.]?)(?:0[1-9]|1[0-2])(?:\2(?:0[1-9]|[12]\d|3[01]))?"
_NUMBERS = re.compile(rf"(?<!\d)({_DAY})(?!\d)|(\d+)")
_ENDINGS = (".nc", ".nc4", ".cdf")


class Series:
    """Notices series among names that come in order.

    A day is one number however it is written, so that ``sst-2019-12-31.nc`` and ``sst-2020-01-01.nc`` differ in one. Only
    NetCDF files are looked at: those are what opens as one cube.
    """

    def __init__(self) -> None:
        self._last: list[str] = []
        self._told: set[str] = set()

    def add(self, name: str) -> str | None:
        """Return the pattern of the series that `name` is the second file of, once: ``folder/sst-*.nc``."""
        if not name.lower().endswith(_ENDINGS) or any(mark in name for mark in "*?["):
            return None
        last, self._last = self._last, _pieces(name)
        if last[::2] != self._last[::2]:
            return None
        differ = [n for n, (a, b) in enumerate(zip(last, self._last, strict=True)) if a != b]
        if len(differ) != 1:
            return None
        pattern = "".join("*" if n == differ[0] else piece for n, piece in enumerate(self._last))
        if "*" in pattern.rpartition("/")[0] or pattern in self._told:
            return None
        self._told.add(pattern)
        return pattern


def address_of(pattern: str) -> str:
    """Return a series' pattern as the path of an address: what the star stands for begins with a digit."""
    return quote(pattern.replace("*", "[0-9]*"), safe="/*")


def described_series(pattern: str, modified: str) -> dict[str, Any]:
    """Return what `make_dataset` wants of a series, and ``format``."""
    return described(pattern, 0, modified) | {
        "description": "NetCDF files whose names differ in one number or day. They open together, as one cube along time. "
        f"Nobody has described them; their place is {pattern}."
    }


def _pieces(name: str) -> list[str]:
    """Return the text and the numbers of a name in turn, text first and last."""
    pieces, at = [], 0
    for found in _NUMBERS.finditer(name):
        pieces += [name[at : found.start()], found[0]]
        at = found.end()
    return [*pieces, name[at:]]
