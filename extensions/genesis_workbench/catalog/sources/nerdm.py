"""NIST's Public Data Repository: records in NERDm, NIST's extension of DCAT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources import _dcat
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    follow,
    listed,
    make_dataset,
    read_page,
    validators,
    with_query,
)
from genesis_workbench.catalog.sources._values import clean, format_name, size, web_address
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class NerdmSource:
    """The record search of NIST's repository, page after page.

    `url` of the section is the address of the resource metadata manager (``https://data.nist.gov/rmm``).
    """

    kind: ClassVar[str] = "nerdm"
    protocol: ClassVar[str] = "NIST PDR, NERDm records"
    incremental: ClassVar[bool] = False  # the search has no time of change

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._url = with_query(section.url, "/records")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a page number, on; where one page is all, only if it has changed."""
        return follow(lambda at: self._page(at, None if at else state), cursor)

    def _page(self, cursor: str | None, state: Mapping[str, str] | None) -> Page:
        number = int(cursor) if cursor and cursor.isdigit() else 1
        rows = min(100, self._section.max_records)
        params = {"page": number, "size": rows}
        answer, same = fetch_changed(
            self._fetcher, self._url, state, params=params, headers={"Accept": "application/json"}
        )
        if same:
            return Page([], state=state or {}, unchanged=True)
        content = answer.json()
        one = isinstance(content, Mapping) and "ResultData" not in content and content.get("ediid")
        found = [content] if one else listed(self._section, content, "ResultData")
        total = content.get("ResultCount")
        # A server that ignores the size sends everything at once.
        more = (
            isinstance(total, int)
            and not isinstance(total, bool)
            and len(found) == rows
            and number * rows < total
        )
        following = str(number + 1) if more else None
        taken = validators(answer) if number == 1 and not more else {}
        return read_page(found, self._read, _name, following, state=taken)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        if not record.get("_schema") and not record.get("ediid"):
            raise InvalidInput("it has neither '_schema' nor 'ediid', which NERDm requires")
        publisher = record.get("publisher")
        described = record.get("description")
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=record.get("title"),
            description=" ".join(map(str, described)) if isinstance(described, list) else described,
            keywords=record.get("keyword"),
            agency=publisher.get("name") if isinstance(publisher, Mapping) else "",
            licence=record.get("license"),
            citation=record.get("citation"),
            landing_page=record.get("landingPage"),
            doi=record.get("doi"),
            access=_access(record.get("accessLevel")),
            modified=record.get("modified"),
            temporal=_dcat.temporal(record.get("temporal")),
            spatial=_dcat.spatial(record.get("spatial")),
            distributions=_distributions(record.get("components")),
        )


def _name(record: Mapping[str, Any]) -> str:
    return clean(record.get("ediid") or record.get("@id"), 300)


def _access(value: Any) -> str:
    level = clean(value, 60)
    return "" if level == "public" else level


def _distributions(value: Any) -> list[Distribution]:
    found = []
    for entry in value if isinstance(value, list) else []:
        url = (
            web_address(entry.get("downloadURL") or entry.get("accessURL"))
            if isinstance(entry, Mapping)
            else ""
        )
        if not url or url.endswith(".sha256"):  # each file of the repository has a checksum file beside it
            continue
        checksum = entry.get("checksum")
        digest = clean(checksum.get("hash"), 100) if isinstance(checksum, Mapping) else ""
        found.append(
            Distribution(
                format=format_name(entry.get("mediaType"), url),
                url=url,
                title=clean(entry.get("title") or entry.get("filepath"), 200),
                size_bytes=size(entry.get("size")),
                checksum=f"sha256:{digest.lower()}" if len(digest) == 64 and digest.isalnum() else None,
            )
        )
    return found
