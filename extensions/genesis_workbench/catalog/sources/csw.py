"""Catalog Service for the Web: how geographic data have been catalogued since 2005."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _dublin, _iso
from genesis_workbench.catalog.sources._base import Page, follow, make_dataset, read_page
from genesis_workbench.catalog.sources._values import clean
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_GMD = "http://www.isotc211.org/2005/gmd"


class CswSource:
    """All records of a CSW 2.0.2, page after page by position, as ISO 19139; as Dublin Core where it has no other.

    `url` of the section is the service's address; what is in its query goes with every request
    (``?outputSchema=http://www.opengis.net/cat/csw/2.0.2`` asks for Dublin Core).
    """

    kind: ClassVar[str] = "csw"
    protocol: ClassVar[str] = "CSW 2.0.2 with ISO 19139 or Dublin Core"
    incremental: ClassVar[bool] = False  # its filters by time are optional, and seldom right

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a position, on, whatever the state."""
        return follow(self._page, cursor)

    def _page(self, cursor: str | None) -> Page:
        start = int(cursor) if cursor and cursor.isdigit() else 1
        params = {
            "service": "CSW",
            "version": "2.0.2",
            "request": "GetRecords",
            "resultType": "results",
            "elementSetName": "full",
            "typeNames": "csw:Record",
            "startPosition": start,
            "maxRecords": min(50, self._section.max_records),
            "outputSchema": None if "outputSchema=" in self._section.url else _GMD,
        }
        answer = self._fetcher.fetch(
            self._section.url, params=params, headers={"Accept": "application/xml, text/xml"}
        )
        root = xml.parse(answer.body, "an answer of a CSW")
        found = xml.first(root, "SearchResults")
        single = xml.local(root) == "GetRecordByIdResponse"
        if found is None and not single:
            said = clean(" ".join(xml.texts(root, "Exception")), 200) or f"<{xml.local(root)[:60]}>"
            raise InvalidInput(f"The source {self._section.name!r} sent no search results, but: {said}.")
        elements = list(root if single else found)
        records = [xml.record(each, name=_name(each)) for each in elements]
        after = xml.attribute(found, "nextRecord")
        more = after.isdigit() and int(after) > start and records
        return read_page(records, self._read, lambda record: record["name"], after if more else None)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        element = record["element"]
        core = "Record" in xml.local(element)
        fields = _dublin.fields(element, xml.text(element, "modified")) if core else _iso.fields(element)
        return make_dataset(self._section, {"#text": record["#text"]}, identifier=record["name"], **fields)


def _name(element: Any) -> str:
    return _iso.identifier(element) or clean(xml.text(element, "identifier"), 400)
