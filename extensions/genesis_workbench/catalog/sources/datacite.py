"""DataCite: what has a DOI as a dataset, of every repository that registers its DOIs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _datacite
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    follow,
    listed,
    make_dataset,
    on_same_host,
    read_page,
    with_query,
)
from genesis_workbench.catalog.sources._values import clean
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class DataciteSource:
    """The REST API of DataCite, page after page by its cursor.

    `url` of the section is the API's address; a query in it (``?client-id=osti.doe&resource-type-id=dataset``)
    narrows what is taken, which is wise: there are more than 50 million DOIs.
    """

    kind: ClassVar[str] = "datacite"
    protocol: ClassVar[str] = "DataCite REST API"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._first = with_query(section.url, "/dois")
        self._query = parse_qs(urlsplit(section.url).query).get("query", [""])[0]
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, an address, on; with a state, of what was updated since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        params: dict[str, Any] = {}
        if cursor is None:
            changed = f"updated:[{since} TO *]" if since else ""
            chosen = " AND ".join(f"({part})" for part in (self._query, changed) if part)
            params = {
                "page[cursor]": "1",
                "page[size]": min(500, self._section.max_records),
                "query": chosen or None,
            }
        url = on_same_host(self._section, cursor or self._first, self._first)
        answer = self._fetcher.fetch(url, params=params, headers={"Accept": "application/vnd.api+json"})
        content = answer.json()
        single = isinstance(content, Mapping) and isinstance(content.get("data"), Mapping)
        found = [content["data"]] if single else listed(self._section, content, "data")
        links = content.get("links")
        following = clean(links.get("next"), 2000) if isinstance(links, Mapping) and found else ""
        return read_page(found, self._read, _name, following or None, state={"since": changed_since(answer)})

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        native = record.get("attributes")
        if not isinstance(native, Mapping):
            raise InvalidInput("it has no 'attributes'")
        if clean(native.get("state"), 20) not in ("", "findable"):
            raise InvalidInput(f"its DOI is {clean(native['state'], 20)}, not findable")
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=_datacite.title(native),
            **_datacite.fields(native),
        )


def _name(record: Mapping[str, Any]) -> str:
    native = record.get("attributes")
    known = native.get("doi") if isinstance(native, Mapping) else None
    return clean(known or record.get("id"), 300).lower()
