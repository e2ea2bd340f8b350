"""Remote data: by ranges where the server has them, under the site's rules, never another version than was opened."""

from __future__ import annotations

import gc
import gzip
import hashlib
import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import HttpContent, Places, site_places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.opening import can_open, open_dataset
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    TooLarge,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.site import CatalogSection, Site
from genesis_workbench.testing.files import FileServer
from genesis_workbench.testing.openers import SAMPLES, total

ROWS = 400


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _collect_here() -> Iterator[None]:
    """h5py reads under a lock of its own. A server's thread in this process that happened to collect old h5py objects would
    wait for that lock, and the reader for the server."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """About 25 MB, so that a part is much less than the whole."""
    path = tmp_path_factory.mktemp("grid") / "grid.nc"
    values = np.random.default_rng(1).standard_normal((ROWS, 128, 64))
    made = xr.Dataset({"t": (("time", "y", "x"), values)}, {"time": np.arange(ROWS)})
    made.to_netcdf(path, engine="h5netcdf", encoding={"t": {"chunksizes": (1, 128, 64)}})
    return path.read_bytes()


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(request: pytest.FixtureRequest, grid: bytes) -> Iterator[FileServer]:
    with FileServer({"/grid.nc": grid}, ranges=request.param) as running:
        yield running


@pytest.fixture
def ranged(grid: bytes) -> Iterator[FileServer]:
    with FileServer({"/grid.nc": grid}) as running:
        yield running


def places(server: FileServer | None, tmp_path: Path, **changes: Any) -> Places:
    hosts = (server.host,) if server else ()
    return Places(**{"private_hosts": hosts, "cache": str(tmp_path / "copies"), **changes})


def record(url: str, form: str = "netcdf", **distribution: Any) -> Dataset:
    return Dataset(
        id="far", title="Far", source="s", distributions=[Distribution(format=form, url=url, **distribution)]
    )


def test_it_is_opened_and_computed(server: FileServer, tmp_path: Path) -> None:
    opened = open_dataset(record(server.url("/grid.nc")), places=places(server, tmp_path))
    assert opened["t"].chunks is not None
    part = opened["t"][3].compute()
    assert part.shape == (128, 64)
    assert float(opened["t"].std()) == pytest.approx(1, abs=0.01)


def test_of_a_server_with_ranges_only_what_is_needed_is_read(
    ranged: FileServer, grid: bytes, tmp_path: Path
) -> None:
    opened = open_dataset(record(ranged.url("/grid.nc")), places=places(ranged, tmp_path), chunks={"time": 1})
    opened["t"][200].compute()
    assert ranged.sent_bytes < len(grid) / 4
    assert not list(Path(tmp_path / "copies").glob("[!.]*"))


def test_a_copy_is_kept_by_its_tag_and_asked_for_again_only_when_it_changed(
    tmp_path: Path, grid: bytes
) -> None:
    with FileServer({"/grid.nc": grid}, ranges=False) as server:
        for _ in range(2):
            open_dataset(record(server.url("/grid.nc")), places=places(server, tmp_path))
        assert server.sent_bytes == len(grid)
        server.files["/grid.nc"] = smaller(tmp_path)
        opened = open_dataset(record(server.url("/grid.nc")), places=places(server, tmp_path))
        assert opened.sizes == {"x": 3}


def test_copies_that_nobody_used_for_long_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis_workbench.catalog.content import cache

    monkeypatch.setattr(cache, "MAX_BYTES", 2500)
    copies = cache.Cache(tmp_path)
    for name, age_days in (("a", 3), ("b", 2), ("c", 0)):
        with copies.receiving() as file:
            file.write(bytes(1000))
            path = copies.keep(file, name)
        then = time.time() - 86_400 * age_days
        os.utime(path, (then, then))
    with copies.receiving() as file:
        file.write(bytes(1000))
        copies.keep(file, "d")
    assert [copies.find(name, 1000) is not None for name in "abcd"] == [False, False, True, True]
    assert not list(tmp_path.glob(".new-*"))


def smaller(tmp_path: Path) -> bytes:
    xr.Dataset({"t": ("x", np.arange(3.0))}).to_netcdf(tmp_path / "small.nc", engine="h5netcdf")
    return (tmp_path / "small.nc").read_bytes()


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changes_after_the_opening_gives_an_error(
    grid: bytes, tmp_path: Path, tags: bool
) -> None:
    with FileServer({"/grid.nc": grid}, tags=tags) as server:
        opened = open_dataset(record(server.url("/grid.nc")), places=places(server, tmp_path))
        server.files["/grid.nc"] = grid[:-10] + bytes(10) if tags else grid + b"more"
        with pytest.raises(Conflict, match="no longer the file"):
            opened["t"][300].compute()


def test_more_than_the_limit_is_read_only_when_asked_for(
    server: FileServer, grid: bytes, tmp_path: Path
) -> None:
    few = places(server, tmp_path, max_bytes=5 * 2**20)
    with pytest.raises(TooLarge, match="max_bytes"):
        open_dataset(record(server.url("/grid.nc")), places=few)["t"].sum().compute()
    opened = open_dataset(record(server.url("/grid.nc")), places=few, max_bytes=200 * 2**20)
    assert np.isfinite(float(opened["t"].sum()))


def test_it_travels_by_its_address(ranged: FileServer, tmp_path: Path) -> None:
    opened = open_dataset(record(ranged.url("/grid.nc")), places=places(ranged, tmp_path))
    sent = pickle.dumps(opened["t"].data)
    assert len(sent) < 200_000
    back = pickle.loads(sent)  # noqa: S301 - it was written two lines above
    assert float(back[0].sum().compute(scheduler="sync")) == float(opened["t"][0].sum())


@pytest.mark.parametrize(
    "name", ["netcdf3", "parquet", "geotiff", "fits", "grib", "structure", "table", "hdf5"]
)
def test_every_format_is_read_from_afar(name: str, tmp_path: Path) -> None:
    pytest.importorskip(
        {"grib": "cfgrib", "geotiff": "tifffile", "fits": "astropy", "structure": "ase"}.get(name, "xarray")
    )
    sample = SAMPLES[name](tmp_path)
    assert sample.file is not None
    with FileServer({"/data/file": sample.file.read_bytes()}) as server:
        opened = open_dataset(sample.record(url=server.url("/data/file")), places=places(server, tmp_path))
        assert total(opened) == pytest.approx(sample.total, rel=1e-5)


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_store_is_read_from_afar(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    SAMPLES["zarr"](tmp_path)
    root = tmp_path / "sample.zarr"
    files = {
        f"/bucket/sample.zarr/{p.relative_to(root)}": p.read_bytes() for p in root.rglob("*") if p.is_file()
    }
    with FileServer(files) as server:
        rules = places(server, tmp_path, s3_endpoint=f"http://{server.host}")
        url = "s3://bucket/sample.zarr" if scheme == "s3" else server.url("/bucket/sample.zarr")
        opened = open_dataset(record(url, "zarr"), places=rules)
        assert not [path for path, _ in server.requests if "/t/0" in path]
        assert float(opened["t"].sum()) == 1128
        assert float(pickle.loads(pickle.dumps(opened["t"].data)).sum().compute(scheduler="sync")) == 1128  # noqa: S301


def test_an_object_of_s3(ranged: FileServer, grid: bytes, tmp_path: Path) -> None:
    ranged.files["/bucket/a folder/grid.nc"] = grid
    rules = places(ranged, tmp_path, s3_endpoint=f"http://{ranged.host}")
    assert open_dataset(record("s3://bucket/a folder/grid.nc"), places=rules).sizes["time"] == ROWS
    with pytest.raises(InvalidInput, match="bucket"):
        open_dataset(record("s3://bucket"), places=rules)


def test_a_checksum_is_compared(ranged: FileServer, grid: bytes, tmp_path: Path) -> None:
    rules = places(ranged, tmp_path)
    for algorithm in ("sha256", "md5"):
        right = f"{algorithm}:{hashlib.new(algorithm, grid).hexdigest()}"
        opened = open_dataset(record(ranged.url("/grid.nc"), checksum=right), places=rules)
        assert opened.attrs["checksum"] == right
    with pytest.raises(VerificationFailed, match="not the file"):
        open_dataset(record(ranged.url("/grid.nc"), checksum="sha256:" + "0" * 64), places=rules)
    with pytest.raises(VerificationFailed, match="no known kind"):
        open_dataset(record(ranged.url("/grid.nc"), checksum="crc:1"), places=rules)


def test_of_a_file_too_large_to_be_compared_it_is_said(
    ranged: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genesis_workbench.catalog.content.places.VERIFIED_BYTES", 10)
    wrong = record(ranged.url("/grid.nc"), checksum="sha256:" + "0" * 64)
    with pytest.warns(UserWarning, match="its checksum was not compared"):
        open_dataset(wrong, places=places(ranged, tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/grid.nc",
        "http://localhost:{port}/grid.nc",
        "http://[::1]:{port}/grid.nc",
        "http://0x7f000001:{port}/grid.nc",
        "http://127.1:{port}/grid.nc",
        "http://169.254.169.254/latest/meta-data/x.nc",
        "http://10.0.0.1/x.nc",
        "http://metadata.internal/x.nc",
    ],
)
@pytest.mark.parametrize("form", ["netcdf", "zarr", "opendap", "csv"])
def test_a_record_reaches_no_private_address(ranged: FileServer, tmp_path: Path, url: str, form: str) -> None:
    port = ranged.host.partition(":")[2]
    with pytest.raises(InvalidInput, match="refused"):
        open_dataset(record(url.format(port=port), form), places=places(None, tmp_path))
    assert ranged.requests == []


def test_a_name_that_turns_private_is_refused_where_the_connection_is_made(
    ranged: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(ranged.host.partition(":")[2])))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answer)
    with pytest.raises(InvalidInput, match="not a public address"):
        open_dataset(record("http://rebinding.example/grid.nc"), places=places(None, tmp_path))
    assert ranged.requests == []


def test_a_private_host_that_the_site_names_sends_nobody_on(ranged: FileServer, tmp_path: Path) -> None:
    with FileServer({"/grid.nc": b"secret"}) as inner:
        ranged.redirects["/away.nc"] = inner.url("/grid.nc")
        with pytest.raises(Unavailable, match="redirects"):
            open_dataset(record(ranged.url("/away.nc")), places=places(ranged, tmp_path))
        assert inner.requests == []


def test_another_port_of_a_named_host_is_not_named(ranged: FileServer, tmp_path: Path) -> None:
    with FileServer({"/grid.nc": b"secret"}) as other:
        with pytest.raises(InvalidInput, match="refused"):
            open_dataset(record(other.url("/grid.nc")), places=places(ranged, tmp_path))
        assert other.requests == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!doctype html><title>Sign in</title>", "HTML"),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x0e\x03\x13\x01" + bytes(100), "h4toh5"),
        (b'<VRTDataset rasterXSize="1">', "VRT"),
        (gzip.compress(bytes(2**20)), "gzip"),
    ],
)
def test_what_is_no_data_is_said(server: FileServer, tmp_path: Path, body: bytes, reason: str) -> None:
    server.files["/x.nc"] = body
    with pytest.raises(GenesisError, match=reason):
        open_dataset(record(server.url("/x.nc")), places=places(server, tmp_path))


def test_nothing_there_is_said(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_dataset(record(server.url("/none.nc")), places=places(server, tmp_path))


def test_the_first_distribution_that_can_be_opened_is(ranged: FileServer, tmp_path: Path) -> None:
    several = Dataset(
        id="far",
        title="Far",
        source="s",
        distributions=[
            Distribution(format="html", url="https://example.gov/page"),
            Distribution(format="netcdf", url=ranged.url("/none.nc")),
            Distribution(format="", url=ranged.url("/grid.nc")),
        ],
    )
    assert open_dataset(several, places=places(ranged, tmp_path)).sizes["time"] == ROWS
    wrong = several.distributions[2].model_copy(update={"checksum": "sha256:" + "0" * 64})
    with pytest.raises(VerificationFailed):
        open_dataset(
            several.model_copy(update={"distributions": [wrong, several.distributions[2]]}),
            places=places(ranged, tmp_path),
        )
    with pytest.raises(NotFound, match="none"):
        open_dataset(several, distribution=1, places=places(ranged, tmp_path))
    with pytest.raises(NotFound, match="3 distributions"):
        open_dataset(several, distribution=7, places=places(ranged, tmp_path))


def test_what_can_be_opened_is_known_without_a_connection() -> None:
    assert can_open(Distribution(format="netcdf", url="https://example.gov/a.nc"))
    assert can_open(Distribution(url="https://example.gov/a.nc"))
    assert not can_open(Distribution(format="pdf", url="https://example.gov/a.pdf"))
    assert not can_open(Distribution(format="netcdf", url="ftp://example.gov/a.nc"))


def test_the_site_says_where_data_may_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    section = CatalogSection(data_folders=["/data"], private_hosts=["store:9000"], max_read_bytes=7)
    rules = site_places(Site(name="s", catalog=section))
    assert (rules.data_folders, rules.max_bytes) == (("/data",), 7)
    assert rules.is_private("http://store:9000/x")
    assert not rules.is_private("http://store/x")
    assert not site_places(Site(name="s")).data_folders


def test_a_server_that_answers_with_another_part_is_refused(ranged: FileServer, tmp_path: Path) -> None:
    content = HttpContent.at(ranged.url("/grid.nc"), private=True, cache=str(tmp_path), max_bytes=2**30)
    ranged.ranges = False
    with pytest.raises((Conflict, TooLarge)):
        content.get(5_000_000, 10)
