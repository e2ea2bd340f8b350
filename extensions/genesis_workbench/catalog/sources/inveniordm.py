"""InvenioRDM: Zenodo and the repositories of laboratories and universities that run the same software."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from genesis_workbench.catalog.dataset import Dataset, Distribution
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
from genesis_workbench.catalog.sources._values import clean, date, format_name, plain, size, web_address
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

WINDOW = 10_000
_BEYOND = "beyond"


class InvenioRdmSource:
    """The record search of an InvenioRDM site; Zenodo's older shape is read too.

    `url` of the section is the site's address; a query in it (``?q=resource_type.type:dataset``) narrows what is
    taken. A site answers at most 10,000 records of one search.
    """

    kind: ClassVar[str] = "inveniordm"
    protocol: ClassVar[str] = "InvenioRDM REST API"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._first = with_query(section.url, "/api/records")
        self._query = parse_qs(urlsplit(section.url).query).get("q", [""])[0]
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, an address, on; with a state, of what was updated since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        if cursor == _BEYOND:
            raise InvalidInput(
                f"The source {self._section.name!r} gives {WINDOW:,} records of one search at most, and has more: narrow "
                "its query in the site file."
            )
        params: dict[str, Any] = {}
        if cursor is None:
            changed = f'updated:["{since}" TO *]' if since else ""
            chosen = " AND ".join(f"({part})" for part in (self._query, changed) if part)
            params = {"size": min(25, self._section.max_records), "sort": "oldest", "q": chosen or None}
        url = on_same_host(self._section, cursor or self._first, self._first)
        answer = self._fetcher.fetch(url, params=params, headers={"Accept": "application/json"})
        content = answer.json()
        found = listed(self._section, content, "hits", "hits")
        links = content.get("links")
        following = clean(links.get("next"), 2000) if isinstance(links, Mapping) and found else ""
        total = content["hits"].get("total")
        total = total.get("value") if isinstance(total, Mapping) else total
        if not following and isinstance(total, int) and total > WINDOW:
            following = _BEYOND  # what is not listed must not look as if it had been removed
        return read_page(
            found,
            self._read,
            lambda r: r.get("id"),
            following or None,
            state={"since": changed_since(answer)},
        )

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        native = record.get("metadata")
        if not isinstance(native, Mapping):
            raise InvalidInput("it has no 'metadata'")
        links = record.get("links")
        links = links if isinstance(links, Mapping) else {}
        return make_dataset(
            self._section,
            record,
            identifier=record.get("id"),
            title=native.get("title"),
            description=plain(native.get("description")),
            keywords=[_label(e, "subject") for e in _list(native.get("subjects") or native.get("keywords"))],
            agency=clean(native.get("publisher"), 200),
            licence=_licence(native),
            citation=_citation(native),
            landing_page=links.get("self_html") or links.get("html"),
            doi=_inside(record, "pids", "doi", "identifier") or record.get("doi") or native.get("doi"),
            access=_access(record, native),
            modified=record.get("updated") or record.get("modified"),
            temporal=_temporal(native),
            distributions=_distributions(record.get("files"), links),
        )


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _label(value: Any, name: str) -> str:
    return clean(value.get(name) if isinstance(value, Mapping) else value, 200)


def _licence(native: Mapping[str, Any]) -> str:
    for entry in [*_list(native.get("rights")), native.get("license")]:
        found = _label(entry, "id") or clean(_inside(entry, "title"), 200)
        if found:
            return found
    return ""


def _citation(native: Mapping[str, Any]) -> str:
    people = [
        _label(e, "name") or clean(_inside(e, "person_or_org", "name"), 200)
        for e in _list(native.get("creators"))
    ]
    year = clean(native.get("publication_date"), 40)[:4]
    parts = [
        "; ".join(p for p in people[:8] if p) + (f" ({year})" if year else ""),
        clean(native.get("title"), 300),
    ]
    return ". ".join(part for part in [*parts, clean(native.get("publisher"), 100)] if part) + "."


def _access(record: Mapping[str, Any], native: Mapping[str, Any]) -> str:
    status = clean(_inside(record, "access", "status") or native.get("access_right"), 60)
    return "" if status in ("open", "public", "metadata-only") else status


def _temporal(native: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    for entry in _list(native.get("dates")):
        kind = _inside(entry, "type", "id") or _inside(entry, "type")
        start, slash, end = _label(entry, "date").partition("/")
        if clean(kind, 40).lower() in ("collected", "coverage") and date(start):
            return date(start), date(end) if slash else date(start)
    return None


def _distributions(files: Any, links: Mapping[str, Any]) -> list[Distribution]:
    entries = files.get("entries") if isinstance(files, Mapping) else files
    entries = entries.values() if isinstance(entries, Mapping) else _list(entries)
    found = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        key = clean(entry.get("key") or entry.get("filename"), 200)
        url = web_address(_inside(entry, "links", "content") or _inside(entry, "links", "self"))
        if not url and key and web_address(links.get("self")):
            url = web_address(f"{links['self']}/files/{key}/content")
        if url:
            kind = format_name(entry.get("mimetype"), key.rpartition(".")[2])
            found.append(Distribution(format=kind, url=url, title=key, size_bytes=size(entry.get("size"))))
    return found
