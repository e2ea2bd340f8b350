"""Content made to harm: refused with a reason, without reaching another file and without filling the memory."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import LocalContent, Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers import _csv
from genesis_workbench.catalog.openers._base import block_sizes
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    TooLarge,
    VerificationFailed,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def opened(path: Path | str, form: str = "", **options: Any) -> Any:
    url = path.as_uri() if isinstance(path, Path) else path
    folder = path.parent if isinstance(path, Path) else None
    while folder is not None and folder.name != "data":
        folder = folder.parent
    places = Places(data_folders=(str(folder),), cache="/nonexistent", cubes="/nonexistent")
    record = Dataset(id="x", title="X", source="s", distributions=[Distribution(format=form, url=url)])
    return open_dataset(record, places=places, **options)


def secret(folder: Path) -> Path:
    path = folder.parent / "secret.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.full(3, 42.0)
    return path


@pytest.mark.parametrize("form", ["hdf5", "netcdf"])
def test_an_external_link_is_refused(folder: Path, form: str) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["fine"] = np.arange(3.0)
        file["deep/x"] = h5py.ExternalLink(str(secret(folder)), "/x")
    with pytest.raises(VerificationFailed, match="external link"):
        opened(folder / "a.h5", form)


def test_external_storage_is_refused(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", (3,), "f8", external=[(str(secret(folder)), 0, 24)])
    with pytest.raises(VerificationFailed, match="external storage"):
        opened(folder / "a.h5")


def test_a_virtual_dataset_is_refused(folder: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret(folder)), "x", (3,))
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(VerificationFailed, match="virtual dataset"):
        opened(folder / "a.h5")


def test_a_virtual_dataset_of_the_file_itself_is_read(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["y"] = np.arange(3.0)
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(".", "y", (3,))
        file.create_virtual_dataset("x", layout)
    assert float(opened(folder / "a.h5")["x"].sum()) == 3


@pytest.mark.parametrize("kind", ["external", "virtual", "link"])
def test_a_file_of_a_cube_reaches_no_other_either(folder: Path, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("icechunk")
    for number in range(2):
        xr.Dataset({"t": (("time",), [1.0])}, {"time": [number]}).to_netcdf(
            folder / f"{number}.nc", engine="h5netcdf"
        )
    with h5py.File(folder / "1.nc", "r+") as file:
        del file["t"]
        if kind == "external":
            file.create_dataset("t", (1,), "f8", external=[(str(secret(folder)), 0, 8)])
        elif kind == "link":
            file["t"] = h5py.ExternalLink(str(secret(folder)), "/x")
        else:
            layout = h5py.VirtualLayout((1,), "f8")
            layout[:] = h5py.VirtualSource(str(secret(folder)), "x", (3,))[:1]
            file.create_virtual_dataset("t", layout)
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    record = Dataset(
        id="x",
        title="X",
        source="s",
        distributions=[Distribution(format="netcdf", url=folder.as_uri() + "/*.nc")],
    )
    places = Places(data_folders=(str(folder),), cubes=str(tmp_path / "c"), own_cubes=str(tmp_path / "c"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genesis_workbench.catalog.cubes.listing.YOUNG_NS", -(10**9))
        with (
            pytest.warns(UserWarning, match="one by one"),
            pytest.raises(VerificationFailed, match="another file"),
        ):
            open_dataset(record, places=places)


def test_soft_links_that_go_round_end(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = np.arange(3.0)
        file["g/again"] = h5py.SoftLink("/g")
        file["h"] = file["g"]
    assert float(opened(folder / "a.h5")["x"].sum()) == 3


def test_an_enormous_declared_shape_is_lazy_or_refused(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", (10**6, 10**4), "f8", chunks=(1000, 1000))
        file["y"] = np.arange(3.0)
    found = opened(folder / "a.h5")
    assert found["x"].nbytes == 8 * 10**10
    assert max(np.prod([c[0] for c in found["x"].chunks]) * 8, 0) <= 2**30
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("x", (10**9, 10**9), "f8", chunks=(100, 100))
    with pytest.raises(TooLarge, match="chunks=None"):
        opened(folder / "b.h5")
    assert opened(folder / "b.h5", chunks=None)["x"][:2, :2].values.sum() == 0


def test_a_piece_larger_than_memory_is_refused(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", (2**28, 8), "f8", chunks=(2**28 - 1, 1))
    with pytest.raises(TooLarge, match="pieces"):
        opened(folder / "a.h5")


def test_blocks_are_multiples_of_the_pieces() -> None:
    assert block_sizes((1000, 73, 144), 4, (1, 73, 144), 4 * 2**20) == (64, 73, 144)
    assert block_sizes((10, 10), 8) == (10, 10)
    assert block_sizes((), 8) == ()
    assert block_sizes((0, 5), 8) == (1, 5)


@pytest.mark.parametrize(
    "form", ["netcdf", "hdf5", "zarr", "csv", "geotiff", "grib", "fits", "parquet", "cif", "icechunk"]
)
def test_a_link_out_of_the_folder_is_refused(folder: Path, form: str) -> None:
    (folder / "link").symlink_to(secret(folder))
    with pytest.raises((PermissionRefused, NotFound)):
        opened(folder / "link", form)


def test_a_link_that_is_swapped_in_after_the_look_is_refused(folder: Path) -> None:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3.0)
    content = LocalContent.at(path, (str(folder),))
    path.unlink()
    path.symlink_to(secret(folder))
    with pytest.raises(GenesisError):
        content.open()


def test_a_folder_that_becomes_a_link_after_the_look_is_refused(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder.parent / "elsewhere").mkdir()
    for place in (folder / "sub", folder.parent / "elsewhere"):
        (place / "a.csv").write_text("x\n1\n")
    content = LocalContent.at(folder / "sub/a.csv", (str(folder),))
    (folder / "sub").rename(folder / "old")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(PermissionRefused, match="leads out"):
        content.open()


def test_a_named_pipe_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "a.csv")
    with pytest.raises(InvalidInput, match="no plain file"):
        opened(folder / "a.csv")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "file://host/x.csv", "file:data/x.csv", "file:///a\x00b.csv"]
)
def test_files_elsewhere_are_refused(url: str) -> None:
    with pytest.raises((PermissionRefused, InvalidInput)):
        opened(url, "csv")


def test_a_single_file_that_changes_after_the_opening_gives_an_error(folder: Path) -> None:
    path = folder / "a.nc"
    xr.Dataset({"t": ("x", np.arange(1000.0))}).to_netcdf(path, engine="h5netcdf")
    found = opened(path)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"\x00" * 8)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Conflict, match="changed since"):
        found["t"].sum().compute()


def test_many_files_live_within_the_limit_of_open_ones(folder: Path) -> None:
    contents = []
    for number in range(300):
        (folder / f"{number}.csv").write_text(f"{number:04}")
        contents.append(LocalContent.at(folder / f"{number}.csv", (str(folder),)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    streams = [content.open() for content in contents]
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 130
    assert [int(stream.read_at(0, 4)) for stream in streams] == list(range(300))
    (folder / "7.csv").unlink()
    (folder / "7.csv").write_text("0007")
    with pytest.raises(Conflict):
        streams[7].read_at(0, 4)
    for stream in streams:
        stream.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def zarr_store(folder: Path) -> Path:
    pytest.importorskip("zarr")
    path = folder / "a.zarr"
    xr.Dataset({"t": ("x", np.arange(4.0))}).to_zarr(path, zarr_format=2, consolidated=False)
    return path


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["x", "t"])
def test_a_store_whose_codec_runs_code_is_refused_before_it_does(folder: Path, name: str) -> None:
    path = zarr_store(folder)
    (path / name).mkdir(exist_ok=True)
    array = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None, "order": "C",
        "compressor": None, "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    (path / name / ".zarray").write_text(json.dumps(array))
    (path / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["x"]}))
    (path / name / "0").write_bytes(pickle.dumps(Trap(folder / "sprung")))
    with pytest.raises(VerificationFailed, match="run code"):
        opened(path)["t"].values  # noqa: B018
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\x"])
def test_metadata_that_name_a_path_out_of_the_store_are_refused(folder: Path, name: str) -> None:
    path = zarr_store(folder)
    known = json.loads((path / "t/.zarray").read_text())
    whole = {
        "zarr_consolidated_format": 1,
        "metadata": {".zgroup": {"zarr_format": 2}, f"{name}/.zarray": known},
    }
    (path / ".zmetadata").write_text(json.dumps(whole))
    with pytest.raises(VerificationFailed, match="leads out"):
        opened(path)


def test_a_link_in_a_store_is_refused(folder: Path) -> None:
    path = zarr_store(folder)
    (folder.parent / "secret").write_bytes(bytes(1000))
    (path / "t/0").unlink()
    (path / "t/0").symlink_to(folder.parent / "secret")
    with pytest.raises(GenesisError, match="folder"):
        opened(path)["t"].compute()


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, "<!doctype html><p>sign in", '{"zarr_format": 9}', "null"]
)
def test_broken_metadata_are_said(folder: Path, text: str) -> None:
    path = zarr_store(folder)
    (path / ".zmetadata").write_text(text)
    with pytest.raises(GenesisError):
        opened(path)


def test_references_of_a_repository_to_other_files_are_refused(folder: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    zarr = pytest.importorskip("zarr")
    target = folder.parent / "secret"
    target.write_bytes(np.full(4, 42.0).tobytes())
    prefix = folder.parent.as_uri() + "/"
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(prefix, icechunk.local_filesystem_store(str(folder.parent)))
    )
    repository = icechunk.Repository.create(
        icechunk.local_filesystem_storage(str(folder / "r.icechunk")),
        config=config,
        authorize_virtual_chunk_access={prefix: None},
    )
    repository.save_config()
    session = repository.writable_session("main")
    group = zarr.group(session.store)
    group.create_array("t", shape=(4,), chunks=(4,), dtype="f8", compressors=None, dimension_names=["x"])
    session.store.set_virtual_ref("t/c/0", target.as_uri(), offset=0, length=32)
    session.commit("trap")
    found = opened(folder / "r.icechunk", "icechunk")
    with pytest.raises(Exception, match=r"(?i)virtual|credential|authori") as caught:
        found["t"].values  # noqa: B018
    assert "42" not in str(caught.value)


def test_a_quoted_gigabyte_line_is_not_read(folder: Path) -> None:
    path = folder / "a.csv"
    with path.open("wb") as file:
        file.write(b'name,x\n"a",1\n"')
        file.truncate(10**9)  # a hole: it costs no room
    size = path.stat().st_size
    assert size == 10**9
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, InvalidInput)):
            opened(path).compute()
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_a_long_line_behind_the_first_megabyte_is_refused_when_it_is_reached(folder: Path) -> None:
    path = folder / "a.csv"
    with path.open("wb") as file:
        file.write(b"name,x\n" + b"abcdefg,1\n" * 200_000)
        file.write(b'"' + b"y" * (_csv.BLOCK_BYTES + 3 * _csv.LINE_BYTES) + b'",1\n')
    found = opened(path)
    with pytest.raises(TooLarge, match="row"):
        found.compute()


@pytest.mark.parametrize("block", [64, 100, 1000, 10**6])
@pytest.mark.parametrize("end", ["\n", ""])
def test_every_row_is_in_exactly_one_block(
    folder: Path, block: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv, "BLOCK_BYTES", block)
    path = folder / "a.csv"
    path.write_text("name,x\n" + "\n".join(f"{'n' * (n % 37)},{n}" for n in range(300)) + end)
    found = opened(path)
    assert found.npartitions == -(-(path.stat().st_size - 7) // block)
    assert list(found["x"].compute()) == list(range(300))


def test_a_type_that_the_first_rows_do_not_show_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv, "_SAMPLE_BYTES", 100)
    path = folder / "a.csv"
    path.write_text("x,y\n" + "1,2\n" * 200 + "none,3\n")
    with pytest.raises(InvalidInput, match=r"a\.csv"):
        opened(path).compute()
    assert len(opened(path, dtype={"x": "string"}).compute()) == 201


def test_a_gzip_bomb_is_refused(folder: Path) -> None:
    path = folder / "a.pdb.gz"
    path.write_bytes(gzip.compress(bytes(200 * 2**20)))
    pytest.importorskip("ase")
    with pytest.raises(TooLarge, match="unpacks"):
        opened(path)
    (folder / "b.pdb.gz").write_bytes(gzip.compress(b"ATOM" * 1000)[:-20])
    with pytest.raises(InvalidInput, match="too early"):
        opened(folder / "b.pdb.gz")


def test_a_gdal_vrt_is_refused(folder: Path) -> None:
    path = folder / "a.tif"
    path.write_text('<VRTDataset rasterXSize="1"><SourceFilename>/etc/passwd</SourceFilename></VRTDataset>')
    with pytest.raises(InvalidInput, match="VRT"):
        opened(path)


def test_a_relation_reads_its_file_and_no_other(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    (folder / "it's.csv").write_text("x,y\n1,2\n3,4\n")
    found = opened(folder / "it's.csv", engine="duckdb")
    assert found.query("select sum(x) from data").fetchall() == [(4,)]
    assert found.attrs["genesis_dataset"] == "x"
    for other in ("/etc/passwd", "http://127.0.0.1:1/a.csv"):
        with pytest.raises(duckdb.Error, match=r"(?i)disabled|permission|allowed"):
            found.query(f"select * from read_csv('{other}')").fetchall()  # noqa: S608 - the attack itself
    with pytest.raises(duckdb.Error):
        found.query("install httpfs")
    with pytest.raises(InvalidInput, match="engine"):
        opened(folder / "it's.csv", engine="spark")


def test_a_classic_netcdf_header_may_be_anything(folder: Path) -> None:
    path = folder / "a.nc"
    xr.Dataset({"t": (("time", "x"), np.ones((2, 3)))}, {"time": [0, 1]}).to_netcdf(path, engine="scipy")
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        data = whole.copy()
        for place in random.integers(4, 200, 3):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            opened(path).compute()
        except GenesisError:
            refused += 1
        except (ValueError, TypeError, KeyError) as error:
            pytest.fail(f"{type(error).__name__}: {error}")
    assert refused > 100
