"""Reading of Dublin Core, as repositories and catalog services give it."""

from __future__ import annotations

from typing import Any

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.sources._values import box, date, doi, web_address


def fields(element: Any, stamp: str) -> dict[str, Any]:
    """Return what `make_dataset` wants of an element with Dublin Core in it; `stamp` is when it was changed."""

    def all_(name: str) -> list[str]:
        return xml.texts(element, name)

    def one(name: str) -> str:
        return next(iter(all_(name)), "")

    names = [*all_("identifier"), *all_("relation")]
    people, year = "; ".join(all_("creator")[:8]), next((d[:4] for d in all_("date") if date(d)), "")
    head = f"{people} ({year})" if people and year else people
    return {
        "title": one("title"),
        "description": one("description") or one("abstract"),
        "keywords": all_("subject"),
        "agency": one("publisher"),
        "licence": one("rights"),
        "citation": ". ".join(part for part in (head, one("title"), one("publisher")) if part) + ".",
        "doi": next((found for found in map(doi, names) if found), ""),
        "landing_page": next((found for found in map(web_address, names) if found), ""),
        "modified": stamp,
        "spatial": next((found for found in map(_coverage, all_("coverage")) if found), None)
        or _corners(element),
    }


def _coverage(text: str) -> tuple[float, float, float, float] | None:
    """Read ``northlimit=..; eastlimit=..`` (the DCMI box) or four numbers."""
    limits = {
        name.strip().lower(): value.strip()
        for name, equal, value in (part.partition("=") for part in text.split(";"))
        if equal
    }
    sides = ("westlimit", "southlimit", "eastlimit", "northlimit")
    return box([limits[side] for side in sides]) if all(side in limits for side in sides) else box(text)


def _corners(element: Any) -> tuple[float, float, float, float] | None:
    """Read the bounding box of OGC, latitude first, that CSW servers put among Dublin Core."""
    found = xml.first(element, "BoundingBox")
    lower, upper = (xml.text(found, name).split() for name in ("LowerCorner", "UpperCorner"))
    return box([lower[1], lower[0], upper[1], upper[0]]) if len(lower) == len(upper) == 2 else None
