"""What is asked of the catalog, checked once: words, exact values, place, time and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genesis_workbench.catalog import query
from genesis_workbench.core.access import Label
from genesis_workbench.core.errors import InvalidInput

SORTS = ("relevance", "newest", "title")
EXACT = ("agency", "field", "format", "licence", "label", "source")
_LONGEST = 400

Box = tuple[float, float, float, float]
Period = tuple[str | None, str | None]


@dataclass(frozen=True)
class Request:
    """One search, without its page. Equal requests have equal answers, for people of equal rights.

    Attributes
    ----------
    tree : Node
        What is looked for.
    exact : tuple of (str, str)
        Facets and the values that they must have.
    bbox : tuple of float, optional
        West, south, east, north in degrees.
    period : tuple of str, optional
        Start and end, ISO 8601 dates; None for an open end.
    by_meaning : bool
        Whether keywords that are near in meaning are looked for too.
    """

    tree: query.Node = query.EVERYTHING
    exact: tuple[tuple[str, str], ...] = ()
    year: int | None = None
    bbox: Box | None = None
    period: Period | None = None
    sort: str = "relevance"
    by_meaning: bool = False


def request(
    text: str = "",
    *,
    year: int | None = None,
    bbox: Sequence[float] | None = None,
    period: Sequence[Any] | None = None,
    sort: str = "relevance",
    by_meaning: bool = False,
    **exact: str | None,
) -> Request:
    """Check what was asked.

    Raises
    ------
    InvalidInput
        With what would be accepted.
    """
    unknown = sorted(exact.keys() - set(EXACT))
    if unknown:
        raise InvalidInput(f"There is no facet {unknown[0]!r}. Use one of: {', '.join(EXACT)}.")
    if sort not in SORTS:
        raise InvalidInput(f"A search cannot be sorted by {sort[:40]!r}. Use one of: {', '.join(SORTS)}.")
    if exact.get("label") is not None:
        Label.parse(str(exact["label"]))
    if year is not None and not query.FIRST_YEAR <= year <= query.LAST_YEAR:
        raise InvalidInput(f"{year} is no year.")
    return Request(
        _parsed(text),
        tuple(sorted((name, value[:_LONGEST]) for name, value in exact.items() if value is not None)),
        year,
        None if bbox is None else _box(bbox),
        None if period is None else _period(period),
        sort,
        by_meaning,
    )


@lru_cache(1000)
def _parsed(text: str) -> query.Node:
    return query.parse(text)


def _box(values: Sequence[float]) -> Box:
    try:
        west, south, east, north = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{str(values)[:80]!r} is no bounding box: give west, south, east and north in degrees."
        ) from error
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise InvalidInput(
            f"The bounding box {west:g}, {south:g}, {east:g}, {north:g} is not on the Earth: give west and east from -180 "
            "to 180, south and north from -90 to 90, south first. West > east crosses the date line."
        )
    return west, south, east, north


def _period(values: Sequence[Any]) -> Period:
    from genesis_workbench.catalog.index import days

    listed = [None if value in (None, "", "..") else str(value)[:40] for value in values]
    if isinstance(values, str) or len(listed) != 2:
        raise InvalidInput(
            f"{str(values)[:80]!r} is no period: give its start and end, such as ('2010', '2019-06')."
        )
    for text in listed:
        if text is not None and days(text, last=False) is None:
            raise InvalidInput(f"{text!r} is no date: write 2010, 2010-06 or 2010-06-30.")
    start, end = listed
    first, last = days(start, last=False), days(end, last=True)
    if first is not None and last is not None and first > last:
        raise InvalidInput(f"The period from {start} to {end} runs backwards: give its start first.")
    return start, end
