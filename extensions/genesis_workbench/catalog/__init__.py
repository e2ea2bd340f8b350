"""Find any dataset of any source in one ranked search, and open it lazily in one call.

The engine is a library: it lists, searches, opens and harvests with a database to write to. Inside the hub the same
calls ask the service instead. What belongs to one protocol is in ``sources``, what belongs to one format in
``openers``; nothing here knows of experiments, models or the hub. Importing it is light.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

# Imported before the function of the same name below is defined: a later first import would put the folder in its place.
from genesis_workbench.catalog import sources as _protocols  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genesis_workbench.catalog.dataset import Dataset
    from genesis_workbench.catalog.federation import ItemResult
    from genesis_workbench.catalog.local import Catalog
    from genesis_workbench.catalog.result import SearchResult, SourceStatus
    from genesis_workbench.core.access import Person
    from genesis_workbench.core.site import SourceSection

__all__ = ["cite", "get", "items", "open", "search", "sources"]


def search(
    text: str = "",
    *,
    agency: str | None = None,
    field: str | None = None,
    format: str | None = None,  # noqa: A002 - the facet's name
    licence: str | None = None,
    label: str | None = None,
    year: int | None = None,
    source: str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    period: tuple[str | None, str | None] | None = None,
    sort: str = "relevance",
    by_meaning: bool = False,
    limit: int = 20,
    cursor: str | None = None,
) -> SearchResult:
    """Search all sources at once.

    Parameters
    ----------
    text : str
        Words, "phrases", ``field:word``, ``-excluded``, ``OR`` and brackets; empty for everything. See
        docs/reference/search.md.
    agency, field, format, licence, label, source : str, optional
        Only records with exactly this value; `facets` of a result lists the values there are. `field` is the field
        of science.
    year : int, optional
        Only records last changed in this year.
    bbox : tuple of float, optional
        Only records whose box touches this one: west, south, east, north in degrees; west > east crosses the date line.
    period : tuple of str, optional
        Only records whose period touches this one: start and end as ISO 8601 dates, None for an open end.
    sort : str
        ``relevance``, ``newest`` or ``title``.
    by_meaning : bool
        Look also for keywords of the catalog that are near in meaning to the words; the result's `note` names them. The
        site must have an embedding model for it.
    limit : int
        Most hits of one page, up to 200.
    cursor : str, optional
        `next` of the page before.

    Returns
    -------
    SearchResult
        Hits in order of rank, and the state of every source: what could not be reached is said.

    Raises
    ------
    InvalidInput
        If the text cannot be read, with the position and a hint, or another argument cannot be used.
    """
    return _catalog().search(
        text,
        person=_person(),
        agency=agency,
        field=field,
        format=format,
        licence=licence,
        label=label,
        year=year,
        source=source,
        bbox=bbox,
        period=period,
        sort=sort,
        by_meaning=by_meaning,
        limit=limit,
        cursor=cursor,
    )


def items(
    text: str = "",
    *,
    collections: Sequence[str] = (),
    bbox: tuple[float, float, float, float] | None = None,
    start: str = "",
    end: str = "",
    elements: Sequence[str] = (),
    limit: int = 50,
    deadline_s: float = 10,
) -> ItemResult:
    """Ask the sources that have scenes, granules, structures or tables for them, live and at once.

    Parameters
    ----------
    text : str
        Words, for sources that search by them (ERDDAP).
    collections : sequence of str
        Names of collections, as the sources call them (STAC, CMR).
    bbox : tuple of float, optional
        West, south, east, north in degrees.
    start, end : str
        Period, ISO 8601; empty where it is open.
    elements : sequence of str
        Chemical symbols that must all be in a structure (OPTIMADE).
    limit : int
        Most items of each source.
    deadline_s : float
        Seconds after which what has not answered is left.

    Returns
    -------
    ItemResult
        What came in time, and of each source how it answered: answered, slow, failed and why, or not asked.
    """
    from genesis_workbench.catalog.federation import ItemResult, federate
    from genesis_workbench.catalog.sources._items import ItemQuery
    from genesis_workbench.core.service import service

    remote = service()
    if remote is not None:
        asked = {
            "q": text or None,
            "collection": list(collections) or None,
            "bbox": ",".join(map(str, bbox)) if bbox else None,
            "start": start or None,
            "end": end or None,
            "element": list(elements) or None,
        }
        return ItemResult.from_dict(remote.get("catalog/items", **asked, limit=limit, deadline_s=deadline_s))
    query = ItemQuery(text, tuple(collections), bbox, start, end, tuple(elements), limit)
    with federate(_site_sources(), query, person=_person(), deadline_s=deadline_s) as found:
        return found.wait().result()


def get(dataset_id: str) -> Dataset:
    """Return the record of one dataset; NotFound where there is none that one may see."""
    return _catalog().get(dataset_id, _person())


def open(dataset_id: str, **options: Any) -> Any:  # noqa: A001 - catalog.open is what people type
    """Open a dataset lazily: nothing is read but shape and types until something is computed.

    Parameters
    ----------
    dataset_id : str
        `id` of a hit.
    **options
        For every format: `distribution` (which of the ways to get it, counted from 0) and `max_bytes` (most that is read
        of a remote file). Others are the opener's, such as ``chunks={"latitude": 540}`` for grids or ``engine="duckdb"``
        for tables; see docs/how-to/open-data.md.

    Returns
    -------
    xarray.Dataset, dask.dataframe.DataFrame, duckdb.DuckDBPyRelation or ase.Atoms
        For arrays, tables and structures; `attrs` (of structures, `info`) has id, version, licence, citation, label and
        source of the data. ``gw.cite`` takes any of them.

    Raises
    ------
    InvalidInput
        If it cannot be opened here, with the reason and what would help.
    MissingDependency
        With the command that installs what its format needs.
    """
    from genesis_workbench.catalog.opening import open_dataset

    catalog, person = _catalog(), _person()
    opened = open_dataset(catalog.get(dataset_id, person), **options)
    catalog.record_opening(dataset_id, person)
    return opened


def sources() -> list[SourceStatus]:
    """Return the state of every source: fresh, stale, unreachable, never harvested or disabled, and since when."""
    return _catalog().sources(_person())


def cite(thing: Any) -> str:
    """Return how to cite a dataset, by its `id`, its record, or whatever was opened of it."""
    from genesis_workbench.catalog import citation

    return citation.cite(get(thing) if isinstance(thing, str) else thing)


def _site_sources() -> list[SourceSection]:
    """Return the sources of the site file that the environment names; none without one."""
    import os
    from pathlib import Path

    from genesis_workbench.core.site import SITE_VARIABLE, load_site

    named = os.environ.get(SITE_VARIABLE)
    return load_site(Path(named)).catalog.sources if named else []


@cache
def _catalog() -> Catalog:
    from genesis_workbench.core.service import local_state, service

    remote = service()
    if remote is not None:
        from genesis_workbench.catalog.remote import RemoteCatalog

        return RemoteCatalog(remote)
    from genesis_workbench.catalog.local import LocalCatalog
    from genesis_workbench.core.ledger import Ledger
    from genesis_workbench.core.state import State

    state = State(local_state())
    return LocalCatalog(Ledger.open(state.ledger_url()), None, state.folder)


def _person() -> Person:
    """Return who asks: the account of the operating system; behind the service the token says it."""
    from genesis_workbench.core.access import Person
    from genesis_workbench.core.service import me, service

    return me() if service() is None else Person(name="")
