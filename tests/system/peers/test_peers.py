"""Our sources against the servers that others run: OPTIMADE, pgSTAC, pycsw, moto, pydap and Tiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.federation import federate
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.sources._items import ItemQuery
from genesis_workbench.core.access import Person
from genesis_workbench.core.http import Fetcher
from genesis_workbench.testing.lying import LyingServer
from genesis_workbench.testing.sources import make, section

LATER = {"since": "2100-01-01T00:00:00Z"}


def datasets(source: Any, state: dict[str, str] | None = None) -> list[Dataset]:
    """Return everything that a source lists; fails where it rejects anything that a real server says."""
    records = [record for page in source.pages(state=state) for record in page.records]
    rejected = [record for record in records if not isinstance(record, Dataset)]
    assert not rejected
    return [record for record in records if isinstance(record, Dataset)]


def test_optimade_lists_its_structures_page_after_page(optimade: str, fetcher: Fetcher) -> None:
    source = make("optimade", fetcher, optimade)
    found = datasets(source)
    assert len(found) == 17
    assert len({dataset.id for dataset in found}) == 17
    assert all(dataset.native_digest and dataset.distributions for dataset in found)
    assert any("Ac" in dataset.keywords for dataset in found)
    entry = fetcher.get_json(found[0].distributions[0].url)
    assert entry["data"]["type"] == "structures"


def test_optimade_gives_what_changed_since(optimade: str, fetcher: Fetcher) -> None:
    source = make("optimade", fetcher, optimade)
    first = next(iter(source.pages()))
    assert first.state["since"]
    assert not datasets(source, LATER)
    assert len(datasets(source, {"since": "2000-01-01T00:00:00Z"})) == 17


def test_optimade_is_asked_by_elements(optimade: str, fetcher: Fetcher) -> None:
    source = make("optimade", fetcher, optimade)
    found = list(source.items(ItemQuery(elements=("Ac", "Mg"))))
    assert found
    url: str | None = f"{optimade}/v1/structures"
    everything = []
    while url:
        page = fetcher.get_json(url)
        everything += page["data"]
        url = page["links"]["next"]
    assert {item.id for item in found} == {
        entry["id"] for entry in everything if {"Ac", "Mg"} <= set(entry["attributes"]["elements"])
    }
    assert not list(source.items(ItemQuery(elements=("Og",))))


def test_optimade_goes_on_at_a_cursor(optimade: str, fetcher: Fetcher) -> None:
    source = make("optimade", fetcher, optimade, max_records=5)
    pages = list(source.pages())
    assert len(pages) == 4
    rest = [record for page in source.pages(pages[0].cursor) for record in page.records]
    assert rest == [record for page in pages[1:] for record in page.records]


def test_oaipmh_lists_every_record_and_what_changed(oaipmh: str, fetcher: Fetcher) -> None:
    source = make("oaipmh", fetcher, oaipmh)
    found = datasets(source)
    assert sorted(dataset.title for dataset in found) == [f"Title {name}" for name in "abcde"]
    assert found[0].spatial == (-7.0, 47.0, -5.0, 51.0)
    assert found[0].description.startswith("About")
    assert found[0].modified == "2024-01-01"
    assert not datasets(source, LATER)


def test_csw_lists_every_record_page_after_page(oaipmh: str, fetcher: Fetcher) -> None:
    address = oaipmh.replace("mode=oaipmh", "outputSchema=http://www.opengis.net/cat/csw/2.0.2")
    found = datasets(make("csw", fetcher, address))
    assert sorted(dataset.title for dataset in found) == [f"Title {name}" for name in "abcde"]
    assert found[0].spatial == (-7.0, 47.0, -5.0, 51.0)


def test_s3_lists_a_bucket_without_credentials(s3: str, fetcher: Fetcher) -> None:
    names = [*(f"a/file {n:04}.csv" for n in range(3)), "a/store.zarr/.zgroup", "a/store.zarr/0.0", "b.csv"]
    with httpx.Client(trust_env=False, timeout=30, headers={"x-amz-acl": "public-read"}) as client:
        client.put(f"{s3}/bucket").raise_for_status()
        for name in names:
            client.put(f"{s3}/bucket/{name}", content=b"x\n1\n").raise_for_status()
    found = datasets(make("s3", fetcher, f"{s3}/bucket?prefix=a/"))
    assert sorted(dataset.title for dataset in found) == [
        *(f"file {n:04}.csv" for n in range(3)),
        "store.zarr",
    ]
    (first,) = (dataset for dataset in found if dataset.title == "file 0000.csv")
    assert fetcher.get_bytes(first.distributions[0].url) == b"x\n1\n"
    assert first.distributions[0].size_bytes == 4


def test_a_series_of_objects_opens_as_one_cube(s3: str, fetcher: Fetcher, tmp_path: Path) -> None:
    with httpx.Client(trust_env=False, timeout=30, headers={"x-amz-acl": "public-read"}) as client:
        client.put(f"{s3}/series").raise_for_status()
        for number in range(4):
            made = xr.Dataset({"t": (("time", "x"), np.full((1, 3), number))}, {"time": [number]})
            made.to_netcdf(tmp_path / "day.nc", engine="h5netcdf")
            body = (tmp_path / "day.nc").read_bytes()
            client.put(f"{s3}/series/a/day {number}.nc", content=body).raise_for_status()
    found = {each.title: each for each in datasets(make("s3", fetcher, f"{s3}/series"))}
    places = Places(private_hosts=(httpx.URL(s3).netloc.decode(),), cubes=str(tmp_path / "cubes"))
    cube = open_dataset(found["day *.nc"], places=places)
    assert cube.attrs["cube"] == "references to 4 files"
    assert list(cube["t"][:, 0].values) == [0, 1, 2, 3]


def test_a_bucket_that_is_not_there_is_said_so(s3: str, fetcher: Fetcher) -> None:
    from genesis_workbench.core.errors import GenesisError

    with pytest.raises(GenesisError):
        datasets(make("s3", fetcher, f"{s3}/nothing"))


def test_a_catalog_of_opendap_names_addresses_that_answer(pydap: str, fetcher: Fetcher) -> None:
    found = datasets(make("thredds", fetcher, f"{pydap}/catalog.xml"))
    assert sorted(dataset.title for dataset in found) == ["north.mem", "south.mem", "trench.mem"]
    for dataset in found:
        (address,) = (d.url for d in dataset.distributions if d.format == "opendap")
        assert b"Float32 depth[x = 5]" in fetcher.get_bytes(f"{address}.dds")


def test_stac_lists_collections_and_notices_that_nothing_changed(stac: str, fetcher: Fetcher) -> None:
    source = make("stac", fetcher, stac)
    (page,) = source.pages()
    assert sorted(record.title for record in page.records if isinstance(record, Dataset)) == [
        "Scenes of north",
        "Scenes of south",
    ]
    (again,) = source.pages(state=page.state)
    assert again.unchanged


def test_stac_is_asked_for_items_by_place_time_and_collection(stac: str, fetcher: Fetcher) -> None:
    source = make("stac", fetcher, stac)
    assert len(list(source.items(ItemQuery(limit=100)))) == 30
    assert len(list(source.items(ItemQuery(limit=7)))) == 7
    north = list(source.items(ItemQuery(collections=("north",), limit=100)))
    assert {item.collection for item in north} == {"north"}
    assert len(north) == 15
    here = list(source.items(ItemQuery(bbox=(4.5, 4.5, 9.5, 9.5), limit=100)))
    assert sorted(item.id for item in here) == [f"scene-{n:02}" for n in range(5, 10)]
    then = list(source.items(ItemQuery(start="2020-01-10T00:00:00Z", end="2020-01-12T00:00:00Z", limit=100)))
    assert sorted(item.id for item in then) == ["scene-09", "scene-10", "scene-11"]


def test_one_question_to_real_peers_and_a_hanging_one(optimade: str) -> None:
    with LyingServer() as liar:
        liar.lie = "/hang"
        places = [
            section("optimade", optimade, name="real"),
            section("optimade", liar.url("/x"), name="hanging"),
        ]
        question = ItemQuery(elements=("Ac",), limit=5)
        with federate(places, question, person=Person("bob"), deadline_s=4, allow_private=True) as found:
            assert next(iter(found)).source == "real"
            found.wait()
        assert {answer.name: answer.state for answer in found.sources} == {
            "real": "answered",
            "hanging": "slow",
        }
        assert len(found) == 5


def test_what_a_tiled_server_has_is_listed_and_opens(tiled: str, fetcher: Fetcher, tmp_path: Path) -> None:
    found = {record.title: record for record in datasets(make("tiled", fetcher, tiled))}
    assert found.keys() == {"Image", "First scan", "grid"}
    places = Places(private_hosts=("127.0.0.1",), cache=str(tmp_path))
    image = open_dataset(found["Image"], places=places)["image"]
    assert image.dims == ("row", "column")
    assert image.attrs["unit"] == "K"
    assert float(image.sum()) == 66
    table = open_dataset(found["First scan"], places=places)
    assert sorted(table.columns) == ["counts", "energy"]
    assert float(open_dataset(found["grid"], places=places)["t"].mean()) == 1
