"""OSTI.gov: research results of the Department of Energy, data among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    follow,
    make_dataset,
    read_page,
    with_query,
)
from genesis_workbench.catalog.sources._values import clean, doi, kind_of, plain
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class OstiSource:
    """The records API of OSTI.gov, page after page.

    `url` of the section is the API's address; a query in it (``?product_type=Dataset``) narrows what is taken.
    """

    kind: ClassVar[str] = "osti"
    protocol: ClassVar[str] = "OSTI.gov records API"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._url = with_query(section.url, "/records")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a page number, on; with a state, of what was entered since that day."""
        since = (state or {}).get("since", "")
        year, _, rest = since[:10].partition("-")
        day = f"{rest.replace('-', '/')}/{year}" if rest else None  # the API's days are month/day/year
        return follow(lambda at: self._page(at, day), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        number = int(cursor) if cursor and cursor.isdigit() else 1
        rows = min(100, self._section.max_records)
        params = {"rows": rows, "page": number, "entry_date_start": since}
        answer = self._fetcher.fetch(self._url, params=params, headers={"Accept": "application/json"})
        content = answer.json()
        if not isinstance(content, list) or (not content and not answer.headers.get("x-total-count")):
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(content)} where a list of OSTI's records was expected."
            )
        total = answer.headers.get("x-total-count", "")
        more = total.isdigit() and number * rows < int(total) and content
        state = {"since": changed_since(answer)}
        return read_page(content, self._read, _name, str(number + 1) if more else None, state=state)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        if not _name(record):
            raise InvalidInput("it has no 'osti_id'")
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=record.get("title"),
            description=plain(record.get("description")),
            keywords=[word for each in _list(record.get("subjects")) for word in clean(each, 400).split(";")],
            agency=next((clean(each, 200) for each in _list(record.get("sponsor_orgs"))), ""),
            citation=_citation(record),
            landing_page=_page(record),
            doi=record.get("doi"),
            modified=record.get("entry_date"),
        )


def _name(record: Mapping[str, Any]) -> str:
    return clean(record.get("osti_id"), 60)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _page(record: Mapping[str, Any]) -> str:
    for link in _list(record.get("links")):
        if isinstance(link, Mapping) and link.get("rel") == "citation":
            return clean(link.get("href"), 2000)
    return f"https://www.osti.gov/biblio/{_name(record)}"


def _citation(record: Mapping[str, Any]) -> str:
    people = [clean(each, 200).partition(" [")[0] for each in _list(record.get("authors"))]
    year = clean(record.get("publication_date"), 40)[:4]
    known = doi(record.get("doi"))
    parts = ["; ".join(people[:8]) + (f" ({year})" if year else ""), clean(record.get("title"), 300)]
    return (
        ". ".join(part.rstrip(".") for part in parts if part)
        + "."
        + (f" https://doi.org/{known}" if known else "")
    )
