"""Samples in shards from what the catalog opens, and from simulators."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.training.feeding import Held
from genesis_workbench.training.shards import (
    ArrayShards,
    MadeShards,
    MemoryShards,
    TableShards,
    read_parquet,
    split,
    write_parquet,
)


def test_a_zarr_store_is_read_block_by_block(tmp_path):
    whole = xr.Dataset(
        {"t": (("place", "time"), np.arange(40.0).reshape(4, 10)), "h": ("time", np.arange(10.0))}
    )
    whole.to_zarr(tmp_path / "store.zarr", zarr_format=3, consolidated=False)
    shards = ArrayShards(xr.open_zarr(tmp_path / "store.zarr", chunks={}, consolidated=False), "time", size=4)
    assert shards.counts == (4, 4, 2)
    assert shards.read(2)["t"].tolist() == whole["t"].transpose("time", "place").to_numpy()[8:].tolist()
    with pytest.raises(InvalidInput, match="h has no dimension 'place'"):
        ArrayShards(whole, "place")


def test_partitions_of_parquet_are_shards_without_rows_that_lack_a_value(tmp_path):
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": [1, 2, 3, 4], "c": list("wxyz")})
    for number, part in enumerate((frame[:2], frame[1:2], frame[2:])):
        part.to_parquet(tmp_path / f"{number}.parquet")
    shards = TableShards(dd.read_parquet(str(tmp_path / "*.parquet")), ["a", "b"])
    assert shards.counts == (1, 2)
    assert shards.read(1)["a"].tolist() == [3.0, 4.0]
    with pytest.raises(InvalidInput, match="no column d"):
        TableShards(dd.from_pandas(frame, npartitions=1), ["d"])


def test_what_a_simulator_made_is_kept_and_made_again_where_it_is_damaged(tmp_path):
    made = []

    def make(shard):
        made.append(shard)
        return {"x": np.full((2, 3, 2), shard, "float32"), "n": np.array([shard, 7])}

    shards = MadeShards(tmp_path, [2, 2], make)
    for _ in range(2):
        again = shards.read(1)
    assert again["x"].shape == (2, 3, 2)
    assert again["x"].dtype == "float32"
    assert again["n"].tolist() == [1, 7]
    assert made == [1]
    kept = tmp_path / "shard-000001.parquet"
    kept.write_bytes(kept.read_bytes()[:-1])
    assert shards.read(1)["n"].tolist() == [1, 7]
    assert made == [1, 1]


def test_arrays_of_several_axes_come_back_from_parquet(tmp_path):
    columns = {"x": np.arange(24, dtype="float64").reshape(2, 3, 4), "z": np.array([1, 2], "int16")}
    write_parquet(tmp_path / "a.parquet", columns)
    back = read_parquet(tmp_path / "a.parquet")
    for name, column in columns.items():
        np.testing.assert_array_equal(back[name], column)
        assert back[name].dtype == column.dtype


def test_parts_are_disjoint_and_together_all():
    parts = list(split(101, 5))
    assert sorted(np.concatenate(parts).tolist()) == list(range(101))
    assert [len(part) for part in parts] == [81, 10, 10]


@pytest.mark.parametrize(("kept", "reads"), [(1000, 3), (10, 6)])
def test_held_samples_are_read_once_where_they_are_few(monkeypatch, kept, reads):
    shards, read = MemoryShards({"x": np.arange(10.0)}, size=4), []
    whole = MemoryShards.read
    monkeypatch.setattr(MemoryShards, "read", lambda self, shard: read.append(shard) or whole(self, shard))
    held = Held(shards, size=3, kept=kept)
    for _ in range(2):
        assert [batch["x"].tolist() for batch in held] == [[0, 1, 2], [3], [4, 5, 6], [7], [8, 9]]
    assert len(read) == reads
