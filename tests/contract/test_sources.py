"""Every registered source keeps the contract, against peers on loopback that behave well, and that lie.

The payloads here are written by hand; test_source_payloads.py reads what real providers sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources import _iso, _xml
from genesis_workbench.catalog.sources._base import Page, dataset_id, follow
from genesis_workbench.catalog.sources.dcat import DcatSource
from genesis_workbench.catalog.sources.starter import RECORDS
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import load_site
from genesis_workbench.testing.lying import LyingServer
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    SourceContract,
    as_json,
    make,
    read_all,
    section,
)

ROOT = Path(__file__).parents[2]


def only(
    kind: str, body: bytes, url: str = "https://example.gov/api", **more: Any
) -> list[Dataset | Rejected]:
    """Return the records that a source makes of one answer."""
    return next(iter(make(kind, Canned(body, **more), url).pages())).records


# ---------------------------------------------------------------- data.json

DCAT: dict[str, Any] = {
    "identifier": "a",
    "title": "A",
    "description": "d",
    "publisher": {"name": "p"},
    "contactPoint": {"fn": "c"},
    "accessLevel": "public",
    "distribution": [{"downloadURL": "https://example.gov/a.csv", "mediaType": "text/csv"}],
}


class TestDcat(RemoteSourceContract):
    kind = "dcat"
    path = "/data.json"
    unchanged = True
    good = {
        "/data.json": {
            "dataset": [DCAT],
            "datasetSeries": [{"seriesMember": [{**DCAT, "identifier": "b"}]}],
            "catalog": [{"dataset": [{**DCAT, "identifier": "c"}]}],
        }
    }
    names = ["a", "b", "c"]


class TestLargeDcat(TestDcat):
    """The same, as if the file were too large to be read at once, and a page of a few records."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(DcatSource, "whole_bytes", 0)
        monkeypatch.setattr(DcatSource, "per_page", 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_large_data_json_is_read_in_any_unicode_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(DcatSource, "whole_bytes", 0)
    text = json.dumps({"dataset": [{**DCAT, "title": "Göteborg ≈ 5 µm"}]}, ensure_ascii=False)
    (record,) = only("dcat", text.encode(encoding))
    assert isinstance(record, Dataset)
    assert record.title == "Göteborg ≈ 5 µm"


def test_a_large_data_json_that_breaks_off_gives_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DcatSource, "whole_bytes", 0)
    monkeypatch.setattr(DcatSource, "per_page", 1)
    body = as_json({"dataset": [{**DCAT, "identifier": f"id{n}"} for n in range(50)]})
    pages = make("dcat", Canned(body[: len(body) // 2])).pages()
    got = []
    with pytest.raises(InvalidInput, match="broken JSON"):
        got.extend(page for page in pages)
    assert 10 < sum(len(page.records) for page in got) < 50 or not got


def test_memory_of_a_large_data_json_is_that_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(DcatSource, "whole_bytes", 2**18)
    monkeypatch.setattr(DcatSource, "per_page", 20)
    entry = json.dumps({**DCAT, "description": "d" * 2000})
    count = 2000
    body = ('{"dataset":[' + ",".join([entry] * count) + "]}").encode()

    def peak(content: bytes) -> int:
        pages = make("dcat", Canned(content)).pages()
        tracemalloc.start()
        read = sum(len(page.records) for page in pages)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert read in (count // 4, count)
        return highest

    small = ('{"dataset":[' + ",".join([entry] * (count // 4)) + "]}").encode()
    assert peak(body) < 1.5 * peak(small) < len(body)


@pytest.mark.parametrize("whole", [0, 2**23])
def test_dcat_rejects_what_lacks_what_it_requires(monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    monkeypatch.setattr(DcatSource, "whole_bytes", whole)
    bad = [
        {**DCAT, "identifier": ""},
        {**DCAT, "title": None},
        {**DCAT, "license": "mine"},
        3,
        None,
        "text",
        [],
    ]
    records = only("dcat", as_json({"dataset": [DCAT, *bad]}))
    rejected = [record for record in records if isinstance(record, Rejected)]
    assert len(rejected) == len(bad)
    assert all(record.reason and record.native for record in rejected)


# ---------------------------------------------------------------- data.gov


def datagov(query: Mapping[str, str]) -> Any:
    number = int(query.get("after", "0"))
    page = {"results": [{"identifier": f"n{number}", "title": "T", "organization": {"name": "NASA"}}]}
    return page if number == 2 else {**page, "after": str(number + 1)}


class TestDatagov(RemoteSourceContract):
    kind = "datagov"
    good = {"/api/search": datagov}
    names = ["n0", "n1", "n2"]


def test_datagov_sends_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGOV_API_KEY", "key-of-test")
    fetcher = Canned(as_json({"results": [{"identifier": "a", "title": "T"}]}))
    list(make("datagov", fetcher, "https://example.gov/v4?q=x").pages())
    ((url, _, headers),) = fetcher.asked
    assert url == "https://example.gov/v4/search?q=x"
    assert headers["X-Api-Key"] == "key-of-test"


# ---------------------------------------------------------------- CMR

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
    (record,) = only("cmr", as_json({"items": [{"meta": {"concept-id": "a"}, "umm": UMM}]}))
    assert isinstance(record, Dataset)
    assert record.spatial == (170.0, -5.0, -170.0, 5.0)


# ---------------------------------------------------------------- STAC

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
    (record,) = only("stac_static", as_json(ITEM), "https://example.gov/x/item.json")
    assert isinstance(record, Dataset)
    assert record.spatial == (1.0, 2.0, 3.0, 4.0)
    assert record.temporal == ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z")
    assert [(d.format, d.url) for d in record.distributions] == [("geotiff", "https://example.gov/x/b1.tif")]


# ---------------------------------------------------------------- CKAN

PACKAGE = {
    "name": "air",
    "title": "Air",
    "notes": "<p>Clean &amp; dry</p>",
    "state": "active",
    "tags": [{"display_name": "air"}],
    "organization": {"title": "EPA"},
    "extras": [{"key": "spatial", "value": '{"type":"Polygon","coordinates":[[[1,2],[3,2],[3,4],[1,2]]]}'}],
    "resources": [{"url": "https://example.gov/air.csv", "format": "CSV", "size": 12}],
    "metadata_modified": "2020-01-02T03:04:05.123456",
}


def ckan(query: Mapping[str, str]) -> Any:
    start = int(query["start"])
    packages = [PACKAGE, {**PACKAGE, "name": "water"}, {**PACKAGE, "name": "fire", "state": "deleted"}]
    return {"success": True, "result": {"count": 3, "results": packages[start : start + 2]}}


class TestCkan(RemoteSourceContract):
    kind = "ckan"
    path = ""
    good = {"/api/3/action/package_search": ckan}
    names = ["air", "water"]


def test_ckan_reads_what_a_package_says_and_asks_for_what_changed() -> None:
    fetcher = Canned(as_json({"success": True, "result": {"count": 1, "results": [PACKAGE]}}))
    url = "https://example.gov?fq=organization:epa"
    (page,) = make("ckan", fetcher, url).pages(state={"since": "2025-01-01T00:00:00Z"})
    assert (
        fetcher.asked[0][1]["fq"] == "(organization:epa) AND (metadata_modified:[2025-01-01T00:00:00Z TO *])"
    )
    (air,) = page.records
    assert isinstance(air, Dataset)
    assert (air.description, air.agency, air.keywords, air.formats) == (
        "Clean & dry",
        "EPA",
        ["air"],
        ["csv"],
    )
    assert (air.spatial, air.modified) == ((1.0, 2.0, 3.0, 4.0), "2020-01-02T03:04:05")
    with pytest.raises(InvalidInput, match="too old"):
        only("ckan", as_json({"success": False, "error": {"message": "too old"}}))


# ---------------------------------------------------------------- DataCite

ATTRIBUTES = {
    "doi": "10.5555/Abc",
    "titles": [{"title": "Sub", "titleType": "Subtitle"}, {"title": "Main"}],
    "creators": [{"name": "Curie, M."}],
    "publisher": {"name": "Lab"},
    "publicationYear": 1903,
    "descriptions": [{"description": "<p>Rays</p>", "descriptionType": "Abstract"}],
    "rightsList": [{"rightsUri": "https://creativecommons.org/licenses/by/4.0/"}],
    "dates": [{"date": "1898/1902", "dateType": "Collected"}],
    "geoLocations": [
        {
            "geoLocationBox": {
                "westBoundLongitude": "2",
                "eastBoundLongitude": 3,
                "southBoundLatitude": 48,
                "northBoundLatitude": 49,
            }
        }
    ],
    "contentUrl": ["https://example.org/rays.csv"],
    "updated": "2024-01-01T00:00:00Z",
}


class TestDatacite(RemoteSourceContract):
    kind = "datacite"

    def answers(self) -> Mapping[str, Any]:
        def dois(query: Mapping[str, str]) -> Any:
            second = query.get("page[cursor]") == "2"
            doi = "10.5555/def" if second else "10.5555/Abc"
            found = [{"id": doi, "attributes": {**ATTRIBUTES, "doi": doi}}]
            return {"data": found, "links": {} if second else {"next": "/api/dois?page%5Bcursor%5D=2"}}

        return {"/api/dois": dois}

    names = ["10.5555/abc", "10.5555/def"]


def test_datacite_reads_what_a_record_says_and_asks_for_what_was_updated() -> None:
    fetcher = Canned(as_json({"data": [{"id": "x", "attributes": ATTRIBUTES}]}))
    (page,) = make("datacite", fetcher, "https://example.org?client-id=lab").pages(
        state={"since": "2025-01-01"}
    )
    assert fetcher.asked[0][0] == "https://example.org/dois?client-id=lab"
    assert fetcher.asked[0][1]["query"] == "(updated:[2025-01-01 TO *])"
    (found,) = page.records
    assert isinstance(found, Dataset)
    assert (found.title, found.agency, found.description) == ("Main", "Lab", "Rays")
    assert found.citation == "Curie, M. (1903). Main. Lab. https://doi.org/10.5555/abc"
    assert (found.spatial, found.temporal) == ((2.0, 48.0, 3.0, 49.0), ("1898", "1902"))
    assert (found.licence, found.formats) == ("https://creativecommons.org/licenses/by/4.0/", ["csv"])
    for missing in ("titles", "creators"):
        lacking = {k: v for k, v in ATTRIBUTES.items() if k != missing}
        (refused,) = only("datacite", as_json({"data": [{"id": "x", "attributes": lacking}]}))
        assert isinstance(refused, Rejected)
        assert missing in refused.reason


# ---------------------------------------------------------------- InvenioRDM

DEPOSIT = {
    "id": "ab1",
    "links": {"self_html": "https://example.org/records/ab1", "self": "https://example.org/api/records/ab1"},
    "pids": {"doi": {"identifier": "10.5555/zen"}},
    "updated": "2024-01-01T00:00:00Z",
    "access": {"status": "embargoed"},
    "metadata": {
        "title": "Spectra",
        "description": "<b>Of</b> stars",
        "publisher": "Zen",
        "publication_date": "2023-04",
        "creators": [{"person_or_org": {"name": "Payne, C."}}],
        "rights": [{"id": "cc-by-4.0"}],
        "subjects": [{"subject": "stars"}],
    },
    "files": {"entries": {"a.csv": {"key": "a.csv", "size": 5, "mimetype": "text/csv"}}},
}


class TestInvenioRdm(RemoteSourceContract):
    kind = "inveniordm"
    path = ""
    names = ["ab1", "ab2"]

    def answers(self) -> Mapping[str, Any]:
        def records(query: Mapping[str, str]) -> Any:
            second = query.get("page") == "2"
            entry = {**DEPOSIT, "id": "ab2"} if second else DEPOSIT
            links = {} if second else {"next": "/api/records?page=2"}
            return {"hits": {"hits": [entry], "total": 2}, "links": links}

        return {"/api/records": records}


def test_inveniordm_reads_both_shapes() -> None:
    (new,) = only("inveniordm", as_json({"hits": {"hits": [DEPOSIT]}}))
    assert isinstance(new, Dataset)
    assert (new.doi, new.licence, new.access, new.keywords) == (
        "10.5555/zen",
        "cc-by-4.0",
        "embargoed",
        ["stars"],
    )
    assert new.citation == "Payne, C. (2023). Spectra. Zen."
    assert [d.url for d in new.distributions] == ["https://example.org/api/records/ab1/files/a.csv/content"]
    old = {
        "id": 7,
        "doi": "10.5555/old",
        "links": {"html": "https://example.org/record/7"},
        "metadata": {
            "title": "Old",
            "access_right": "open",
            "license": {"id": "cc-zero"},
            "creators": [{"name": "X"}],
        },
        "files": [{"key": "o.nc", "size": 9, "links": {"self": "https://example.org/files/o.nc"}}],
    }
    (read,) = only("inveniordm", as_json({"hits": {"hits": [old]}}))
    assert isinstance(read, Dataset)
    assert (read.id, read.doi, read.access, read.formats) == ("peer.7", "10.5555/old", "", ["netcdf"])


# ---------------------------------------------------------------- Croissant

CROISSANT = {
    "@context": {"@vocab": "https://schema.org/"},
    "@type": "sc:Dataset",
    "conformsTo": "http://mlcommons.org/croissant/1.0",
    "name": "flowers",
    "description": "Petals",
    "license": ["https://example.org/licence"],
    "url": "https://example.org/flowers",
    "citeAs": "Fisher (1936).",
    "distribution": [
        {
            "@type": "cr:FileObject",
            "name": "f.csv",
            "contentUrl": "data/f.csv",
            "encodingFormat": "text/csv",
            "contentSize": "1.5 KB",
            "sha256": "0" * 64,
        },
        {"@type": "cr:FileSet", "includes": "*.jpg"},
    ],
}


class TestCroissant(RemoteSourceContract):
    kind = "croissant"
    path = "/a/metadata.json"
    unchanged = True
    good = {"/a/metadata.json": {"dataset": [CROISSANT, {"@type": "Person", "name": "not data"}]}}

    names = ["https://example.org/flowers"]


def test_croissant_says_where_the_files_are() -> None:
    (found,) = only("croissant", as_json(CROISSANT), "https://example.org/a/metadata.json")
    assert isinstance(found, Dataset)
    (file,) = found.distributions
    assert (file.url, file.format, file.size_bytes) == ("https://example.org/a/data/f.csv", "csv", 1500)
    assert file.checksum == "sha256:" + "0" * 64
    assert (found.citation, found.licence) == ("Fisher (1936).", "https://example.org/licence")


# ---------------------------------------------------------------- OSTI, NIST, PDB

OSTI = {
    "osti_id": "123",
    "title": "Fusion",
    "doi": "https://doi.org/10.5555/osti",
    "authors": ["Meitner, L. [Lab]"],
}


class TestOsti(RemoteSourceContract):
    kind = "osti"
    good = {"/api/records": [OSTI, {"title": "no identifier"}]}
    names = ["123"]


def test_osti_pages_by_number_and_asks_by_the_day() -> None:
    rows = [{**OSTI, "osti_id": str(n)} for n in range(100)]
    fetcher = Canned(as_json(rows), as_json(rows[:1]), headers={"X-Total-Count": "101"})
    pages = list(make("osti", fetcher).pages(state={"since": "2025-03-04T05:06:07Z"}))
    assert [page.cursor for page in pages] == ["2", None]
    assert [(p["page"], p["entry_date_start"]) for _, p, _ in fetcher.asked] == [
        (1, "03/04/2025"),
        (2, "03/04/2025"),
    ]
    first = pages[0].records[0]
    assert isinstance(first, Dataset)
    assert first.citation == "Meitner, L. Fusion. https://doi.org/10.5555/osti"


NERDM = {
    "_schema": "https://data.nist.gov/od/dm/nerdm-schema/v0.7#",
    "ediid": "ark:/88434/mds2-1",
    "title": "Steam",
    "description": ["Tables", "of steam."],
    "accessLevel": "public",
    "components": [
        {"downloadURL": "https://data.nist.gov/od/ds/steam.csv", "mediaType": "text/csv", "size": 4},
        {"downloadURL": "https://data.nist.gov/od/ds/steam.csv.sha256"},
    ],
}


class TestNerdm(RemoteSourceContract):
    kind = "nerdm"
    unchanged = True
    good = {"/api/records": {"ResultCount": 1, "PageSize": 0, "ResultData": [NERDM, {"title": "x"}]}}
    names = ["ark:/88434/mds2-1"]


def test_nerdm_lists_the_files_without_their_checksum_files() -> None:
    (found,) = only("nerdm", as_json({"ResultCount": 1, "ResultData": [NERDM]}))
    assert isinstance(found, Dataset)
    assert found.description == "Tables of steam."
    assert [d.url for d in found.distributions] == ["https://data.nist.gov/od/ds/steam.csv"]


ENTRY = {
    "rcsb_id": "4HHB",
    "struct": {"title": "Deoxyhaemoglobin"},
    "struct_keywords": {"pdbx_keywords": "OXYGEN TRANSPORT"},
    "exptl": [{"method": "X-RAY DIFFRACTION"}],
    "rcsb_accession_info": {"revision_date": "2024-05-22T00:00:00Z"},
    "rcsb_entry_info": {"resolution_combined": [1.74], "molecular_weight": 64.74},
    "rcsb_primary_citation": {"rcsb_authors": ["Fermi, G."], "year": 1984, "title": "The structure"},
}
HITS = {"total_count": 2, "result_set": [{"identifier": "4HHB"}, {"identifier": "1ABC"}]}


class TestRcsb(RemoteSourceContract):
    kind = "rcsb"
    good = {"/api/rcsbsearch/v2/query": HITS, "/api/graphql": {"data": {"entries": [ENTRY, None]}}}
    names = ["4HHB"]


def test_rcsb_asks_the_data_api_beside_the_search_for_what_was_revised() -> None:
    fetcher = Canned(
        as_json({"total_count": 1, "result_set": [{"identifier": "4HHB"}]}),
        as_json({"data": {"entries": [ENTRY]}}),
    )
    source = make("rcsb", fetcher, "https://search.rcsb.org/rcsbsearch/v2/query")
    (page,) = source.pages(state={"since": "2025-01-01T00:00:00Z"})
    (search, asked, _), (data, variables, _) = fetcher.asked
    assert (search, data) == ("https://search.rcsb.org/rcsbsearch/v2/query", "https://data.rcsb.org/graphql")
    assert "2025-01-01T00:00:00Z" in asked["json"]
    assert json.loads(variables["variables"]) == {"ids": ["4HHB"]}
    (found,) = page.records
    assert isinstance(found, Dataset)
    assert (found.doi, found.formats) == ("10.2210/pdb4hhb/pdb", ["bcif", "mmcif"])
    assert found.description == "Structure by x-ray diffraction; resolution 1.74 Å; 64.74 kDa."
    (nothing,) = make("rcsb", Canned(b"", status=204)).pages(state={"since": "2025-01-01T00:00:00Z"})
    assert nothing.unchanged


# ---------------------------------------------------------------- OAI-PMH

OAI_HEAD = '<?xml version="1.0" encoding="UTF-8"?><OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
DC = (
    '<metadata><oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Tides</dc:title><dc:creator>Laplace</dc:creator>'
    "<dc:date>1776</dc:date><dc:identifier>https://doi.org/10.5555/tides</dc:identifier>"
    "<dc:coverage>northlimit=2; southlimit=1; westlimit=3; eastlimit=4</dc:coverage></oai_dc:dc></metadata>"
)
DATACITE_XML = (
    '<resource xmlns="http://datacite.org/schema/kernel-4"><identifier identifierType="DOI">10.5555/x</identifier>'
    "<creators><creator><creatorName>Noether</creatorName></creator></creators><titles><title>Rings</title></titles>"
    "<publisher>G</publisher><publicationYear>1921</publicationYear></resource>"
)


def oai_record(name: str, content: str = DC, status: str = "") -> str:
    header = (
        f"<header{status}><identifier>{name}</identifier><datestamp>2024-01-01T00:00:00Z</datestamp></header>"
    )
    return f"<record>{header}{content}</record>"


def oai(*records: str, token: str = "", moment: str = "2025-01-01T00:00:00Z") -> bytes:
    after = f"<resumptionToken>{token}</resumptionToken>" if token else ""
    return (
        f"{OAI_HEAD}<responseDate>{moment}</responseDate><ListRecords>{''.join(records)}{after}</ListRecords></OAI-PMH>"
    ).encode()


class TestOaiPmh(RemoteSourceContract):
    kind = "oaipmh"
    path = "/oai?set=data"

    def answers(self) -> Mapping[str, Any]:
        def pages(query: Mapping[str, str]) -> bytes:
            if query.get("resumptionToken"):
                return oai(oai_record("two", f"<metadata>{DATACITE_XML}</metadata>"))
            return oai(oai_record("one"), oai_record("odd", "<metadata><marc/></metadata>"), token="t")

        return {"/oai": pages}

    names = ["one", "two"]


def test_oaipmh_names_what_was_removed_and_asks_from_where_it_was() -> None:
    fetcher = Canned(oai(oai_record("gone", "", ' status="deleted"'), oai_record("one")))
    (page,) = make("oaipmh", fetcher, "https://example.org/oai?metadataPrefix=oai_dc").pages()
    assert page.removed == ("peer.gone",)
    assert page.state == {"since": "2025-01-01T00:00:00Z"}
    (tides,) = page.records
    assert isinstance(tides, Dataset)
    assert (tides.doi, tides.spatial) == ("10.5555/tides", (3.0, 1.0, 4.0, 2.0))
    assert "<dc:title>Tides" in page.natives[tides.id]
    list(make("oaipmh", fetcher).pages(state=page.state))
    assert fetcher.asked[-1][1]["from"] == "2025-01-01T00:00:00Z"


def test_oaipmh_takes_its_errors_for_what_they_are() -> None:
    def error(code: str) -> bytes:
        date = "<responseDate>2025-01-01T00:00:00Z</responseDate>"
        return f'{OAI_HEAD}{date}<error code="{code}">said</error></OAI-PMH>'.encode()

    (page,) = make("oaipmh", Canned(error("noRecordsMatch"))).pages(state={"since": "2024-01-01T00:00:00Z"})
    assert page.unchanged
    with pytest.raises(InvalidInput, match=r"badArgument.*said"):
        list(make("oaipmh", Canned(error("badArgument"))).pages())


def test_wrapped_datacite_and_odd_encodings_are_read() -> None:
    wrapped = f"<metadata><oai_datacite><payload>{DATACITE_XML}</payload></oai_datacite></metadata>"
    body = oai(oai_record("a", wrapped)).decode().replace("UTF-8", "UTF-16").replace("Noether", "Möbius")
    (found,) = only("oaipmh", body.encode("utf-16"))
    assert isinstance(found, Dataset)
    assert found.citation.startswith("Möbius (1921). Rings. G.")


# ---------------------------------------------------------------- THREDDS

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
    wind, orphan = only("thredds", THREDDS.encode(), "https://example.edu/c/catalog.xml")
    assert isinstance(wind, Dataset)
    assert isinstance(orphan, Rejected)
    assert [(d.format, d.url) for d in wind.distributions] == [
        ("opendap", "https://example.edu/thredds/dodsC/w/u.nc"),
        ("netcdf", "https://example.edu/thredds/fileServer/w/u.nc"),
    ]
    assert wind.distributions[0].size_bytes == 1500
    assert (wind.keywords, wind.temporal) == (["wind"], ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"))
    (below,) = only("thredds", HYRAX.encode(), "https://example.edu/c/catalog.xml")
    assert isinstance(below, Dataset)
    assert below.distributions[0].url == "https://example.edu/opendap/hyrax/v.h5"


# ---------------------------------------------------------------- ISO, FGDC: folders on the web, and CSW

GMD = """<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco"
 xmlns:gml="http://www.opengis.net/gml"><gmd:fileIdentifier><gco:CharacterString>NAME</gco:CharacterString></gmd:fileIdentifier>
<gmd:contact><gmd:CI_ResponsibleParty><gmd:organisationName><gco:CharacterString>NOAA</gco:CharacterString></gmd:organisationName>
<gmd:role><gmd:CI_RoleCode/></gmd:role></gmd:CI_ResponsibleParty></gmd:contact>
<gmd:dateStamp><gco:Date>2024-01-02</gco:Date></gmd:dateStamp><gmd:identificationInfo><gmd:MD_DataIdentification>
<gmd:citation><gmd:CI_Citation><gmd:title><gco:CharacterString>Tides</gco:CharacterString></gmd:title></gmd:CI_Citation>
</gmd:citation><gmd:abstract><gco:CharacterString>Of the sea</gco:CharacterString></gmd:abstract>
<gmd:descriptiveKeywords><gmd:MD_Keywords><gmd:keyword><gco:CharacterString>EARTH SCIENCE &gt; OCEANS</gco:CharacterString>
</gmd:keyword></gmd:MD_Keywords></gmd:descriptiveKeywords><gmd:extent><gmd:EX_Extent><gmd:geographicElement>
<gmd:EX_GeographicBoundingBox><gmd:westBoundLongitude><gco:Decimal>1</gco:Decimal></gmd:westBoundLongitude>
<gmd:eastBoundLongitude><gco:Decimal>3</gco:Decimal></gmd:eastBoundLongitude><gmd:southBoundLatitude><gco:Decimal>2</gco:Decimal>
</gmd:southBoundLatitude><gmd:northBoundLatitude><gco:Decimal>4</gco:Decimal></gmd:northBoundLatitude>
</gmd:EX_GeographicBoundingBox></gmd:geographicElement><gmd:temporalElement><gmd:EX_TemporalExtent><gmd:extent><gml:TimePeriod>
<gml:beginPosition>2000-01-01</gml:beginPosition><gml:endPosition/></gml:TimePeriod></gmd:extent></gmd:EX_TemporalExtent>
</gmd:temporalElement></gmd:EX_Extent></gmd:extent></gmd:MD_DataIdentification></gmd:identificationInfo><gmd:distributionInfo>
<gmd:CI_OnlineResource><gmd:linkage><gmd:URL>https://example.gov/tides.nc</gmd:URL></gmd:linkage></gmd:CI_OnlineResource>
</gmd:distributionInfo></gmd:MD_Metadata>"""
FGDC = """<metadata><idinfo><citation><citeinfo><origin>USGS</origin><title>Rocks</title><onlink>https://example.gov/r.zip</onlink>
</citeinfo></citation><descript><abstract>Hard</abstract></descript><timeperd><timeinfo><rngdates><begdate>19990101</begdate>
<enddate>2001</enddate></rngdates></timeinfo></timeperd><spdom><bounding><westbc>-5</westbc><eastbc>5</eastbc><northbc>9</northbc>
<southbc>8</southbc></bounding></spdom><keywords><theme><themekey>rock</themekey></theme></keywords><accconst>None</accconst>
</idinfo><metainfo><metd>20200304</metd></metainfo></metadata>"""
LISTING = b"""<html><body><a href="?C=N;O=D">Name</a> <a href="/">Parent</a> <a href="tides.xml">tides</a>
<A HREF='deep/'>deep</A> <a href="broken.xml">broken</a> <a href="https://elsewhere.example/x.xml">x</a></body></html>"""


class TestWaf(RemoteSourceContract):
    kind = "waf"
    path = "/waf/"
    good = {
        "/waf/": LISTING,
        "/waf/tides.xml": GMD.replace("NAME", "tides").encode(),
        "/waf/deep/": b'<pre><a href="/waf/deep/tides2.xml">t</a></pre>',
        "/waf/deep/tides2.xml": GMD.replace("NAME", "tides2").encode(),
        "/waf/broken.xml": b"<gmd:MD_Metadata",
    }
    names = ["tides", "tides2"]


def test_a_folder_whose_listing_has_not_changed_is_not_read_again() -> None:
    listing = b'<a href="tides.xml">tides</a> 2024-01-01 12:00'
    fetcher = Canned(listing, GMD.encode())
    (first,) = make("waf", fetcher, "https://example.gov/waf/").pages()
    again = Canned(listing)
    (second,) = make("waf", again, "https://example.gov/waf/").pages(state=first.state)
    assert second.unchanged
    assert len(again.asked) == 1


def test_iso_and_fgdc_say_where_and_when() -> None:
    (tides,) = only("waf", GMD.encode(), "https://example.gov/waf/tides.xml")
    assert isinstance(tides, Dataset)
    assert (tides.title, tides.agency, tides.keywords) == ("Tides", "NOAA", ["OCEANS"])
    assert (tides.spatial, tides.temporal) == ((1.0, 2.0, 3.0, 4.0), ("2000-01-01", None))
    assert (tides.formats, tides.modified) == (["netcdf"], "2024-01-02")
    (rocks,) = only("waf", FGDC.encode(), "https://example.gov/waf/rocks.xml")
    assert isinstance(rocks, Dataset)
    assert (rocks.title, rocks.agency, rocks.access) == ("Rocks", "USGS", "")
    assert (rocks.spatial, rocks.temporal) == ((-5.0, 8.0, 5.0, 9.0), ("1999-01-01", "2001"))
    assert (rocks.formats, rocks.modified) == (["zip"], "2020-03-04")
    nobody = GMD.replace("<gmd:CI_RoleCode/>", "").replace("NOAA", "")
    with pytest.raises(InvalidInput, match="neither a name nor a role"):
        _iso.fields(_xml.parse(nobody.encode(), "ISO"))


class TestCsw(RemoteSourceContract):
    kind = "csw"
    path = "/csw"
    names = ["one", "two"]

    def answers(self) -> Mapping[str, Any]:
        def records(query: Mapping[str, str]) -> bytes:
            first = query["startPosition"] == "1"
            inner = GMD.replace("NAME", "one" if first else "two")
            after = 2 if first else 0
            return f'<r><SearchResults nextRecord="{after}">{inner}</SearchResults></r>'.encode()

        return {"/csw": records}


# ---------------------------------------------------------------- OPTIMADE

STRUCTURE = {
    "type": "structures",
    "id": "s1",
    "attributes": {
        "elements": ["O", "Si"],
        "nelements": 2,
        "nsites": 9,
        "elements_ratios": [0.667, 0.333],
        "chemical_formula_reduced": "O2Si",
        "last_modified": "2024-01-01T00:00:00Z",
    },
}


class TestOptimade(RemoteSourceContract):
    kind = "optimade"

    def answers(self) -> Mapping[str, Any]:
        def structures(query: Mapping[str, str]) -> Any:
            if query.get("page_offset") == "1":
                return {"data": [{**STRUCTURE, "id": "s2"}], "links": {"next": None}}
            return {"data": [STRUCTURE], "links": {"next": {"href": "/api/v1/structures?page_offset=1"}}}

        return {"/api/v1/structures": structures}

    names = ["s1", "s2"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"elements": ["Acc"]}, "no chemical symbols"),
        ({"nelements": 3}, "says 3 elements"),
        ({"nsites": 0}, "how many sites"),
        ({"elements_ratios": [1, 1]}, "add up to 1"),
    ],
)
def test_a_structure_that_contradicts_itself_is_refused(changed: dict[str, Any], reason: str) -> None:
    bad = {**STRUCTURE, "attributes": {**STRUCTURE["attributes"], **changed}}  # type: ignore[dict-item]
    (record,) = only("optimade", as_json({"data": [bad]}))
    assert isinstance(record, Rejected)
    assert reason in record.reason


def test_optimade_reads_an_index_and_json_lines(tmp_path: Path) -> None:
    links = [
        {"type": "links", "id": "mp", "attributes": {"name": "MP", "base_url": None, "link_type": "external"}}
    ]
    (database,) = only("optimade", as_json({"data": links}), "https://example.org/v1/links")
    assert isinstance(database, Dataset)
    assert database.access
    file = tmp_path / "structures.jsonl"
    rows = [
        {"x-optimade": {"meta": {"api_version": "1.1.0"}}},
        {"type": "info", "id": "structures"},
        STRUCTURE,
    ]
    file.write_text("\n".join([*map(json.dumps, rows), "{broken"]))
    good, broken = next(iter(make("optimade", Canned(b""), file.as_uri()).pages())).records
    assert isinstance(good, Dataset)
    assert isinstance(broken, Rejected)


def test_optimade_keeps_the_filter_of_the_site() -> None:
    fetcher = Canned(as_json({"data": [STRUCTURE]}))
    list(
        make("optimade", fetcher, "https://example.org/v1?filter=nelements=2").pages(
            state={"since": "2025-01-01"}
        )
    )
    assert fetcher.asked[0][1]["filter"] == '(nelements=2) AND (last_modified >= "2025-01-01")'


# ---------------------------------------------------------------- ERDDAP

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
    buoys, sst = only("erddap", as_json(ERDDAP_TABLE), "https://example.gov/erddap")
    assert isinstance(buoys, Dataset)
    assert isinstance(sst, Dataset)
    assert (buoys.spatial, sst.spatial) == ((-180.0, -5.0, 180.0, 5.0), (-170.0, -5.0, -160.0, 5.0))
    assert buoys.temporal == ("2000-01-01T00:00:00Z", None)
    assert (buoys.formats, sst.formats) == (["csv", "opendap"], ["opendap"])


# ---------------------------------------------------------------- files


class TestS3(RemoteSourceContract):
    kind = "s3"
    path = "/bucket?prefix=a/"

    def answers(self) -> Mapping[str, Any]:
        def listing(query: Mapping[str, str]) -> bytes:
            second = "continuation-token" in query
            keys = ["a/z.zarr/0.0", "a/z.zarr/.zgroup"] if second else ["a/x 1.nc", "a/readme.md", "a/y.csv"]
            rows = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>3</Size></Contents>"
                for key in keys
            )
            more = "" if second else "<NextContinuationToken>t</NextContinuationToken>"
            return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}{more}</ListBucketResult>'.encode()

        return {"/bucket/": listing}

    names = ["a/x 1.nc", "a/y.csv", "a/z.zarr/"]


class TestIntake(RemoteSourceContract):
    kind = "intake"
    path = "/catalog.yml"
    unchanged = True
    good = {
        "/catalog.yml": b"""
metadata: {version: 1}
sources:
  rain:
    driver: netcdf
    description: Rain
    args: {urlpath: "{{ CATALOG_DIR }}/rain.nc"}
  bad: 7
""",
    }
    names = ["rain"]


def test_intake_is_read_as_plain_data() -> None:
    text = b"sources: {x: !!python/object/apply:os.system ['true']}"
    with pytest.raises(InvalidInput, match="no readable YAML"):
        only("intake", text)
    with pytest.raises(InvalidInput, match="aliases"):
        only("intake", b"a: &a [x]\nsources: {one: *a}")
    (rain,) = only("intake", TestIntake.good["/catalog.yml"], "https://example.org/d/catalog.yml")[:1]
    assert isinstance(rain, Dataset)
    assert [(d.format, d.url) for d in rain.distributions] == [("netcdf", "https://example.org/d/rain.nc")]


class _LocalContract(SourceContract):
    """A source without a peer."""

    @pytest.fixture
    def peer(self) -> None:  # type: ignore[override]
        return None


class TestFolder(_LocalContract):
    kind = "folder"
    unchanged = True
    names = ["run_20240102/a.csv", "run_20240102/z.zarr"]

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path / "data"
        (self.root / "run_20240102" / "z.zarr").mkdir(parents=True)
        (self.root / "run_20240102" / "z.zarr" / ".zgroup").write_text("{}")
        (self.root / "run_20240102" / "a.csv").write_text("x\n1\n")
        (self.root / "notes.txt").write_text("not data")
        (self.root / ".hidden.csv").write_text("x")
        (self.root / "out.csv").symlink_to(Path(__file__))

    def url(self, peer: Any) -> str:
        return self.root.as_uri()

    def test_links_that_lead_out_are_refused(self) -> None:
        (page,) = make("folder", Canned(b""), self.root.as_uri()).pages()
        assert [r.reason for r in page.records if isinstance(r, Rejected)] == [
            "it is a link that leads out of the folder"
        ]
        found = next(r for r in page.records if isinstance(r, Dataset))
        assert found.distributions[0].url.startswith("file:///")

    def test_a_changed_file_is_noticed(self) -> None:
        source = make("folder", Canned(b""), self.root.as_uri())
        (first,) = source.pages()
        os.utime(self.root / "run_20240102" / "a.csv", (1, 1))
        (second,) = source.pages(state=first.state)
        assert not second.unchanged

    @pytest.mark.parametrize("url", ["https://example.org/x", "file://host/x", "file:///not/there"])
    def test_an_address_that_is_no_folder_is_an_error(self, url: str) -> None:
        with pytest.raises(GenesisError):
            list(make("folder", Canned(b""), url).pages())


class TestStarter(_LocalContract):
    kind = "starter"

    def source(self, peer: Any, fetcher: Fetcher) -> Any:
        return make("starter", fetcher, "")

    def ids(self) -> list[str]:
        return [record["id"] for record in RECORDS]


# ---------------------------------------------------------------- what holds for all


def test_every_registered_source_has_a_contract_test() -> None:
    tested = {cls.kind for name, cls in globals().items() if name.startswith("Test") and hasattr(cls, "kind")}
    assert tested == set(plugins.names("sources"))


def test_the_state_is_that_of_the_first_page_and_a_resumed_harvest_has_none() -> None:
    pages = {None: Page([], "b", state={"since": "1"}), "b": Page([], None, state={"since": "2"})}
    assert [page.state["since"] for page in follow(pages.__getitem__, None)] == ["1", "1"]
    assert [page.state for page in follow(pages.__getitem__, "b")] == [{}]


@pytest.mark.parametrize("kind", ["dcat", "stac", "croissant", "nerdm", "erddap"])
def test_etag_and_date_are_sent_back(kind: str) -> None:
    bodies = {
        "dcat": {"dataset": [DCAT]},
        "stac": {"collections": [COLLECTION]},
        "croissant": CROISSANT,
        "nerdm": {"ResultCount": 1, "ResultData": [NERDM]},
        "erddap": ERDDAP_TABLE,
    }
    with LyingServer() as peer, Fetcher(True, timeout_s=5) as fetcher:
        paths = ("/x", "/x/collections", "/x/records", "/x/tabledap/allDatasets.json")
        peer.answers.update(dict.fromkeys(paths, bodies[kind]))
        peer.etags.update(dict.fromkeys(paths, '"one"'))
        (first,) = make(kind, fetcher, peer.url("/x")).pages()
        assert first.state["etag"] == '"one"'
        (again,) = make(kind, fetcher, peer.url("/x")).pages(state=first.state)
        assert again.unchanged
        assert peer.statuses == [200, 304]


def test_every_source_of_the_laptop_site_has_a_plug_in_and_a_public_address() -> None:
    site = load_site(ROOT / "hub_config/sites/laptop.toml")
    assert len({entry.name for entry in site.catalog.sources}) == len(site.catalog.sources)
    for entry in site.catalog.sources:
        plugins.load("sources", entry.kind)(entry, Canned(b""))
        assert entry.url.startswith(("https://", "s3://"))
        assert entry.access_label is not None


def test_a_section_is_what_the_site_file_has() -> None:
    assert section("dcat").kind == "dcat"
