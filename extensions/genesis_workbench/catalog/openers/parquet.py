"""Parquet files as Dask DataFrames, one partition for each row group, or as DuckDB relations.

Guarded: row groups larger than memory by what they declare, other files and addresses for DuckDB. Not guarded: Arrow and
DuckDB are C++, and a page that declares less than it unpacks to is found out while it is read.
"""

from __future__ import annotations

from typing import Any, ClassVar

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import MAX_BLOCK_BYTES, reading, sniffed
from genesis_workbench.catalog.openers._table import check_engine, relation
from genesis_workbench.core.errors import InvalidInput, TooLarge


class ParquetOpener:
    """Opens one file."""

    formats: ClassVar[tuple[str, ...]] = ("parquet",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        columns: list[str] | None = None,
        engine: str = "dask",
    ) -> Any:
        """Open lazily: only the schema is read.

        Parameters
        ----------
        columns : list of str, optional
            The columns to open; all where not given.
        engine : str
            'dask' for a DataFrame, 'duckdb' for a relation (the file is fetched whole where it is remote).
        """
        check_engine(engine)
        content = places.content(distribution)
        sniffed(content, "parquet")
        if engine == "duckdb":
            found = relation(content.path(), "read_parquet")
            if columns:
                found.relation = found.relation.select(*columns)
            return found
        import dask.dataframe as dd
        import pyarrow.parquet as pq

        with reading(content.name), content.open() as stream:
            file = pq.ParquetFile(stream)
            schema, described = file.schema_arrow, file.metadata
            sizes = [described.row_group(n).total_byte_size for n in range(described.num_row_groups)]
        unknown = sorted(set(columns or ()) - set(schema.names))
        if unknown:
            raise InvalidInput(f"{content.name!r} has no columns {unknown}; it has {schema.names[:50]}.")
        if max(sizes, default=0) > MAX_BLOCK_BYTES:
            raise TooLarge(
                f"{content.name!r} declares row groups of {max(sizes):,} bytes; at most {MAX_BLOCK_BYTES:,} are read."
            )
        empty = schema.empty_table().to_pandas()
        if columns:
            empty = empty[columns]
        frame = dd.from_map(
            _group,
            list(range(max(len(sizes), 1))),
            content=content,
            columns=columns,
            meta=empty,
            label=dataset.id,
        )
        frame.attrs = {}
        return frame


def _group(number: int, content: Content, columns: list[str] | None) -> Any:
    import pyarrow.parquet as pq

    with reading(content.name), content.open() as stream:
        file = pq.ParquetFile(stream)
        if file.metadata.num_row_groups == 0:
            found = file.schema_arrow.empty_table().to_pandas()
            return found[columns] if columns else found
        return file.read_row_group(number, columns=columns).to_pandas()
