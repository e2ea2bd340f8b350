"""Files of a series are found as one dataset beside each of them, and open as one cube."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.sources._series import Series
from genesis_workbench.catalog.sources.folder import FolderSource
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


def told(*names: str) -> list[str]:
    series = Series()
    return [pattern for pattern in map(series.add, names) if pattern]


def test_a_series_is_told_once() -> None:
    assert told("a/day-1.nc", "a/day-2.nc", "a/day-10.nc", "a/night-1.nc") == ["a/day-*.nc"]


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["sst-2019-12-31.nc", "sst-2020-01-01.nc"], ["sst-*.nc"]),
        (["v02r01.20191231.nc", "v02r01.20200101.nc"], ["v02r01.*.nc"]),
        (["t-500_2019.nc", "t-500_2020.nc", "t-850_2019.nc", "t-850_2020.nc"], ["t-500_*.nc", "t-850_*.nc"]),
        (["2019/a-1.nc", "2020/a-1.nc"], []),
        (["a-1.nc"], []),
        (["a-1.csv", "a-2.csv"], []),
        (["a-1.nc", "b-2.nc"], []),
        (["a-1-1.nc", "a-2-2.nc"], []),
        (["a[1].nc", "a[2].nc"], []),
    ],
)
def test_what_is_a_series(names: list[str], patterns: list[str]) -> None:
    assert told(*names) == patterns


def test_files_of_a_folder_open_as_one_cube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("icechunk")
    monkeypatch.setattr("genesis_workbench.catalog.cubes.listing.YOUNG_NS", -(10**9))  # they are at rest
    folder = tmp_path / "data 1"
    folder.mkdir()
    for number in range(3):
        values = np.full((1, 3), float(number))
        made = xr.Dataset({"t": (("time", "x"), values)}, {"time": [number]})
        made.to_netcdf(folder / f"day-{number}.nc", engine="h5netcdf")
        os.utime(folder / f"day-{number}.nc", (1_600_000_000, 1_600_000_000))  # Icechunk looks at it too
    (folder / "day-mean.nc").write_bytes(b"no file of the series")
    section = SourceSection(name="here", kind="folder", title="Here", agency="A", url=folder.as_uri())
    with Fetcher(False) as fetcher:
        pages = list(FolderSource(section, fetcher).pages())
    found = {each.title: each for page in pages for each in page.records if isinstance(each, Dataset)}
    assert set(found) == {"day-0.nc", "day-1.nc", "day-2.nc", "day-mean.nc", "day-*.nc"}
    assert "one cube" in found["day-*.nc"].description
    places = Places(data_folders=(str(tmp_path),), cubes=str(tmp_path / "cubes"))
    cube = open_dataset(found["day-*.nc"], places=places)
    assert list(cube["t"][:, 0].values) == [0, 1, 2]
