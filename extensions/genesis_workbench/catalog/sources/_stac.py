"""Reading of STAC collections and items, for the sources that carry such records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._items import Item, short
from genesis_workbench.catalog.sources._values import (
    box,
    box_of_geometry,
    clean,
    date,
    format_name,
    period,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput

_UNTELLING = ("proprietary", "various", "other", "")


def collection_fields(record: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return what `make_dataset` wants of a collection; addresses are relative to `base`."""
    kind = clean(record.get("type"), 40) or "Collection"
    if kind.lower() != "collection":
        raise InvalidInput(f"it is a {kind}, not a Collection")
    if not isinstance(record.get("extent"), Mapping) or not record["extent"]:
        raise InvalidInput("it has no 'extent', which STAC requires of a collection")
    identifier = clean(record.get("id"), 300)
    links = _links(record.get("links"))
    return {
        "identifier": identifier,
        "title": record.get("title") or identifier,
        "description": record.get("description"),
        "keywords": record.get("keywords"),
        "agency": _producer(record.get("providers")),
        "licence": _licence(record.get("license"), links),
        "citation": record.get("sci:citation"),
        "doi": record.get("sci:doi") or links.get("cite-as"),
        "landing_page": _page_for_people(links),
        "modified": record.get("updated"),
        "spatial": _spatial(record),
        "temporal": _temporal(record),
        "distributions": _distributions(record.get("assets"), links, base),
    }


def item_fields(record: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return what `make_dataset` wants of an item that is listed by itself."""
    made = item(record, "", base)
    properties = record.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    links = _links(record.get("links"))
    return {
        "identifier": made.id,
        "title": made.title,
        "description": properties.get("description"),
        "keywords": [made.collection, *_words(properties)],
        "licence": _licence(properties.get("license"), links),
        "landing_page": _page_for_people(links),
        "modified": properties.get("updated"),
        "spatial": made.spatial,
        "temporal": made.temporal,
        "distributions": made.distributions,
    }


def item(record: Any, source: str, base: str) -> Item:
    """Read an item; InvalidInput where it is none."""
    if not isinstance(record, Mapping) or clean(record.get("type"), 20).lower() != "feature":
        raise InvalidInput("it is no STAC item: its type is not Feature")
    name = clean(record.get("id"), 300)
    if not name:
        raise InvalidInput("it has no id")
    properties = record.get("properties")
    properties = dict(properties) if isinstance(properties, Mapping) else {}
    start = date(properties.get("start_datetime")) or date(properties.get("datetime"))
    end = date(properties.get("end_datetime")) or start
    links = _links(record.get("links"))
    return Item(
        id=name,
        title=clean(properties.get("title"), 300) or name,
        source=source,
        collection=clean(record.get("collection"), 200),
        spatial=box(record.get("bbox")) or box_of_geometry(record.get("geometry")),
        temporal=(start, end) if start else None,
        landing_page=web_address(urljoin(base, links["self"])) if links.get("self") else "",
        properties=short(properties),
        distributions=assets(record.get("assets"), base),
    )


def assets(value: Any, base: str) -> list[Distribution]:
    """Return the files of an item."""
    found = []
    for name, asset in value.items() if isinstance(value, Mapping) else []:
        if not isinstance(asset, Mapping):
            continue
        roles = asset.get("roles")
        if isinstance(roles, list) and ("thumbnail" in roles or "overview" in roles):
            continue
        address = clean(asset.get("href"), 2000)
        url = address if _is_object(address) else web_address(urljoin(base, address))
        if url:
            kind = format_name(asset.get("type"), url)
            found.append(Distribution(format=kind, url=url, title=clean(asset.get("title") or name, 200)))
    return found


def _is_object(address: str) -> bool:
    return address.startswith(("s3://", "gs://", "abfs://")) and " " not in address


def _words(properties: Mapping[str, Any]) -> list[str]:
    return [clean(properties.get(name), 80) for name in ("platform", "constellation", "mission")]


def following(links: Any, base: str) -> str | None:
    """Return the address of the next page, or None; InvalidInput where it cannot be asked for by GET."""
    for link in links if isinstance(links, list) else []:
        if isinstance(link, Mapping) and link.get("rel") == "next" and link.get("href"):
            if clean(link.get("method"), 10).upper() not in ("", "GET"):
                raise InvalidInput("its next page has to be asked for by another method than GET")
            return urljoin(base, clean(link["href"], 2000))
    return None


def _links(value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for link in value if isinstance(value, list) else []:
        if isinstance(link, Mapping):
            found.setdefault(clean(link.get("rel"), 40), clean(link.get("href"), 2000))
    return found


def _page_for_people(links: Mapping[str, str]) -> str:
    return next((web_address(links[rel]) for rel in ("describedby", "about", "self") if rel in links), "")


def _producer(value: Any) -> str:
    providers = [p for p in value if isinstance(p, Mapping)] if isinstance(value, list) else []
    for role in ("producer", "licensor"):
        for provider in providers:
            if role in (provider.get("roles") or []):
                return clean(provider.get("name"), 200)
    return ""


def _licence(value: Any, links: Mapping[str, str]) -> str:
    name = clean(value, 200)
    return name if name.lower() not in _UNTELLING else web_address(links.get("license")) or name


def _spatial(record: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    extent = record["extent"].get("spatial")
    boxes = extent.get("bbox") if isinstance(extent, Mapping) else extent
    if isinstance(boxes, list) and boxes and isinstance(boxes[0], list):
        return box(boxes[0])  # the first is the whole
    return box(boxes)


def _temporal(record: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    extent = record["extent"].get("temporal")
    periods = extent.get("interval") if isinstance(extent, Mapping) else extent
    first = periods[0] if isinstance(periods, list) and periods and isinstance(periods[0], list) else periods
    return period(first[0], first[1]) if isinstance(first, list) and len(first) == 2 else None


def _distributions(assets: Any, links: Mapping[str, str], base: str) -> list[Distribution]:
    found = []
    for name, asset in assets.items() if isinstance(assets, Mapping) else []:
        roles = asset.get("roles") if isinstance(asset, Mapping) else None
        if roles is None or not isinstance(asset, Mapping) or "thumbnail" in roles or "overview" in roles:
            continue
        url = web_address(asset.get("href"))
        if url:
            kind = format_name(asset.get("type"), url)
            found.append(Distribution(format=kind, url=url, title=clean(asset.get("title") or name, 200)))
    items = web_address(urljoin(base, links["items"])) if links.get("items") else ""
    if items:
        found.append(Distribution(format="stac", url=items, title="Items"))
    return found
