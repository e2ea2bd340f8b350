"""Tables in CSV files as dask DataFrames."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import attributes, verified_file

if TYPE_CHECKING:
    import pandas as pd


class TableOpener:
    """Opens a CSV file whose columns and types the record names."""

    formats: ClassVar[tuple[str, ...]] = ("csv",)

    def open(self, dataset: Dataset, distribution: Distribution, places: Places) -> Any:
        """Open lazily as one partition: the file is read when something is computed.

        ``attrs["units"]`` has the unit of each column that has one.
        """
        import dask.dataframe as dd

        path = verified_file(distribution.url, distribution.checksum)
        units: dict[str, str] = {}
        if "units_row" in distribution.options:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                head = next(rows)
                for _ in range(distribution.options["units_row"]):
                    row = next(rows)
            units = {name: unit for name, unit in zip(head[1:], row[1:], strict=True) if unit}
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
