"""What item-level sources share: one question, asked live of many places, and what each of them gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._values import box
from genesis_workbench.core.errors import InvalidInput

BBOX, COLLECTIONS, ELEMENTS, TEXT, TIME = "bbox", "collections", "elements", "text", "time"
"""The terms of a question; a source says which of them it understands."""


@dataclass(frozen=True)
class ItemQuery:
    """What is looked for; what is left out does not narrow.

    Attributes
    ----------
    text : str
        Words.
    collections : tuple of str
        Names of collections, as the sources call them.
    bbox : tuple of float, optional
        West, south, east, north in degrees.
    start, end : str
        Period, ISO 8601; empty where it is open.
    elements : tuple of str
        Chemical symbols that must all be in a structure.
    limit : int
        Most items of each source.
    """

    text: str = ""
    collections: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None
    start: str = ""
    end: str = ""
    elements: tuple[str, ...] = ()
    limit: int = 50

    @property
    def terms(self) -> frozenset[str]:
        """Which terms narrow it."""
        given = {
            TEXT: self.text,
            COLLECTIONS: self.collections,
            BBOX: self.bbox,
            TIME: self.start or self.end,
            ELEMENTS: self.elements,
        }
        return frozenset(name for name, value in given.items() if value)

    @property
    def interval(self) -> str:
        """The period as STAC writes it, such as ``2020-01-01T00:00:00Z/..``."""
        return f"{self.start or '..'}/{self.end or '..'}" if self.start or self.end else ""


@dataclass(frozen=True)
class Item:
    """One scene, granule, structure or table.

    Attributes
    ----------
    id, title : str
        What the source calls it.
    source, collection : str
        Where it is from.
    spatial : tuple of float, optional
        West, south, east, north in degrees.
    temporal : tuple of str, optional
        Start and end, ISO 8601.
    landing_page : str
        Page or record of it.
    properties : dict
        What else the source says of it: short values only.
    distributions : list of Distribution
        Ways to get it.
    """

    id: str
    title: str
    source: str
    collection: str = ""
    spatial: tuple[float, float, float, float] | None = None
    temporal: tuple[str | None, str | None] | None = None
    landing_page: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    distributions: list[Distribution] = field(default_factory=list)


class ItemSource(Protocol):
    """A source that can also be asked for items, at once and without a harvest."""

    item_terms: ClassVar[frozenset[str]]
    """Terms of a question that it understands."""

    def items(self, query: ItemQuery) -> Iterator[Item]:
        """Yield up to ``query.limit`` items as they come; raises one of the errors of ``core.errors``."""
        ...


def read_bbox(text: str) -> tuple[float, float, float, float] | None:
    """Read ``west,south,east,north``; None where it is empty, InvalidInput where it is no box."""
    if not text:
        return None
    found = box(text)
    if found is None:
        raise InvalidInput(
            f"{text[:60]!r} is no box: give west,south,east,north in degrees, such as -10,40,5,60."
        )
    return found


def short(values: Any, limit: int = 40) -> dict[str, Any]:
    """Return the properties that are numbers, truth values or short text."""
    found = values.items() if isinstance(values, dict) else ()
    return {
        str(k)[:80]: v
        for k, v in list(found)[: limit * 4]
        if isinstance(v, int | float | bool) or (isinstance(v, str) and len(v) <= 200)
    }
