"""Tables in CSV files as dask DataFrames or DuckDB relations: described by the record, or by their own first lines."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.content.file import head
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers import _csv
from genesis_workbench.catalog.openers._base import attributes, verified_file
from genesis_workbench.catalog.openers._table import check_engine, relation

if TYPE_CHECKING:
    import pandas as pd


class TableOpener:
    """Opens a CSV file; columns and types are the record's where it names them, else the file's own."""

    formats: ClassVar[tuple[str, ...]] = ("csv", "tsv")

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        engine: str = "dask",
        dtype: dict[str, str] | None = None,
    ) -> Any:
        """Open lazily: the file is read when something is computed.

        Parameters
        ----------
        engine : str
            'dask' for a DataFrame, 'duckdb' for a relation (the file is fetched whole where it is remote).
        dtype : dict, optional
            Types of some columns, where the first rows do not show them.

        ``attrs["units"]`` has the unit of each column that has one.
        """
        check_engine(engine)
        if engine == "duckdb":
            return relation(places.content(distribution).path(), "read_csv")
        if "columns" in distribution.options:
            return self._described(dataset, distribution)
        return self._undescribed(dataset, places.content(distribution), dtype or {})

    def _undescribed(self, dataset: Dataset, content: Content, dtype: dict[str, str]) -> Any:
        import dask.dataframe as dd

        known = attributes(dataset)
        if head(content, 2) == b"\x1f\x8b":
            frame = dd.from_pandas(_csv.unpacked_frame(content, known), npartitions=1)
            frame.attrs = known
            return frame
        table, empty = _csv.describe(content, dtype)
        frame = dd.from_map(
            _csv.read_block, _csv.blocks(table), table=table, attrs=known, meta=empty, label=dataset.id
        )
        frame.attrs = known
        return frame

    def _described(self, dataset: Dataset, distribution: Distribution) -> Any:
        import dask.dataframe as dd

        path = verified_file(distribution.url, distribution.checksum)
        units: dict[str, str] = {}
        if "units_row" in distribution.options:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                names = next(rows)
                for _ in range(distribution.options["units_row"]):
                    row = next(rows)
            units = {name: unit for name, unit in zip(names[1:], row[1:], strict=True) if unit}
        # What the record says wins: a file writes C for degrees Celsius, which pint reads as coulomb.
        known = {**attributes(dataset), "units": units | distribution.options.get("units", {})}
        empty = _read(distribution.url, distribution, known, nrows=0)
        frame = dd.from_map(
            _read, [distribution.url], distribution=distribution, attrs=known, meta=empty, label=dataset.id
        )
        # dask's DataFrame has no attrs of its own; what is computed from it gets them from the partition.
        frame.attrs = known
        return frame


def _read(
    url: str, distribution: Distribution, attrs: dict[str, Any], nrows: int | None = None
) -> pd.DataFrame:
    import pandas as pd

    options = distribution.options
    table = pd.read_csv(
        verified_file(url, distribution.checksum),
        dtype=options["columns"],
        usecols=list(options["columns"]),
        skiprows=options.get("skip_rows"),
        nrows=nrows,
        encoding="utf-8",
    )
    for name, form in options.get("dates", {}).items():
        table[name] = pd.to_datetime(table[name], format=form).astype("datetime64[ns]")
    table.attrs.update(attrs)
    return table
