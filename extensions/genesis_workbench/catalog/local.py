"""The catalog in this process, on the ledger's database."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.index import CatalogIndex
from genesis_workbench.catalog.result import (
    DISABLED,
    FRESH,
    NEVER,
    STALE,
    UNREACHABLE,
    SearchResult,
    SourceStatus,
)
from genesis_workbench.catalog.sources import starter
from genesis_workbench.catalog.store import CatalogStore, SourceRow
from genesis_workbench.core import clock
from genesis_workbench.core.access import Access, Person
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site, SourceSection

MAX_LIMIT = 200
_DEEPEST = 10_000


class Catalog(Protocol):
    """What both catalogs can do: the one in this process and the one behind the service.

    `person` is whose rights count. Behind the service it is whoever the token belongs to.
    """

    def search(
        self,
        text: str = "",
        *,
        person: Person,
        agency: str | None = None,
        format: str | None = None,  # noqa: A002 - the facet's name
        source: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchResult:
        """Return the hits of one page."""
        ...

    def get(self, dataset_id: str, person: Person) -> Dataset:
        """Return one record; NotFound also where `person` may not see it."""
        ...

    def sources(self, person: Person) -> list[SourceStatus]:
        """Return the state of every source."""
        ...

    def record_opening(self, dataset_id: str, person: Person) -> None:
        """Write into the ledger that `person` opened the dataset."""
        ...


class LocalCatalog:
    """Data that come along, and whatever was harvested.

    Parameters
    ----------
    ledger : Ledger
        Takes the events; its database holds the records.
    site : Site, optional
        Names the sources. Without it there are those that were harvested before.
    folder : Path, optional
        State folder. The index is kept in memory and made again where the records have changed, so that any number
        of processes can share one database; nothing is written here.
    """

    def __init__(self, ledger: Ledger, site: Site | None = None, folder: Path | None = None) -> None:
        self.ledger = ledger
        self.store = CatalogStore(ledger.engine)
        self._section = site.catalog if site is not None else CatalogSection()
        self._starter_section = next(
            (s for s in self._section.sources if s.kind == starter.StarterSource.kind), starter.SECTION
        )
        self._starter, self._starter_rejected = _read_starter(self._starter_section)
        self._lock = threading.Lock()
        self._index: CatalogIndex | None = None
        self._indexed = -1

    def search(
        self,
        text: str = "",
        *,
        person: Person,
        agency: str | None = None,
        format: str | None = None,  # noqa: A002 - the facet's name
        source: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchResult:
        """Search what `person` may see. See :func:`genesis_workbench.catalog.search`."""
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"A page can have 1 to {MAX_LIMIT} datasets, not {limit}.")
        offset = _offset(cursor)
        filters = {"agency": agency, "format": format, "source": source}
        hits = self._current().search(text[:500], person, filters=filters, limit=limit, offset=offset)
        found = self._read(hits.ids)
        # The records may be newer than the index: what may be seen is decided by them.
        items = [found[i] for i in hits.ids if i in found and found[i].access_rule.permits(person)]
        after = offset + limit
        return SearchResult(
            items=items,
            total=hits.total,
            next=_cursor(after) if after < min(hits.total, _DEEPEST) else None,
            facets=hits.facets,
            sources=self.sources(person),
            note=hits.note,
        )

    def get(self, dataset_id: str, person: Person) -> Dataset:
        """Return one record.

        Raises
        ------
        NotFound
            If there is none of that name, or `person` may not see it.
        """
        found = self._read([dataset_id]).get(dataset_id)
        if found is None or not found.access_rule.permits(person):
            raise NotFound(f"There is no dataset {dataset_id[:120]!r}. Look for it with catalog.search().")
        return found

    def sources(self, person: Person) -> list[SourceStatus]:
        """Return the state of every source that `person` may know of, with counts of what they may see."""
        counts = self._current().counts(person, "source")
        known = {row.name: row for row in self.store.sources()}
        statuses = []
        for section in self._sections(known):
            if Access(section.access_label, frozenset(section.groups)).permits(person):
                statuses.append(self._status(section, known.get(section.name), counts.get(section.name, 0)))
        return statuses

    def record_opening(self, dataset_id: str, person: Person) -> None:
        """Write the event ``dataset.opened``."""
        dataset = self.get(dataset_id, person)
        body = {"dataset": dataset.id, "source": dataset.source, "label": dataset.label}
        self.ledger.append(
            f"dataset/{dataset.id}",
            "dataset.opened",
            {**body, "digest": dataset.native_digest},
            actor=person.name,
        )

    def section(self, name: str) -> SourceSection:
        """Return what the site says of a source that can be harvested; NotFound where it names none such."""
        known = {s.name: s for s in self._section.sources if s is not self._starter_section and s.enabled}
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise NotFound(f"The site has no source {name[:120]!r} that can be harvested. It has: {listed}.")
        return known[name]

    def rejected(self, source: str) -> list[Rejected]:
        """Return which records of the last harvest could not be listed, and why."""
        return self._starter_rejected if source == self._starter_section.name else self.store.rejected(source)

    def _current(self) -> CatalogIndex:
        version = self.store.version()
        with self._lock:
            if self._index is None or version != self._indexed:
                hidden = {section.name for section in self._section.sources if not section.enabled}
                kept = (d for d in self.store.all() if d.source not in hidden and d.id not in self._starter)
                own = self._starter.values() if self._starter_section.enabled else ()
                self._index, self._indexed = CatalogIndex([*own, *kept]), version
            return self._index

    def _read(self, ids: list[str]) -> dict[str, Dataset]:
        own = {i: self._starter[i] for i in ids if i in self._starter and self._starter_section.enabled}
        hidden = {section.name for section in self._section.sources if not section.enabled}
        kept = self.store.get([i for i in ids if i not in own])
        return own | {i: dataset for i, dataset in kept.items() if dataset.source not in hidden}

    def _sections(self, known: Mapping[str, SourceRow]) -> list[SourceSection]:
        named = [s for s in self._section.sources if s is not self._starter_section]
        names = {s.name for s in named} | {self._starter_section.name}
        former = [
            SourceSection(
                name=row.name,
                kind="",
                title=row.title,
                agency=row.agency,
                label=row.label,
                groups=list(row.groups),
            )
            for row in known.values()
            if row.name not in names
        ]
        return [self._starter_section, *named, *former]

    def _status(self, section: SourceSection, row: SourceRow | None, records: int) -> SourceStatus:
        named = (section.name, section.title, section.agency)
        if not section.enabled:
            return SourceStatus(*named, DISABLED)
        if section is self._starter_section:
            reason = next((r.reason for r in self._starter_rejected), "")
            return SourceStatus(*named, FRESH, "", records, len(self._starter_rejected), reason)
        if row is None:
            return SourceStatus(*named, NEVER)
        if row.failing_since:
            return SourceStatus(*named, UNREACHABLE, row.failing_since, records, row.rejected, row.reason)
        late = clock.seconds_since(row.succeeded) > 2 * self._section.harvest_every_s
        return SourceStatus(
            *named, STALE if late else FRESH, row.succeeded, records, row.rejected, row.reason
        )


def _read_starter(section: SourceSection) -> tuple[dict[str, Dataset], list[Rejected]]:
    records = [record for page in starter.StarterSource(section).pages() for record in page.records]
    datasets = {record.id: record for record in records if isinstance(record, Dataset)}
    return datasets, [record for record in records if isinstance(record, Rejected)]


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode().rstrip("=")


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"{cursor[:40]!r} is not a cursor: pass on `next` of the page before.") from error
    if not 0 <= offset < _DEEPEST:
        raise InvalidInput("A search can be followed for 10,000 hits. Narrow it with words or a facet.")
    return offset


__all__ = ["Catalog", "LocalCatalog"]
