"""STAC APIs: collections of images and grids, tied to place and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    box,
    clean,
    fetch_changed,
    follow,
    format_name,
    kind_of,
    make_dataset,
    period,
    read_page,
    validators,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_UNTELLING = ("proprietary", "various", "other", "")


class StacSource:
    """The collections of a STAC API, 0.8 to 1.1; each collection is one dataset.

    `url` of the section is the API's landing page.
    """

    kind: ClassVar[str] = "stac"
    protocol: ClassVar[str] = "STAC API collections"
    incremental: ClassVar[bool] = False  # STAC's datetime is when data were taken, not when a record changed

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._first = section.url.rstrip("/").removesuffix("/collections") + "/collections"
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, an address, on; where one page is all, only if it has changed."""
        return follow(lambda at: self._page(at, None if at else state), cursor)

    def _page(self, cursor: str | None, state: Mapping[str, str] | None) -> Page:
        url = cursor or self._first
        if urlsplit(url)[:2] != urlsplit(self._first)[:2]:
            raise InvalidInput(
                f"The source {self._section.name!r} names a next page on another host, which is refused."
            )
        accepted = {"Accept": "application/json"}
        answer, same = fetch_changed(self._fetcher, url, state, headers=accepted)
        if same:
            return Page([], state=state or {}, unchanged=True)
        content = answer.json()
        if not isinstance(content, Mapping) or not isinstance(content.get("collections"), list):
            said = clean(content.get("description"), 200) if isinstance(content, Mapping) else ""
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(content)} without a list 'collections'"
                + (f": {said}" if said else ".")
            )
        following = _next(content.get("links"), url) if content["collections"] else None
        # Of several pages the first says nothing about the others.
        taken = {} if following else validators(answer)
        return read_page(content["collections"], self._read, lambda r: r.get("id"), following, state=taken)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        kind = clean(record.get("type"), 40) or "Collection"
        if kind.lower() != "collection":
            raise InvalidInput(f"it is a {kind}, not a Collection")
        if not isinstance(record.get("extent"), Mapping) or not record["extent"]:
            raise InvalidInput("it has no 'extent', which STAC requires of a collection")
        identifier = clean(record.get("id"), 300)
        links = _links(record.get("links"))
        return make_dataset(
            self._section,
            record,
            identifier=identifier,
            title=record.get("title") or identifier,
            description=record.get("description"),
            keywords=record.get("keywords"),
            agency=_producer(record.get("providers")),
            licence=_licence(record.get("license"), links),
            citation=record.get("sci:citation"),
            doi=record.get("sci:doi") or links.get("cite-as"),
            landing_page=_page_for_people(links) or f"{self._first}/{identifier}",
            modified=record.get("updated"),
            spatial=_spatial(record),
            temporal=_temporal(record),
            distributions=_distributions(record.get("assets"), links, self._first),
        )


def _next(links: Any, base: str) -> str | None:
    for link in links if isinstance(links, list) else []:
        if isinstance(link, Mapping) and link.get("rel") == "next" and link.get("href"):
            if clean(link.get("method"), 10).upper() not in ("", "GET"):
                raise InvalidInput(
                    "the next page of collections has to be asked for by another method than GET"
                )
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
