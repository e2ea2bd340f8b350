"""Many far files as one cube, of a bucket or a web folder: read by the site's rules, never as they were before a change."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import Places, directory
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, TooLarge
from genesis_workbench.testing.files import FileServer

pytest.importorskip("icechunk")

FOLDER = "/bucket/sea surface/"
NAMES = "s3://bucket/sea surface/day-*.nc"


@pytest.fixture(autouse=True)
def _as_it_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy; and nothing of h5py is collected in the server's threads, which would wait for the reader's lock."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def day(folder: Path, number: int, *, value: float | None = None, **encoding: Any) -> bytes:
    """Return one file of a day whose pieces lie far behind its first bytes."""
    path = folder / "made.nc"
    grid = np.full((1, 40, 60), float(number if value is None else value))
    grid[0, 0, 0] = number + 0.5
    made = xr.Dataset(
        {
            "t": (("time", "lat", "lon"), grid.astype("f4"), {"units": "K"}),
            "p": (("time", "lat", "lon"), np.random.default_rng(number).standard_normal((1, 40, 60))),
        },
        {"time": ("time", [number], {"units": "days since 2000-01-01"}), "lat": np.linspace(-60, 60, 40)},
    )
    made.to_netcdf(
        path,
        engine="h5netcdf",
        unlimited_dims=["time"],
        encoding={"t": {"zlib": True, "shuffle": True, "chunksizes": (1, 20, 30), **encoding}},
    )
    return path.read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    files = {f"{FOLDER}day-{n:02}.nc": day(tmp_path, n) for n in range(12)}
    others = {f"{FOLDER}month-01.nc": b"another series", f"{FOLDER}day-00/deep.nc": b"in a folder below"}
    with FileServer({**files, **others}) as running:
        yield running


@pytest.fixture
def places(server: FileServer, tmp_path: Path) -> Places:
    return Places(
        private_hosts=(server.host,),
        s3_endpoint=f"http://{server.host}",
        cache=str(tmp_path / "copies"),
        cubes=str(tmp_path / "cubes"),
        own_cubes=str(tmp_path / "own"),
    )


def opened(places: Places, url: str = NAMES, **options: Any) -> Any:
    record = Dataset(
        id="far", title="Far", source="s", distributions=[Distribution(format="netcdf", url=url)]
    )
    return open_dataset(record, places=places, **options)


def test_the_cube_is_what_the_objects_are_one_by_one(
    places: Places, server: FileServer, tmp_path: Path
) -> None:
    cube = opened(places)
    assert cube.attrs["cube"] == "references to 12 files"
    assert list(cube["time"].dt.dayofyear.values) == list(range(1, 13))
    for number in (0, 7, 11):
        path = tmp_path / "one.nc"
        path.write_bytes(server.files[f"{FOLDER}day-{number:02}.nc"])
        with xr.open_dataset(path, engine="h5netcdf") as one:
            np.testing.assert_array_equal(cube["t"][number], one["t"][0])
            np.testing.assert_array_equal(cube["p"][number], one["p"][0])


def test_an_address_of_the_bucket_itself_does_as_well(places: Places, server: FileServer) -> None:
    cube = opened(places, server.url(FOLDER.replace(" ", "%20") + "day-*.nc"))
    assert cube.sizes["time"] == 12


def test_a_later_opening_asks_for_the_listing_alone_and_a_piece_is_one_request(
    places: Places, server: FileServer
) -> None:
    opened(places)
    server.requests.clear()
    cube = opened(places, chunks=None)
    assert {asked for _path, asked in server.requests} == {"list sea surface/day-"}
    server.requests.clear()
    assert float(cube["t"][5, 30, 40]) == 5
    assert [path for path, _asked in server.requests] == [f"{FOLDER}day-05.nc"]


def test_a_changed_object_is_read_anew_at_the_next_opening_alone(
    places: Places, server: FileServer, tmp_path: Path
) -> None:
    before = opened(places)["t"].compute()
    server.files[f"{FOLDER}day-03.nc"] = day(tmp_path, 3, value=70)
    server.requests.clear()
    after = opened(places)["t"]
    scanned = {path for path, asked in server.requests if asked.startswith("bytes")}
    assert scanned == {f"{FOLDER}day-00.nc", f"{FOLDER}day-03.nc"}
    assert float(after[3, 5, 5]) == 70
    np.testing.assert_array_equal(np.delete(after.values, 3, 0), np.delete(before.values, 3, 0))


def test_an_object_that_changes_after_the_opening_gives_an_error_and_no_number(
    places: Places, server: FileServer, tmp_path: Path
) -> None:
    cube = opened(places)
    server.files[f"{FOLDER}day-03.nc"] = day(tmp_path, 3, value=70)
    assert float(cube["t"][2, 5, 5]) == 2
    with pytest.raises(Conflict, match=r"day-03\.nc"):
        cube["t"].mean().compute()


def test_an_object_that_comes_gives_a_new_cube(places: Places, server: FileServer, tmp_path: Path) -> None:
    opened(places)
    server.files[f"{FOLDER}day-12.nc"] = day(tmp_path, 12)
    assert float(opened(places)["t"][12, 5, 5]) == 12


def test_objects_that_do_not_fit_are_opened_one_by_one_and_that_is_said(
    places: Places, server: FileServer, tmp_path: Path
) -> None:
    server.files[f"{FOLDER}day-03.nc"] = day(tmp_path, 3, chunksizes=(1, 40, 60))
    with pytest.warns(UserWarning, match="other chunks"):
        cube = opened(places)
    assert float(cube["t"][3, 5, 5]) == 3


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_broken_object_is_named(places: Places, server: FileServer, content: bytes) -> None:
    server.files[f"{FOLDER}day-04.nc"] = content
    with pytest.raises(GenesisError, match=r"day-04\.nc"):
        opened(places)


def test_what_is_read_has_a_limit(places: Places) -> None:
    cube = opened(places, max_bytes=300_000)
    cube["p"].sum().compute()  # 230,400 bytes
    with pytest.raises(TooLarge, match="max_bytes"):
        cube["p"].sum().compute()


def test_a_host_that_is_not_public_is_refused(places: Places) -> None:
    with pytest.raises(GenesisError, match=r"private|public"):
        opened(replace(places, private_hosts=()))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket/sea*/day-1.nc", "last part"),
        ("s3://bucket/sea surface/night-*.nc", "night"),
        ("s3://other/day-*.nc", "day"),
    ],
)
def test_names_that_lead_nowhere_are_said(places: Places, url: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        opened(places, url)


def test_it_travels_to_other_processes_without_its_objects(places: Places) -> None:
    cube = opened(places)
    sent = pickle.dumps(cube["t"].data)
    assert len(sent) < 20_000
    back = pickle.loads(sent)  # noqa: S301 - it was written two lines above
    assert float(back.sum().compute(scheduler="sync")) == pytest.approx(float(cube["t"].sum()))


WEB = "/archive/sst%20daily/day-*.nc"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FileServer]:
    """A web server that shows its folders as pages, and lists nothing as a bucket does."""
    files = {f"/archive/sst daily/day-{n:02}.nc": day(tmp_path, n) for n in range(6)}
    others = {"/archive/sst daily/readme.txt": b"read me", "/archive/sst daily/old/day-99.nc": b"below"}
    with FileServer({**files, **others}, buckets=False) as running:
        yield running


@pytest.fixture
def web_places(web: FileServer, places: Places) -> Places:
    return replace(places, private_hosts=(web.host,))


def test_files_that_a_web_server_links_are_a_cube_too(web: FileServer, web_places: Places) -> None:
    cube = opened(web_places, web.url(WEB))
    assert cube.attrs["cube"] == "references to 6 files"
    assert [float(value) for value in cube["t"][:, 5, 5]] == [0, 1, 2, 3, 4, 5]
    web.requests.clear()
    before = web.sent_bytes
    opened(web_places, web.url(WEB))
    assert web.sent_bytes - before < 2_000  # the page, and a byte of each file


def test_a_file_of_a_web_server_that_changed_is_read_anew_or_refused(
    web: FileServer, web_places: Places, tmp_path: Path
) -> None:
    cube = opened(web_places, web.url(WEB))
    web.files["/archive/sst daily/day-03.nc"] = day(tmp_path, 3, value=70)
    with pytest.raises(Conflict, match=r"day-03\.nc"):
        cube["t"].mean().compute()
    assert float(opened(web_places, web.url(WEB))["t"][3, 5, 5]) == 70


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"tags": False}, "neither an entity tag"), ({"ranges": False}, "no parts of files")],
)
def test_a_web_server_that_cannot_tell_versions_or_give_parts_is_refused_with_the_reason(
    web: FileServer, web_places: Places, setting: dict[str, bool], said: str
) -> None:
    for name, value in setting.items():
        setattr(web, name, value)
    with pytest.raises(InvalidInput, match=said):
        opened(web_places, web.url(WEB))


def test_an_empty_file_of_a_web_server_is_named(web: FileServer, web_places: Places) -> None:
    web.files["/archive/sst daily/day-02.nc"] = b""
    web.files["/archive/sst daily/old/day-01.nc"] = b"below, by the same name"
    with pytest.raises(InvalidInput, match=r"day-02\.nc is empty"):
        opened(web_places, web.url(WEB))


def test_links_that_are_no_addresses_or_lead_elsewhere_are_left_out() -> None:
    page = (
        b'<html><a href="http://[">x</a><a href=a.nc>a</a><a href="b c.nc">b</a><a href="deep/d.nc">d</a>'
        b'<a href="https://elsewhere.example/f.nc">f</a><a href="?C=N">n</a><a href="../up.nc">u</a></html>'
    )
    found = list(directory.below(page, "https://host.example/data/"))
    assert [each.removeprefix("https://host.example/data/") for each in found] == [
        "a.nc",
        "b c.nc",
        "deep/d.nc",
    ]


def test_a_page_without_such_files_says_so(web: FileServer, web_places: Places) -> None:
    with pytest.raises(InvalidInput, match=r"night-\*\.nc"):
        opened(web_places, web.url("/archive/sst%20daily/night-*.nc"))


def test_the_pages_of_a_real_web_server_are_understood(tmp_path: Path, places: Places) -> None:
    """aiohttp has pages of folders, parts of files, entity tags and times."""
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(4):
        path = folder / f"day-{number}.nc"
        path.write_bytes(day(tmp_path, number))
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    with static(folder) as host:
        there = replace(places, private_hosts=(host,))
        cube = opened(there, f"http://{host}/data/day-*.nc")
        assert cube.attrs["cube"] == "references to 4 files"
        assert [float(value) for value in cube["t"][:, 5, 5]] == [0, 1, 2, 3]
        (folder / "day-2.nc").write_bytes(day(tmp_path, 2, value=70))
        with pytest.raises(Conflict, match=r"day-2\.nc"):
            cube["t"].mean().compute()
        with pytest.warns(UserWarning, match="less than two seconds ago"):
            again = opened(there, f"http://{host}/data/day-*.nc")
        assert [float(value) for value in again["t"][:, 5, 5]] == [0, 1, 3]


@contextmanager
def static(folder: Path) -> Iterator[str]:
    """Serve a folder by aiohttp in a thread; yield host and port."""
    web = pytest.importorskip("aiohttp.web")
    ready: Queue[tuple[asyncio.AbstractEventLoop, str]] = Queue()

    async def serve() -> None:
        application = web.Application()
        application.router.add_static("/data", folder, show_index=True)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.put((asyncio.get_running_loop(), f"127.0.0.1:{runner.addresses[0][1]}"))
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    loop, host = ready.get(timeout=20)
    yield host
    for task in asyncio.all_tasks(loop):
        loop.call_soon_threadsafe(task.cancel)
    thread.join(20)
