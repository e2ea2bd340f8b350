"""Observations of the Earth: CMR, STAC, ERDDAP, THREDDS. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources._base import dataset_id
from genesis_workbench.catalog.sources._files import Walk
from genesis_workbench.core.errors import InvalidInput, TooLarge
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    as_json,
    first_records,
    make,
    read_all,
)

UMM = {
    "EntryTitle": "A",
    "Abstract": "d",
    "SpatialExtent": {
        "HorizontalSpatialDomain": {
            "Geometry": {
                "BoundingRectangles": [
                    {
                        f"{s}BoundingCoordinate": v
                        for s, v in zip(("West", "South", "East", "North"), (170, -5, -170, 5), strict=True)
                    }
                ]
            }
        }
    },
}


class TestCmr(RemoteSourceContract):
    kind = "cmr"
    good = {
        "/api/collections.umm_json": {"items": [{"meta": {"concept-id": "C1-X"}, "umm": UMM}, {"meta": {}}]}
    }
    names = ["C1-X"]


def test_cmr_takes_its_cursor_from_the_header() -> None:
    item = {"meta": {"concept-id": "a"}, "umm": {"EntryTitle": "A"}}
    headers = {"cmr-search-after": "c1", "Date": "Sat, 01 Nov 2025 12:00:00 GMT"}
    fetcher = Canned(as_json({"items": [item]}), as_json({"items": []}), headers=headers)
    first, _ = make("cmr", fetcher).pages()
    assert [sent.get("CMR-Search-After") for _, _, sent in fetcher.asked] == [None, "c1"]
    assert first.state == {"since": "2025-11-01T11:50:00Z"}


def test_cmr_asks_for_what_changed_and_what_was_deleted() -> None:
    gone = b"<results><references><reference><name>n</name><id>C7-X</id></reference></references></results>"
    item = {"meta": {"concept-id": "a"}, "umm": {"EntryTitle": "A"}}
    fetcher = Canned(as_json({"items": [item]}), gone)
    (page,) = make("cmr", fetcher).pages(state={"since": "2025-11-01T11:50:00Z"})
    (_, asked, _), (deleted, since, _) = fetcher.asked
    assert asked["updated_since"] == since["revision_date"] == "2025-11-01T11:50:00Z"
    assert deleted == "https://example.gov/api/deleted-collections"
    assert page.removed == (dataset_id("peer", "C7-X"),)


def test_boxes_over_the_date_line_stay_so() -> None:
    (record,) = first_records("cmr", as_json({"items": [{"meta": {"concept-id": "a"}, "umm": UMM}]}))
    assert isinstance(record, Dataset)
    assert record.spatial == (170.0, -5.0, -170.0, 5.0)


COLLECTION = {
    "type": "Collection",
    "id": "a",
    "title": "A",
    "stac_version": "1.0.0",
    "extent": {"spatial": {}},
}
ITEM = {
    "type": "Feature",
    "id": "scene",
    "stac_version": "1.0.0",
    "collection": "a",
    "bbox": [1, 2, 3, 4],
    "properties": {"datetime": "2020-01-02T03:04:05Z", "eo:cloud_cover": 3},
    "assets": {
        "data": {"href": "./b1.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]},
        "look": {"href": "./look.png", "roles": ["thumbnail"]},
    },
    "links": [],
}


class TestStac(RemoteSourceContract):
    kind = "stac"
    good = {"/api/collections": {"collections": [COLLECTION, {**COLLECTION, "id": "b"}]}}
    names = ["a", "b"]
    unchanged = True


def test_stac_follows_links_on_its_own_host_only() -> None:
    def body(**link: str) -> bytes:
        return as_json({"collections": [COLLECTION], "links": [{"rel": "next", **link}] if link else []})

    fetcher = Canned(body(href="collections?page=2"), body())
    assert len(list(make("stac", fetcher).pages())) == 2
    assert fetcher.asked[1][0] == "https://example.gov/api/collections?page=2"
    for link in ({"href": "https://elsewhere.example/"}, {"href": "?page=2", "method": "POST"}):
        with pytest.raises(InvalidInput):
            list(make("stac", Canned(body(**link))).pages())
    with pytest.raises(InvalidInput, match="never end"):
        list(make("stac", Canned(body(href="?page=2"))).pages())


class TestStaticStac(RemoteSourceContract):
    kind = "stac_static"
    path = "/catalog.json"
    good = {
        "/catalog.json": {
            "type": "Catalog",
            "id": "root",
            "stac_version": "1.0.0",
            "links": [
                {"rel": "child", "href": "./a/collection.json"},
                {"rel": "child", "href": "./gone.json"},
                {"rel": "child", "href": "https://elsewhere.example/c.json"},
                {"rel": "item", "href": "scene.json"},
                {"rel": "root", "href": "catalog.json"},
            ],
        },
        "/a/collection.json": {**COLLECTION, "links": [{"rel": "child", "href": "../catalog.json"}]},
        "/scene.json": ITEM,
    }
    names = ["a", "scene"]


def test_static_stac_is_read_from_a_folder_and_not_from_outside(tmp_path: Path) -> None:
    folder = tmp_path / "stac"
    folder.mkdir()
    (tmp_path / "secret.json").write_bytes(as_json({**COLLECTION, "id": "secret"}))
    links = [{"rel": "child", "href": name} for name in ("c.json", "../secret.json", "linked.json")]
    (folder / "catalog.json").write_bytes(
        as_json({"type": "Catalog", "id": "r", "stac_version": "1.0.0", "links": links})
    )
    (folder / "c.json").write_bytes(as_json(COLLECTION))
    (folder / "linked.json").symlink_to(tmp_path / "secret.json")
    pages = read_all(make("stac_static", Canned(b""), (folder / "catalog.json").as_uri()))
    records = [record for page in pages for record in page.records]
    assert [r.id for r in records if isinstance(r, Dataset)] == ["peer.a"]
    assert len([r for r in records if isinstance(r, Rejected) and "outside the folder" in r.reason]) == 2


def test_a_stac_item_says_when_and_where_and_what() -> None:
    (record,) = first_records("stac_static", as_json(ITEM), "https://example.gov/x/item.json")
    assert isinstance(record, Dataset)
    assert record.spatial == (1.0, 2.0, 3.0, 4.0)
    assert record.temporal == ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z")
    assert [(d.format, d.url) for d in record.distributions] == [("geotiff", "https://example.gov/x/b1.tif")]


ERDDAP_TABLE = {
    "table": {
        "columnNames": ["datasetID", "accessible", "title", "institution", "minLongitude", "maxLongitude", "minLatitude",
                        "maxLatitude", "minTime", "maxTime", "griddap", "tabledap", "summary"],
        "rows": [
            ["allDatasets", "public", "All", "", None, None, None, None, None, None, "", "", ""],
            ["buoys", "public", "Buoys", "NOAA", 0, 359.5, -5, 5, "2000-01-01T00:00:00Z", None, "",
             "https://example.gov/erddap/tabledap/buoys", "x"],
            ["sst", "public", "SST", "NOAA", 190, 200, -5, 5, None, None, "https://example.gov/erddap/griddap/sst", "", "y"],
        ],
    }
}  # fmt: skip


class TestErddap(RemoteSourceContract):
    kind = "erddap"
    path = "/erddap"
    good = {"/erddap/tabledap/allDatasets.json": ERDDAP_TABLE}
    names = ["buoys", "sst"]
    unchanged = True


def test_erddap_turns_longitudes_and_names_its_services() -> None:
    buoys, sst = first_records("erddap", as_json(ERDDAP_TABLE), "https://example.gov/erddap")
    assert isinstance(buoys, Dataset)
    assert isinstance(sst, Dataset)
    assert (buoys.spatial, sst.spatial) == ((-180.0, -5.0, 180.0, 5.0), (-170.0, -5.0, -160.0, 5.0))
    assert buoys.temporal == ("2000-01-01T00:00:00Z", None)
    assert (buoys.formats, sst.formats) == (["csv", "opendap"], ["opendap"])


THREDDS = """<?xml version="1.0"?><catalog xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0"
 xmlns:xlink="http://www.w3.org/1999/xlink"><service name="all" serviceType="Compound" base="">
<service name="http" serviceType="HTTPServer" base="/thredds/fileServer/"/>
<service name="dap" serviceType="OPENDAP" base="/thredds/dodsC/"/></service>
<dataset name="Top"><metadata inherited="true"><serviceName>all</serviceName><keyword>wind</keyword>
<timeCoverage><start>2020-01-01 00:00:00 UTC</start><end>2020-02-01 00:00:00 UTC</end></timeCoverage></metadata>
<dataset name="u.nc" urlPath="w/u.nc"><dataSize units="Kbytes">1.5</dataSize></dataset>
<dataset name="orphan" urlPath="w/orphan.nc"><serviceName>unknown</serviceName></dataset></dataset>
<catalogRef xlink:href="below.xml"/><catalogRef xlink:href="gone.xml"/>
<catalogRef xlink:href="https://elsewhere.example/catalog.xml"/></catalog>"""
HYRAX = """<thredds:catalog xmlns:thredds="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0"
 xmlns:xlink="http://www.w3.org/1999/xlink"><thredds:service name="dap" serviceType="OPeNDAP" base="/opendap/hyrax"/>
<thredds:dataset name="/" ID="/"><thredds:dataset name="v.h5" ID="/v.h5">
<thredds:access serviceName="dap" urlPath="/v.h5"/></thredds:dataset></thredds:dataset>
<thredds:catalogRef xlink:href="catalog.xml"/></thredds:catalog>"""


class TestThredds(RemoteSourceContract):
    kind = "thredds"
    path = "/c/catalog.xml"
    good = {"/c/catalog.xml": THREDDS.encode(), "/c/below.xml": HYRAX.encode()}

    names = ["w/u.nc", "/v.h5"]


def test_thredds_puts_opendap_first_and_inherits() -> None:
    wind, orphan = first_records("thredds", THREDDS.encode(), "https://example.edu/c/catalog.xml")
    assert isinstance(wind, Dataset)
    assert isinstance(orphan, Rejected)
    assert [(d.format, d.url) for d in wind.distributions] == [
        ("opendap", "https://example.edu/thredds/dodsC/w/u.nc"),
        ("netcdf", "https://example.edu/thredds/fileServer/w/u.nc"),
    ]
    assert wind.distributions[0].size_bytes == 1500
    assert (wind.keywords, wind.temporal) == (["wind"], ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"))
    (below,) = first_records("thredds", HYRAX.encode(), "https://example.edu/c/catalog.xml")
    assert isinstance(below, Dataset)
    assert below.distributions[0].url == "https://example.edu/opendap/hyrax/v.h5"


def test_a_tree_with_too_many_catalogs_does_not_look_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "max_documents", 3)
    body = THREDDS.replace("</catalog>", '<catalogRef xlink:href="third.xml"/></catalog>').encode()
    with pytest.raises(TooLarge, match="name a branch"):
        list(make("thredds", Canned(body), "https://example.edu/c/catalog.xml").pages())
