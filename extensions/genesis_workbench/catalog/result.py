"""What a search gives: hits, counts, and what is known of each source at that moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.core import clock

if TYPE_CHECKING:
    import pandas as pd

FRESH, STALE, UNREACHABLE, NEVER, DISABLED = "fresh", "stale", "unreachable", "never", "disabled"
RESTING = "left-alone"


@dataclass(frozen=True)
class SourceStatus:
    """What is known of one source.

    Attributes
    ----------
    state : str
        ``fresh``, ``stale`` (longer ago than the site wants), ``unreachable`` (the last harvest failed), ``left-alone``
        (it failed so often that it is not asked for a while), ``never`` (not harvested yet) or ``disabled`` (by the
        site).
    since : str
        When it was last harvested; where unreachable, since when it is.
    records, rejected : int
        How many of its records one may see, and how many could not be read.
    reason : str
        Why it is unreachable, or why fewer records came than there are.
    failures : int
        How many harvests failed in a row.
    until : str
        Until when it is left alone after failures.
    harvesting : bool
        Whether a harvest is on its way.
    """

    name: str
    title: str
    agency: str
    state: str
    since: str = ""
    records: int = 0
    rejected: int = 0
    reason: str = ""
    failures: int = 0
    until: str = ""
    harvesting: bool = False

    def line(self) -> str:
        """Return its state in words, such as ``fresh, 3 minutes ago``."""
        if self.state == NEVER:
            return "not harvested yet"
        if self.state == DISABLED or not self.since:
            return self.state
        if self.state == UNREACHABLE:
            return f"unreachable since {_moment(self.since)}"
        if self.state == RESTING:
            return (
                f"unreachable since {_moment(self.since)}, left alone until {_moment(self.until)} after "
                f"{self.failures} failures in a row"
            )
        return f"{self.state}, {ago(self.since)}{', being harvested' if self.harvesting else ''}"


@dataclass(frozen=True)
class Place:
    """Where else a dataset is listed."""

    id: str
    source: str
    agency: str
    landing_page: str


@dataclass(frozen=True)
class SearchResult:
    """Hits in order of rank, of all that one may see.

    Attributes
    ----------
    items : list of Dataset
        The hits of this page.
    total : int
        How many there are in all.
    next : str or None
        Cursor of the next page.
    facets : dict
        Counts over all hits: ``{"agency": {"NASA": 12}, "field": {...}, "format": {...}, "licence": {...}, "label": {...},
        "source": {...}, "year": {...}}``.
    sources : list of SourceStatus
        Every source, also those that could not be reached.
    note : str
        How the words were understood, where not literally.
    highlights : dict
        Where the words stand: id to field to ``[start, end]`` pairs of characters.
    places : dict
        Where else a hit is listed: id to a list of :class:`Place`.
    by_meaning : bool
        Whether this catalog can be searched by meaning too.
    """

    items: list[Dataset]
    total: int
    next: str | None = None
    facets: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: list[SourceStatus] = field(default_factory=list)
    note: str = ""
    highlights: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    by_meaning: bool = False

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Dataset:
        return self.items[position]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values, as the service answers them."""
        return {
            "items": [item.model_dump(mode="json") for item in self.items],
            "total": self.total,
            "next": self.next,
            "facets": self.facets,
            "sources": [asdict(source) for source in self.sources],
            "note": self.note,
            "highlights": self.highlights,
            "places": {name: [asdict(place) for place in each] for name, each in self.places.items()},
            "by_meaning": self.by_meaning,
        }

    @cached_property
    def as_json(self) -> bytes:
        """:meth:`as_dict` as JSON, made once: a result does not change."""
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SearchResult:
        """Make the result from :meth:`as_dict`'s values."""
        return cls(
            items=[Dataset.model_validate(item) for item in values["items"]],
            total=values["total"],
            next=values.get("next"),
            facets=values.get("facets", {}),
            sources=[SourceStatus(**source) for source in values.get("sources", [])],
            note=values.get("note", ""),
            highlights=values.get("highlights", {}),
            places={name: [Place(**p) for p in each] for name, each in values.get("places", {}).items()},
            by_meaning=values.get("by_meaning", False),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the hits as a pandas DataFrame, one row each."""
        import pandas as pd

        columns = [
            "id",
            "title",
            "agency",
            "source",
            "formats",
            "licence",
            "openable",
            "modified",
            "landing_page",
        ]
        rows = [{name: getattr(item, name) for name in columns} for item in self.items]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        lines = [f"{len(self.items)} of {self.total} datasets"]
        lines += [f"  {item.id}: {item.title}" for item in self.items]
        lines += [f"  [{source.name}: {source.line()}]" for source in self.sources]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from genesis_workbench.catalog import showing

        return showing.page(self)


def ago(moment: str) -> str:
    """Return how long ago a time was, in words."""
    seconds = max(clock.seconds_since(moment), 0)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "less than a minute ago"


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone()
    recent = clock.seconds_since(text) < 12 * 3600
    return moment.strftime("%H:%M" if recent else "%Y-%m-%d %H:%M")
