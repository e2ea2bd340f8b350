"""Every registered opener keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.content import Places
from genesis_workbench.core import plugins
from genesis_workbench.testing.openers import SAMPLES, OpenerContract, Sample

MODULES = {
    "fits": "astropy",
    "geotiff": "tifffile",
    "grib": "cfgrib",
    "icechunk": "icechunk",
    "opendap": "pydap",
    "structure": "ase",
    "zarr": "zarr",
}


def test_every_opener_has_a_sample() -> None:
    assert set(plugins.names("openers")) - set(SAMPLES) == {"opendap"}


@pytest.mark.parametrize("name", plugins.names("openers"))
def test_an_opener_names_its_formats(name: str) -> None:
    opener = plugins.load("openers", name)
    assert opener.formats
    assert all(form == form.lower() for form in opener.formats)
    assert opener.__doc__


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def served() -> Iterator[Sample]:
    from genesis_workbench.testing.dap import DapServer

    with DapServer() as server:
        yield Sample(server.url, "opendap", 66 * 0.5 + 66, private_hosts=("127.0.0.1",))


@pytest.mark.parametrize("name", [*SAMPLES, "opendap"], scope="class")
class TestOpeners(OpenerContract):
    @pytest.fixture(autouse=True)
    def _made(self, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        pytest.importorskip(MODULES.get(name, "xarray"))
        folder = tmp_path / "data"
        folder.mkdir()
        self.sample = request.getfixturevalue("served") if name == "opendap" else SAMPLES[name](folder)
        self.places = Places(
            data_folders=(str(folder),),
            private_hosts=self.sample.private_hosts,
            cache=str(tmp_path / "copies"),
            cubes=str(tmp_path / "cubes"),
        )
