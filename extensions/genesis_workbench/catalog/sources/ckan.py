"""CKAN: the catalog software of many governments and, until 2025, of data.gov."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources import _dcat
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    follow,
    listed,
    make_dataset,
    read_page,
    with_query,
)
from genesis_workbench.catalog.sources._values import clean, format_name, period, plain, size, web_address
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_SEARCH = "/api/3/action/package_search"
_START = ("temporal_start", "temporal-extent-begin", "temporal_coverage_from")
_END = ("temporal_end", "temporal-extent-end", "temporal_coverage_to")


class CkanSource:
    """The package search of a CKAN site, page after page by its position.

    `url` of the section is the site's address; a query in it (``?fq=organization:noaa-gov``) narrows what is taken.
    """

    kind: ClassVar[str] = "ckan"
    protocol: ClassVar[str] = "CKAN action API, package_search"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._url = with_query(section.url, _SEARCH)
        self._filter = parse_qs(urlsplit(section.url).query).get("fq", [""])[0]
        self._site = section.url.partition("?")[0].removesuffix(_SEARCH).rstrip("/")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a position, on; with a state, of what was modified since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        start = int(cursor) if cursor and cursor.isdigit() else 0
        changed = f"metadata_modified:[{since} TO *]" if since else ""
        chosen = " AND ".join(f"({part})" for part in (self._filter, changed) if part)
        rows = min(100, self._section.max_records)
        params = {"rows": rows, "start": start, "sort": "metadata_created asc, id asc", "fq": chosen or None}
        answer = self._fetcher.fetch(self._url, params=params, headers={"Accept": "application/json"})
        content = answer.json()
        if isinstance(content, Mapping) and content.get("success") is False:
            said = clean(content.get("error"), 200) or clean((content.get("error") or {}).get("message"), 200)
            raise InvalidInput(f"The source {self._section.name!r} answered with an error of CKAN: {said}.")
        bare = isinstance(content, list) and content and isinstance(content[0], Mapping)
        found = content if bare else listed(self._section, content, "result", "results")
        total = 0 if bare else content["result"].get("count")
        after = start + len(found)
        following = str(after) if found and isinstance(total, int) and after < total else None
        return read_page(found, self._read, _name, following, state={"since": changed_since(answer)})

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        if record.get("state", "active") != "active":
            raise InvalidInput(f"its state is {clean(record['state'], 40)}, not active")
        extras = _extras(record.get("extras"))
        organization = record.get("organization")
        owner = organization.get("title") if isinstance(organization, Mapping) else ""
        name = clean(record.get("name"), 200)
        start = next((extras[key] for key in _START if key in extras), None)
        end = next((extras[key] for key in _END if key in extras), None)
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=record.get("title") or name,
            description=plain(record.get("notes")),
            keywords=_tags(record.get("tags")),
            agency=extras.get("publisher") or owner,
            licence=record.get("license_url") or record.get("license_title"),
            landing_page=record.get("url") or (f"{self._site}/dataset/{name}" if name else ""),
            doi=record.get("doi") or extras.get("identifier"),
            modified=_moment(extras.get("modified") or record.get("metadata_modified")),
            access=_access(extras.get("accessLevel")),
            spatial=_dcat.spatial(extras.get("spatial") or record.get("spatial")),
            temporal=period(start, end) or _dcat.temporal(extras.get("temporal")),
            distributions=_distributions(record.get("resources")),
        )


def _name(record: Mapping[str, Any]) -> str:
    return clean(record.get("name") or record.get("id"), 300)


def _extras(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    entries = value if isinstance(value, list) else []
    return {str(e["key"]): e.get("value") for e in entries if isinstance(e, Mapping) and "key" in e}


def _tags(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else []
    return [
        clean(e.get("display_name") or e.get("name") if isinstance(e, Mapping) else e, 80) for e in entries
    ]


def _moment(value: Any) -> str:
    return re.sub(r"\.\d+$", "", clean(value, 60))


def _access(value: Any) -> str:
    level = clean(value, 60)
    return "" if level.lower() == "public" else level


def _distributions(value: Any) -> list[Distribution]:
    found = []
    for entry in value if isinstance(value, list) else []:
        url = web_address(entry.get("url")) if isinstance(entry, Mapping) else ""
        if url:
            kind = format_name(entry.get("mimetype"), entry.get("format"), url)
            title = clean(entry.get("name") or entry.get("description"), 200)
            found.append(Distribution(format=kind, url=url, title=title, size_bytes=size(entry.get("size"))))
    return found
