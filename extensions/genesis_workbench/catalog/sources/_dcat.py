"""Reading of one DCAT-US record (1.1 or 3.0), for the sources that carry such records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._base import MAX_DISTRIBUTIONS
from genesis_workbench.catalog.sources._values import (
    box,
    box_of_geometry,
    clean,
    format_name,
    period,
    size,
    web_address,
)


def identifier(record: Mapping[str, Any]) -> str:
    """Return the identifier: text in 1.1; in 3.0 also an object."""
    value = record.get("identifier")
    if isinstance(value, Mapping):
        value = value.get("@id") or value.get("notation") or value.get("@value")
    return clean(value, 500)


def fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `make_dataset` wants of a DCAT-US record."""
    return {
        "description": record.get("description"),
        "keywords": record.get("keyword"),
        "licence": _text_or_id(record.get("license")),
        "landing_page": _text_or_id(record.get("landingPage")),
        "doi": identifier(record),
        "modified": record.get("modified"),
        "access": _access(record),
        "spatial": spatial(record.get("spatial")),
        "temporal": temporal(record.get("temporal")),
        "distributions": _distributions(record.get("distribution")),
    }


def _text_or_id(value: Any) -> str:
    if value is None or isinstance(value, str):  # what most are
        return clean(value, 2000)
    if isinstance(value, list):
        value = next(iter(value), "")
    if isinstance(value, Mapping):
        value = value.get("@id") or value.get("accessURL") or value.get("title") or value.get("prefLabel")
    return clean(value, 2000)


def _access(record: Mapping[str, Any]) -> str:
    level = clean(record.get("accessLevel") or _text_or_id(record.get("accessRights")), 60)
    if level.lower() in ("", "public"):
        return ""
    rights = _text_or_id(record.get("rights"))
    return f"{level}: {rights}" if rights else level


def _distributions(value: Any) -> list[Distribution]:
    found = []
    for item in (value if isinstance(value, list) else [value])[: MAX_DISTRIBUTIONS * 4]:
        if not isinstance(item, Mapping):
            continue
        url = web_address(_text_or_id(item.get("downloadURL"))) or web_address(
            _text_or_id(item.get("accessURL"))
        )
        if url:
            media, name = _text_or_id(item.get("mediaType")), _text_or_id(item.get("format"))
            found.append(
                Distribution(
                    format=format_name(media, name, url),
                    url=url,
                    title=clean(item.get("title"), 200),
                    size_bytes=size(item.get("byteSize")),
                )
            )
    return found


def spatial(value: Any) -> tuple[float, float, float, float] | None:
    if isinstance(value, list) and not box(value):
        value = next((item for item in value if isinstance(item, Mapping)), None)
    if isinstance(value, str):
        if value.lstrip().startswith("{") and len(value) < 400_000:
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return None
        else:
            return box(value)
    if isinstance(value, Mapping):
        edges = [value.get(f"{side}BoundingCoordinate") for side in ("west", "south", "east", "north")]
        if None not in edges:
            return box(edges)
        inner = value.get("bbox") or value.get("geometry")
        if isinstance(inner, Mapping | list):
            return spatial(inner)
        return box_of_geometry(value)
    return box(value)


def temporal(value: Any) -> tuple[str | None, str | None] | None:
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, Mapping):
        return period(value.get("startDate"), value.get("endDate"))
    start, slash, end = clean(value, 200).partition("/")
    return period(start, end) if slash else None
