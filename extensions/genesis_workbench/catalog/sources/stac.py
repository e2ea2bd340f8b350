"""STAC APIs: collections of images and grids, tied to place and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _stac
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    follow,
    listed,
    make_dataset,
    on_same_host,
    read_page,
    validators,
)
from genesis_workbench.catalog.sources._items import BBOX, COLLECTIONS, TIME, Item, ItemQuery
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_GEOJSON = {"Accept": "application/geo+json, application/json"}


class StacSource:
    """The collections of a STAC API, 0.8 to 1.1; each collection is one dataset.

    `url` of the section is the API's landing page.
    """

    kind: ClassVar[str] = "stac"
    protocol: ClassVar[str] = "STAC API collections"
    incremental: ClassVar[bool] = False  # STAC's datetime is when data were taken, not when a record changed
    item_terms: ClassVar[frozenset[str]] = frozenset({COLLECTIONS, BBOX, TIME})

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._first = section.url.rstrip("/").removesuffix("/collections") + "/collections"
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, an address, on; where one page is all, only if it has changed."""
        return follow(lambda at: self._page(at, None if at else state), cursor)

    def _page(self, cursor: str | None, state: Mapping[str, str] | None) -> Page:
        url = cursor or self._first
        on_same_host(self._section, url, self._first)
        accepted = {"Accept": "application/json"}
        answer, same = fetch_changed(self._fetcher, url, state, headers=accepted)
        if same:
            return Page([], state=state or {}, unchanged=True)
        content = answer.json()
        found = listed(self._section, content, "collections")
        following = _stac.following(content.get("links"), url) if found else None
        # Of several pages the first says nothing about the others.
        taken = {} if following else validators(answer)
        return read_page(found, self._read, lambda r: r.get("id"), following, state=taken)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        fields = _stac.collection_fields(record, self._first)
        page = fields.pop("landing_page") or f"{self._first}/{fields['identifier']}"
        return make_dataset(self._section, record, landing_page=page, **fields)

    def items(self, query: ItemQuery) -> Iterator[Item]:
        """Yield items of the API's search, page after page, until there are enough."""
        url: str | None = self._first.removesuffix("/collections") + "/search"
        params: dict[str, Any] = {
            "limit": min(query.limit, 100),
            "collections": ",".join(query.collections) or None,
            "bbox": ",".join(map(str, query.bbox)) if query.bbox else None,
            "datetime": query.interval or None,
        }
        left, seen = query.limit, set()
        while url is not None and url not in seen and left > 0:
            seen.add(url)
            content = self._fetcher.get_json(
                on_same_host(self._section, url, self._first), params=params, headers=_GEOJSON
            )
            found = listed(self._section, content, "features")
            for record in found:
                try:
                    made = _stac.item(record, self._section.name, url)
                except InvalidInput:
                    continue  # one bad record does not hide the others
                yield made
                left -= 1
                if not left:
                    return
            url, params = (_stac.following(content.get("links"), url) if found and left > 0 else None), {}
