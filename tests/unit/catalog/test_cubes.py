"""Many files as one cube: the same values as file by file, and never those of a file that changed."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, PermissionRefused

pytest.importorskip("icechunk")

LONG_AGO_S = 1_600_000_000
AGES = itertools.count(60)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "data").mkdir()
    return Places(
        data_folders=(str(tmp_path / "data"),),
        cache=str(tmp_path / "copies"),
        cubes=str(tmp_path / "cubes"),
        own_cubes=str(tmp_path / "own"),
    )


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have no two seconds to wait: what was written a millisecond ago is old, but for the test of that."""
    monkeypatch.setattr("genesis_workbench.catalog.cubes.listing.YOUNG_NS", -(10**9))


def write(path: Path, number: int, *, value: float | None = None, **changes: Any) -> Path:
    """Write one file of a day: packed integers, floats, a coordinate of its own."""
    base = float(number if value is None else value)
    grid = np.full((1, 4, 6), base) + np.arange(24.0).reshape(4, 6) / 100
    made = xr.Dataset(
        {
            "t": (("time", "lat", "lon"), grid.astype("f4"), {"units": "K"}),
            "p": (("time", "lat", "lon"), grid, {"long_name": "packed"}),
            "height": ((), np.int32(2)),
        },
        {
            "time": ("time", [number], {"units": "days since 2000-01-01"}),
            "lat": np.linspace(-60, 60, 4),
            "lon": np.arange(6.0),
        },
        {"title": "Days", "label": "export-controlled"},
    )
    encoding = {
        "t": {"zlib": True, "shuffle": True, "chunksizes": (1, 4, 6)},
        "p": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 0.0, "_FillValue": -999},
    }
    for name, change in changes.items():
        encoding[name] = {**encoding[name], **change}
    made.to_netcdf(path, engine="h5netcdf", unlimited_dims=["time"], encoding=encoding)
    return rested(path)


def rested(path: Path) -> Path:
    """Give a file a time of its own some minutes ago: Icechunk too takes what is younger than its scan for changed."""
    then = time.time() - 0.5 * next(AGES)
    os.utime(path, (then, then))
    return path


def days(places: Places, count: int) -> list[Path]:
    return [write(Path(places.data_folders[0]) / f"day-{n:03}.nc", n) for n in range(count)]


def record(places: Places, **fields: Any) -> Dataset:
    url = Path(places.data_folders[0]).as_uri() + "/day-*.nc"
    return Dataset(
        id="days",
        title="Days",
        source="here",
        distributions=[Distribution(format="netcdf", url=url)],
        **fields,
    )


def opened(places: Places, **options: Any) -> Any:
    return open_dataset(record(places), places=places, **options)


def test_the_cube_is_what_the_files_are_one_by_one(places: Places) -> None:
    files = days(places, 12)
    cube = opened(places)
    assert cube.attrs["cube"] == "references to 12 files"
    peer = xr.open_mfdataset(
        files, engine="h5netcdf", combine="nested", concat_dim="time", data_vars="minimal", coords="minimal",
        compat="override", join="override", combine_attrs="override",
    )  # fmt: skip
    xr.testing.assert_allclose(cube.compute(), peer.compute())
    assert cube["p"].encoding["scale_factor"] == 0.01
    assert cube["t"].attrs["units"] == "K"
    assert (cube.attrs["label"], cube["t"].attrs["label"]) == ("public", "public")
    peer.close()


def test_nothing_is_computed_at_open_and_blocks_hold_many_files(places: Places) -> None:
    days(places, 12)
    cube = opened(places)
    assert cube["t"].chunks[0] == (12,)
    assert opened(places, chunks={"time": 5})["t"].chunks[0] == (5, 5, 2)
    assert opened(places, chunks=None)["t"].chunks is None
    with pytest.raises(InvalidInput, match="no dimensions"):
        opened(places, chunks={"depth": 1})


def test_the_second_opening_scans_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    days(places, 5)
    first = opened(places).compute()
    monkeypatch.setattr("genesis_workbench.catalog.cubes.cube.scan", refuse)
    xr.testing.assert_identical(opened(places).compute(), first)


def refuse(*_args: Any) -> None:
    raise AssertionError("scanned")


def changed_in_place(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["p"][...] = 7000
    rested(path)


def changed_with_the_old_time(path: Path) -> None:
    before = path.stat()
    changed_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_by_an_older_file(path: Path) -> None:
    other = write(path.with_name("other.nc"), int(path.stem[-3:]), value=70)
    os.utime(other, (LONG_AGO_S, LONG_AGO_S))
    other.replace(path)


def replaced_with_the_old_time_and_size(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other.nc")
    shutil.copy(path, other)
    changed_in_place(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.stat().st_size == before.st_size
    other.replace(path)


def changed_within_the_second(path: Path) -> None:
    before = path.stat()
    changed_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


CHANGES = [
    changed_in_place,
    changed_with_the_old_time,
    replaced_by_an_older_file,
    replaced_with_the_old_time_and_size,
    changed_within_the_second,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_read_anew_at_the_next_opening(
    places: Places, change: Callable[[Path], None]
) -> None:
    files = days(places, 6)
    before = opened(places)["p"].compute()
    change(files[3])
    after = opened(places)["p"].compute()
    assert float(after[3].mean()) == pytest.approx(70, abs=0.2)
    np.testing.assert_array_equal(np.delete(after.values, 3, 0), np.delete(before.values, 3, 0))


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_the_opening_gives_an_error_and_no_number(
    places: Places, change: Callable[[Path], None]
) -> None:
    files = days(places, 6)
    cube = opened(places)
    change(files[3])
    assert float(cube["p"][1].mean()) == pytest.approx(1.115, abs=0.01)
    with pytest.raises(Conflict, match=r"day-003\.nc"):
        cube["p"].mean().compute()


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_between_scan_and_commit_is_not_referred_to_as_it_was(
    places: Places, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis_workbench.catalog.cubes.store import CubeStore

    files = days(places, 6)
    refer = CubeStore._refer

    def changing(self: CubeStore, *args: Any) -> None:
        refer(self, *args)
        change(files[3])

    monkeypatch.setattr(CubeStore, "_refer", changing)
    with pytest.raises(Conflict, match=r"day-003\.nc"):
        opened(places)
    monkeypatch.setattr(CubeStore, "_refer", refer)
    assert float(opened(places)["p"][3].mean()) == pytest.approx(70, abs=0.2)


def test_a_young_file_is_left_alone_and_that_is_said(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    files = days(places, 4)
    later = time.time_ns() + 3600 * 10**9
    monkeypatch.setattr("genesis_workbench.catalog.cubes.listing.YOUNG_NS", 2 * 10**9)
    with pytest.raises(Conflict, match="two seconds"):
        opened(places)
    monkeypatch.setattr("genesis_workbench.catalog.cubes.cube.time.time_ns", lambda: later)
    os.utime(files[3], ns=(later, later))
    with pytest.warns(UserWarning, match="left out"):
        cube = opened(places)
    assert cube.sizes["time"] == 3
    assert "1 changed less than two seconds ago" in cube.attrs["cube"]


def test_a_file_that_comes_or_goes_gives_a_new_cube(places: Places) -> None:
    files = days(places, 4)
    opened(places)
    write(files[0].with_name("day-004.nc"), 4)
    assert opened(places)["t"].mean(("lat", "lon")).compute().size == 5
    files[1].unlink()
    times = opened(places)["time"].dt.dayofyear.values
    assert list(times) == [1, 3, 4, 5]


def test_mending_writes_the_changed_file_alone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis_workbench.catalog.cubes import cube as module

    files = days(places, 6)
    opened(places)
    scanned: list[str] = []
    scan = module.scan

    def noting(content: Any, *args: Any) -> Any:
        scanned.append(content.name)
        return scan(content, *args)

    monkeypatch.setattr(module, "scan", noting)
    changed_in_place(files[4])
    opened(places)
    assert scanned == ["day-000.nc", "day-004.nc"]


def test_files_follow_each_other_by_time_not_by_name(places: Places) -> None:
    folder = Path(places.data_folders[0])
    for name, number in (("a", 2), ("b", 0), ("c", 1)):
        write(folder / f"day-{name}.nc", number)
    assert [float(v) for v in opened(places)["t"][:, 0, 0].compute()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t": {"dtype": "f8"}}, "other dtype"),
        ({"t": {"zlib": False, "shuffle": False}}, "other codecs"),
        ({"t": {"chunksizes": (1, 2, 6)}}, "other chunks"),
        ({"p": {"scale_factor": 0.1}}, "other packing"),
        ({"p": {"_FillValue": -1}}, "other (fill|packing)"),
    ],
)
def test_mixed_files_are_opened_one_by_one_and_that_is_said(
    places: Places, changes: dict[str, Any], reason: str
) -> None:
    files = days(places, 4)
    write(files[2], 2, **changes)
    with pytest.warns(UserWarning, match=reason):
        cube = opened(places)
    assert "one by one" in cube.attrs["cube"]
    assert float(cube["p"][2].mean()) == pytest.approx(2.115, abs=0.1)
    assert float(cube["t"][3].mean()) == pytest.approx(3.115, abs=0.01)


def test_a_different_grid_is_no_cube(places: Places) -> None:
    files = days(places, 3)
    with h5py.File(files[1], "r+") as file:
        file["lat"][...] = np.linspace(-10, 10, 4)
    with pytest.warns(UserWarning, match="'lat' has other values"), pytest.raises(InvalidInput, match="lat"):
        opened(places)


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_broken_file_among_many_is_named(places: Places, content: bytes) -> None:
    files = days(places, 4)
    files[2].write_bytes(content)
    with pytest.raises(GenesisError, match=r"day-002\.nc"):
        opened(places)


def test_a_cut_off_file_is_named_and_not_read(places: Places) -> None:
    files = days(places, 4)
    data = files[2].read_bytes()
    files[2].write_bytes(data[: len(data) // 2])
    with pytest.raises(GenesisError, match=r"day-002\.nc"):
        opened(places)


def test_a_link_out_of_the_folder_is_refused(places: Places, tmp_path: Path) -> None:
    files = days(places, 3)
    write(tmp_path / "secret.nc", 9)
    (files[0].with_name("day-009.nc")).symlink_to(tmp_path / "secret.nc")
    with pytest.raises(PermissionRefused):
        opened(places)


def test_another_folder_is_refused_before_its_names_are_told(places: Places, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    url = (tmp_path / "elsewhere").as_uri() + "/*.nc"
    other = record(places).model_copy(update={"distributions": [Distribution(format="netcdf", url=url)]})
    with pytest.raises(PermissionRefused, match="data_folders"):
        open_dataset(other, places=places)


def test_two_that_open_at_once_make_one_cube(places: Places) -> None:
    days(places, 8)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(opened(places)["t"].sum().compute())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({float(result) for result in results}) == 1
    assert len(results) == 4
    (cube,) = Path(places.cubes).iterdir()
    assert len(list(cube.glob("*.json"))) == 1


def test_a_writer_that_dies_leaves_the_cube_as_it_was(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis_workbench.catalog.cubes import store

    files = days(places, 4)
    before = opened(places)["p"].compute()
    changed_in_place(files[1])
    replace = store._replace
    monkeypatch.setattr(store, "_replace", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        opened(places)
    monkeypatch.setattr(store, "_replace", replace)
    after = opened(places)["p"].compute()
    assert float(after[1].mean()) == pytest.approx(70, abs=0.2)
    np.testing.assert_array_equal(after[2:], before[2:])


def test_cubes_of_data_that_are_not_public_are_kept_by_the_person(places: Places) -> None:
    days(places, 3)
    open_dataset(record(places, label="controlled", groups=["g"]), places=places)
    assert not Path(places.cubes).exists()
    assert len(list(Path(places.own_cubes).iterdir())) == 1


def test_who_may_not_write_the_sites_cubes_keeps_their_own(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis_workbench.catalog.cubes.store import CubeStore

    files = days(places, 3)
    opened(places)
    writing = CubeStore.writing

    def refusing(self: CubeStore) -> Any:
        if self.folder.is_relative_to(places.cubes):
            raise PermissionError(13, "no")
        return writing(self)

    monkeypatch.setattr(CubeStore, "writing", refusing)
    assert float(opened(places)["p"][1].mean()) == pytest.approx(1.115, abs=0.01)
    assert not Path(places.own_cubes).exists()
    changed_in_place(files[1])
    assert float(opened(places)["p"][1].mean()) == pytest.approx(70, abs=0.2)
    assert len(list(Path(places.own_cubes).iterdir())) == 1


def test_a_cube_travels_without_its_files(places: Places) -> None:
    days(places, 6)
    cube = opened(places)
    sent = pickle.dumps(cube["t"].data)
    back = pickle.loads(sent)  # noqa: S301 - it was written one line above
    assert float(back.sum().compute(scheduler="sync")) == float(cube["t"].sum())


def test_workers_in_other_processes_read_a_cube_and_notice_changes_too(places: Places) -> None:
    from distributed import Client, LocalCluster

    files = days(places, 6)
    cube = opened(places, chunks={"time": 2})
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        Client(cluster),
    ):
        assert float(cube["t"].mean()) == pytest.approx(2.615, abs=0.01)
        changed_with_the_old_time(files[3])
        with pytest.raises(Conflict, match=r"day-003\.nc"):
            cube["p"].mean().compute()


def test_lengths_that_do_not_fit_the_pieces_are_said(places: Places) -> None:
    folder = Path(places.data_folders[0])
    for n, length in enumerate((3, 2, 3)):
        with h5py.File(folder / f"day-{n}.nc", "w") as file:
            file["time"] = np.arange(length) + 10 * n
            file["time"].make_scale("time")
            file["time"].attrs["units"] = "days since 2000-01-01"
            file.create_dataset("t", (length, 4), "f4", data=np.full((length, 4), n), chunks=(2, 4))
            file["x"] = np.arange(4)
            file["x"].make_scale("x")
            file["t"].dims[0].attach_scale(file["time"])
            file["t"].dims[1].attach_scale(file["x"])
        rested(folder / f"day-{n}.nc")
    with pytest.warns(UserWarning, match="do not fit"):
        cube = opened(places)
    assert list(cube["t"][:, 0].values) == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("dtype", ["f8", "i4"])
def test_each_file_may_count_from_a_day_of_its_own(places: Places, dtype: str) -> None:
    folder = Path(places.data_folders[0])
    for n in range(4):
        made = xr.Dataset(
            {"t": (("time", "x"), np.full((2, 3), n))},
            {"time": ("time", np.array([0, 12], dtype), {"units": f"hours since 2000-01-0{n + 1} 00:00:00"})},
        )
        made.to_netcdf(folder / f"day-{n}.nc", engine="h5netcdf")
        rested(folder / f"day-{n}.nc")
    for _ in range(2):
        cube = opened(places)
        assert cube.attrs["cube"] == "references to 4 files"
        assert str(cube["time"].values[-1])[:16] == "2000-01-04T12:00"
        with h5py.File(folder / "day-2.nc", "r+") as file:
            file["t"][...] = 7
        rested(folder / "day-2.nc")
    assert float(opened(places)["t"].sel(time="2000-01-03").mean()) == 7


def test_contiguous_files_of_different_lengths_are_one_cube(places: Places) -> None:
    folder = Path(places.data_folders[0])
    for n, length in enumerate((3, 2, 4)):
        xr.Dataset(
            {"t": (("time", "x"), np.full((length, 5), n))}, {"time": np.arange(length) + 10 * n}
        ).to_netcdf(folder / f"day-{n}.nc", engine="h5netcdf")
        rested(folder / f"day-{n}.nc")
    cube = opened(places)
    assert cube.attrs["cube"] == "references to 3 files"
    assert list(cube["t"][:, 4].values) == [0] * 3 + [1] * 2 + [2] * 4


def test_bounds_that_count_from_their_own_files_day_are_not_taken_for_the_first_files(places: Places) -> None:
    folder = Path(places.data_folders[0])
    for year in (2000, 2001):
        units = {"units": f"days since {year}-01-01"}
        made = xr.Dataset(
            {
                "t": (("time", "x"), np.zeros((2, 3))),
                "time_bnds": (("time", "nv"), np.array([[0.0, 1.0], [1.0, 2.0]])),
            },
            {"time": ("time", np.array([0.5, 1.5]), {**units, "bounds": "time_bnds"})},
        )
        made.to_netcdf(folder / f"day-{year}.nc", engine="h5netcdf")
        rested(folder / f"day-{year}.nc")
    with pytest.warns(UserWarning, match="one by one.*its bounds"):
        cube = opened(places)
    bounds = cube["time_bnds"].values.ravel()
    times = np.repeat(cube["time"].values, 2)
    assert [str(moment)[:4] for moment in bounds[-4:]] == ["2001"] * 4
    assert len(bounds) == len(times)
