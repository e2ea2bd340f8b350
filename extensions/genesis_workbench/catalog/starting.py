"""Data that come along are records like others: they are kept in the store where they, or this version, changed."""

from __future__ import annotations

from collections.abc import Sequence

from genesis_workbench.catalog import writing
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import starter
from genesis_workbench.catalog.store import CatalogStore, SourceRow
from genesis_workbench.core.errors import Conflict
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.site import SourceSection


def section(sources: Sequence[SourceSection]) -> SourceSection:
    """Return what the site says of the data that come along, or what holds where it says nothing."""
    return next((s for s in sources if s.kind == starter.StarterSource.kind), starter.SECTION)


def keep(store: CatalogStore, section: SourceSection) -> None:
    """Write the data that come along into the store, if they are not what it has."""
    pages = list(starter.StarterSource(section).pages())
    records = [record for page in pages for record in page.records]
    mark = digest_json(
        [r.model_dump(mode="json") if isinstance(r, Dataset) else [r.identifier, r.reason] for r in records]
    )
    if store.state(section.name).get("digest") == mark:
        return
    row = SourceRow(section.name, section.title, section.agency, section.label, tuple(section.groups))
    try:
        writing.put(store, row, pages, state={"digest": mark})
    except Conflict:
        return  # another process starts at this moment, and writes the same
