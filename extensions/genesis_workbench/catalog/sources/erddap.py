"""ERDDAP: grids and tables of the ocean and the atmosphere, at NOAA and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    listed,
    make_dataset,
    read_page,
    validators,
)
from genesis_workbench.catalog.sources._items import BBOX, TEXT, TIME, Item, ItemQuery
from genesis_workbench.catalog.sources._values import box, clean, period, plain, web_address
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_COLUMNS = (
    "datasetID,accessible,institution,dataStructure,cdm_data_type,title,minLongitude,maxLongitude,minLatitude,"
    "maxLatitude,minTime,maxTime,griddap,tabledap,infoUrl,summary"
)
_INFO = ["Row Type", "Variable Name", "Attribute Name", "Data Type", "Value"]


class ErddapSource:
    """All datasets of a server, by its own table of them; or one dataset, by its description.

    `url` of the section is the server's address (``https://coastwatch.pfeg.noaa.gov/erddap``), or that of a
    description (``.../info/<dataset>/index.json``).
    """

    kind: ClassVar[str] = "erddap"
    protocol: ClassVar[str] = "ERDDAP"
    incremental: ClassVar[bool] = False  # its table does not say when a dataset changed
    item_terms: ClassVar[frozenset[str]] = frozenset({TEXT, BBOX, TIME})

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, marker, rest = section.url.partition("/info/")
        self._one = rest.partition("/")[0] if marker else ""
        self._base = base.rstrip("/")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the one page there is, if it has changed."""
        table = f"{self._base}/tabledap/allDatasets.json?{quote(_COLUMNS, safe='')}"
        url = self._section.url if self._one else table
        answer, same = fetch_changed(self._fetcher, url, state, headers={"Accept": "application/json"})
        if same:
            yield Page([], state=state or {}, unchanged=True)
            return
        columns, rows = self._table(answer.json())
        if columns == _INFO:
            records: list[Any] = [_described(rows, self._one)]
        elif "datasetID" in columns:
            records = [
                dict(zip(columns, row, strict=False)) if isinstance(row, list) else row for row in rows
            ]
            records = [
                r for r in records if not (isinstance(r, Mapping) and r.get("datasetID") == "allDatasets")
            ]
        else:
            raise InvalidInput(
                f"The source {self._section.name!r} sent a table without a column 'datasetID'."
            )
        yield read_page(records, self._read, lambda record: record.get("datasetID"), state=validators(answer))

    def _table(self, content: Any) -> tuple[list[str], list[Any]]:
        rows = listed(self._section, content, "table", "rows")
        return [clean(name, 80) for name in listed(self._section, content, "table", "columnNames")], rows

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        name = clean(record.get("datasetID"), 200)
        access = clean(record.get("accessible"), 40)
        return make_dataset(
            self._section,
            record,
            identifier=name,
            title=record.get("title"),
            description=plain(record.get("summary")),
            keywords=record.get("keywords"),
            agency=record.get("institution"),
            licence=plain(record.get("license"), 300),
            landing_page=web_address(record.get("infoUrl")) or f"{self._base}/info/{name}/index.html",
            access="" if access in ("", "public", "yes") else access,
            modified=record.get("date_modified"),
            spatial=_box(record),
            temporal=period(record.get("minTime"), record.get("maxTime")),
            distributions=self._distributions(record, name),
        )

    def _distributions(self, record: Mapping[str, Any], name: str) -> list[Distribution]:
        grid = web_address(record.get("griddap"))
        table = web_address(record.get("tabledap"))
        structure = clean(record.get("dataStructure") or record.get("cdm_data_type"), 40).lower()
        if not grid and not table:
            grid = f"{self._base}/griddap/{name}" if structure == "grid" else ""
            table = f"{self._base}/tabledap/{name}" if structure != "grid" else ""
        found = [Distribution(format="opendap", url=address) for address in (grid, table) if address]
        found += [Distribution(format="csv", url=f"{table}.csv", title="All columns as CSV")] if table else []
        return found

    def items(self, query: ItemQuery) -> Iterator[Item]:
        """Yield the tables that the server's search finds, each with an address that gives the rows asked for."""
        params: dict[str, Any] = {
            "page": 1,
            "itemsPerPage": query.limit,
            "searchFor": query.text or None,
            "protocol": "tabledap",
            "minTime": query.start or None,
            "maxTime": query.end or None,
        }
        if query.bbox:
            params.update(zip(("minLon", "minLat", "maxLon", "maxLat"), query.bbox, strict=True))
        try:
            content = self._fetcher.get_json(f"{self._base}/search/advanced.json", params=params)
        except NotFound:  # its way to say that nothing was found
            return
        columns, rows = self._table(content)
        for row in rows[: query.limit]:
            record = dict(zip(columns, row, strict=False)) if isinstance(row, list) else {}
            name, table = clean(record.get("Dataset ID"), 200), web_address(record.get("tabledap"))
            if not name or not table or name == "allDatasets":
                continue
            yield Item(
                id=name,
                title=clean(record.get("Title"), 300) or name,
                source=self._section.name,
                landing_page=web_address(record.get("Info")) or f"{self._base}/info/{name}/index.html",
                properties={"institution": clean(record.get("Institution"), 200)},
                distributions=[Distribution(format="csv", url=_rows_address(table, query))],
            )


def _rows_address(table: str, query: ItemQuery) -> str:
    """Return the address of the rows in the period and box that were asked for."""
    limits = [f"time>={query.start}" if query.start else "", f"time<={query.end}" if query.end else ""]
    if query.bbox:
        west, south, east, north = query.bbox
        limits += [f"longitude>={west}", f"longitude<={east}", f"latitude>={south}", f"latitude<={north}"]
    chosen = "&".join(quote(limit, safe="=") for limit in limits if limit)
    return f"{table}.csv" + (f"?&{chosen}" if chosen else "")


def _box(record: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    edges = [record.get(f"{side}") for side in ("minLongitude", "minLatitude", "maxLongitude", "maxLatitude")]
    try:
        west, south, east, north = (float(edge) for edge in edges)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return box([west, south, east, north])


def _described(rows: list[Any], name: str) -> dict[str, Any]:
    """Make of a dataset's description the record that the table of all datasets would have."""
    said = {
        row[2]: row[4]
        for row in rows
        if isinstance(row, list) and len(row) == 5 and row[:2] == ["attribute", "NC_GLOBAL"]
    }
    sides = {
        "minLongitude": "geospatial_lon_min",
        "maxLongitude": "geospatial_lon_max",
        "minLatitude": "geospatial_lat_min",
        "maxLatitude": "geospatial_lat_max",
        "minTime": "time_coverage_start",
        "maxTime": "time_coverage_end",
    }
    return {
        **{key: said.get(attribute) for key, attribute in sides.items()},
        **{
            key: said.get(key)
            for key in ("institution", "title", "summary", "keywords", "license", "infoUrl")
        },
        "cdm_data_type": said.get("cdm_data_type"),
        "date_modified": said.get("date_modified"),
        "datasetID": name or said.get("id"),
        "rows": rows,
    }
