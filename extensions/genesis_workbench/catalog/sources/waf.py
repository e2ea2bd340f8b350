"""Web-accessible folders: directories of a web server with one metadata record in each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.content import directory
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources import _iso
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    follow,
    make_dataset,
    read_page,
    validators,
)
from genesis_workbench.catalog.sources._files import Walk
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_PER_PAGE = 20


class WafSource:
    """Records in ISO 19139 or FGDC, one a file, found through the listings of a web server (Apache, IIS and others).

    `url` of the section is the address of the folder, or of one record. Folders below it are followed. Where the
    listing of one folder is what it was, nothing is fetched again: listings say when each file was changed.
    """

    kind: ClassVar[str] = "waf"
    protocol: ClassVar[str] = "web-accessible folder of ISO 19139 and FGDC"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages of records, if the listing has changed."""
        return follow(lambda at: self._page(at, None if at else state), cursor)

    def _page(self, cursor: str | None, state: Mapping[str, str] | None) -> Page:
        walk = Walk(self._section.url, cursor)
        records: list[Any] = []
        refused: list[Rejected] = []
        taken: Mapping[str, str] = {}
        while walk and len(records) + len(refused) < _PER_PAGE:
            url = walk.next()
            first = url == self._section.url
            try:
                answer, same = fetch_changed(self._fetcher, url, state if first else None)
                if same:
                    return Page([], state=state or {}, unchanged=True)
                below = list(self._below(answer.body, url))
                if not below:
                    records.append(_record(answer.body, url))
            except (InvalidInput, NotFound) as error:  # a broken file does not take the others with it
                if first:
                    raise
                refused.append(Rejected(url, error.message))
                continue
            walk.add(below)
            # Of a tree of folders the first listing says nothing about those below.
            taken = validators(answer) if first and not any(each.endswith("/") for each in below) else taken
        made = read_page(records, self._read, lambda record: record["name"], walk.cursor, state=taken)
        return Page([*made.records, *refused], made.cursor, made.natives, state=taken)

    def _below(self, body: bytes, url: str) -> Iterator[str]:
        """Yield what a listing leads to: records and folders, on the same host and below this one."""
        if body.lstrip()[:5].lower() == b"<?xml":
            return
        for address in directory.below(body, url):
            path = urlsplit(address).path
            if path.lower().endswith(".xml") or path.endswith("/"):
                yield address

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        fields = _iso.fields(record["element"])
        return make_dataset(self._section, {"#text": record["#text"]}, identifier=record["name"], **fields)


def _record(body: bytes, url: str) -> Mapping[str, Any]:
    root = xml.parse(body, "a metadata record or a listing of them")
    if not _iso.is_record(root):
        raise InvalidInput(
            f"<{xml.local(root)[:60]}> is neither a listing of records nor one in ISO 19139 or FGDC."
        )
    return xml.record(root, name=_iso.identifier(root, url))
