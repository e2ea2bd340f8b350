"""Samples in shards: of a table or an array of the catalog, or made by a simulator and kept.

A shard is a dictionary of numpy arrays whose first axis counts samples. What is larger than memory is read a window
of shards at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.storage import write_whole

if TYPE_CHECKING:
    import xarray as xr

Columns = dict[str, np.ndarray]


class Shards(Protocol):
    """Samples that can be read a shard at a time, by any number of processes, the same each time."""

    counts: tuple[int, ...]

    def read(self, shard: int) -> Columns:
        """Return one shard: arrays that all have ``counts[shard]`` rows."""
        ...


class MemoryShards:
    """Samples that fit into memory, cut into shards.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        Arrays with the same number of rows.
    size : int
        Rows of a shard.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], size: int = 1024) -> None:
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise InvalidInput(
                f"The columns must all have the same number of rows, at least one; they have {lengths}."
            )
        total = next(iter(lengths.values()))
        self._columns, self._size = dict(columns), size
        self.counts = tuple(min(size, total - at) for at in range(0, total, size))

    def read(self, shard: int) -> Columns:
        """Return one shard. See :class:`Shards`."""
        begin = shard * self._size
        return {name: column[begin : begin + self._size] for name, column in self._columns.items()}


class ArrayShards:
    """Blocks of an xarray dataset along one dimension, as ``gw.open`` gives it for Zarr, NetCDF and HDF5.

    Parameters
    ----------
    dataset : xarray.Dataset
        Its variables become columns; each must have the dimension, and is read with it in front.
    dimension : str
        What counts samples.
    size : int
        Samples of a shard; take a multiple of the chunks on disk.
    transform : callable, optional
        Makes a shard's columns into others, one row for each sample still.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        dimension: str,
        size: int = 1024,
        transform: Callable[[Columns], Columns] | None = None,
    ) -> None:
        lacking = [str(name) for name, array in dataset.data_vars.items() if dimension not in array.dims]
        if lacking or dimension not in dataset.dims:
            raise InvalidInput(
                f"{', '.join(lacking) or 'The dataset'} has no dimension {dimension!r} to count samples by. It has "
                f"{', '.join(map(str, dataset.dims))}. Choose variables and dimension that go together."
            )
        self._dataset, self._dimension, self._size = dataset, dimension, size
        self._transform = transform or dict
        total = dataset.sizes[dimension]
        self.counts = tuple(min(size, total - at) for at in range(0, total, size))

    def read(self, shard: int) -> Columns:
        """Return one shard. See :class:`Shards`."""
        begin = shard * self._size
        block = self._dataset.isel({self._dimension: slice(begin, begin + self._size)}).load(scheduler="sync")
        columns = {
            str(name): array.transpose(self._dimension, ...).to_numpy()
            for name, array in block.data_vars.items()
        }
        return self._transform(columns)


class TableShards:
    """Partitions of a Dask DataFrame, as ``gw.open`` gives it for Parquet and text.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        The table.
    columns : sequence of str
        Numeric columns that are read; rows in which one of them is missing are left out.
    """

    def __init__(self, frame: Any, columns: Sequence[str]) -> None:
        lacking = [name for name in columns if name not in frame.columns]
        if lacking:
            raise InvalidInput(
                f"The table has no column {', '.join(lacking)}. It has {', '.join(map(str, frame.columns))[:500]}."
            )
        self._frame = frame[list(columns)].dropna()
        self._columns = tuple(columns)
        lengths = self._frame.map_partitions(len, meta=(None, "int64")).compute(scheduler="sync")
        counts = [(number, int(length)) for number, length in enumerate(lengths) if length]
        if not counts:
            raise InvalidInput(f"No row of the table has all of {', '.join(columns)}. Choose other columns.")
        self._partitions = [number for number, _ in counts]
        self.counts = tuple(length for _, length in counts)

    def read(self, shard: int) -> Columns:
        """Return one shard. See :class:`Shards`."""
        part = self._frame.partitions[self._partitions[shard]].compute(scheduler="sync")
        return {name: part[name].to_numpy() for name in self._columns}


class MadeShards:
    """Shards that a simulator makes when they are first asked for, and that are kept as Parquet files.

    Parameters
    ----------
    folder : Path
        Where they are kept. Several processes may share it: they make the same shard, and one of them keeps it.
    counts : sequence of int
        Samples of each shard.
    make : callable
        Returns shard number n; it must give the same for the same n.
    """

    def __init__(self, folder: Path, counts: Sequence[int], make: Callable[[int], Columns]) -> None:
        self.folder, self.counts, self._make = folder, tuple(counts), make

    def read(self, shard: int) -> Columns:
        """Return one shard, as it was kept or made anew where it is missing or damaged."""
        path = self.folder / f"shard-{shard:06}.parquet"
        try:
            return read_parquet(path)
        except (FileNotFoundError, VerificationFailed):
            columns = self._make(shard)
            write_parquet(path, columns)
            return columns


def write_parquet(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a Parquet file in one step, with its hash beside it. Axes but the first become fixed-size lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = {}
    for name, column in columns.items():
        array = pa.array(np.ascontiguousarray(column).reshape(-1))
        for length in reversed(column.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, length)
        fields[name] = array
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(fields), sink)
    data = sink.getvalue().to_pybytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    write_whole(path.with_suffix(".sha256"), digest(data).encode())


def read_parquet(path: Path) -> Columns:
    """Read what :func:`write_parquet` wrote.

    Raises
    ------
    FileNotFoundError
        If it is not there, or was not finished.
    VerificationFailed
        If it is not what was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, data = path.with_suffix(".sha256").read_text(), path.read_bytes()
    if digest(data) != wanted:
        raise VerificationFailed(f"{path.name} has other content than was written: it is damaged. Delete it.")
    columns = {}
    for field in (table := pq.read_table(pa.BufferReader(data))).schema:
        array, shape = table[field.name].combine_chunks(), [table.num_rows]
        while pa.types.is_fixed_size_list(array.type):
            shape.append(array.type.list_size)
            array = array.flatten()
        columns[field.name] = array.to_numpy(zero_copy_only=False).reshape(shape)
    return columns


def split(total: int, seed: int, *, validation: float = 0.1, test: float = 0.1) -> Iterator[np.ndarray]:
    """Yield row numbers for training, validation and test: disjoint, together all, the same for the same seed."""
    rows = np.random.default_rng([seed, 7]).permutation(total)
    first, second = int(total * test), int(total * (test + validation))
    yield from (np.sort(rows[second:]), np.sort(rows[first:second]), np.sort(rows[:first]))
