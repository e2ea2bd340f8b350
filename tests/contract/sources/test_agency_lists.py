"""Lists that agencies publish: data.json, data.gov and CKAN. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import psutil
import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources.dcat import DcatSource
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    as_json,
    first_records,
    make,
)

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
    (record,) = first_records("dcat", text.encode(encoding))
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


def test_a_process_that_dies_over_a_large_file_ends_the_harvest_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DcatSource, "whole_bytes", 0)
    monkeypatch.setattr(DcatSource, "per_page", 1)
    body = as_json({"dataset": [{**DCAT, "identifier": f"id{n}"} for n in range(20_000)]})
    pages = make("dcat", Canned(body)).pages()
    assert len(next(pages).records) == 1
    (reader,) = [each for each in psutil.Process().children() if "sources._apart" in " ".join(each.cmdline())]
    reader.kill()
    with pytest.raises(Unavailable, match="ended with -9"):
        list(pages)


def test_the_process_that_reads_a_large_file_has_no_secrets_and_ends_with_the_harvest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DcatSource, "whole_bytes", 0)
    monkeypatch.setattr(DcatSource, "per_page", 1)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    body = as_json({"dataset": [{**DCAT, "identifier": f"id{n}"} for n in range(20_000)]})
    pages = make("dcat", Canned(body)).pages()
    next(pages)
    (reader,) = [each for each in psutil.Process().children() if "sources._apart" in " ".join(each.cmdline())]
    assert "JUPYTERHUB_API_TOKEN" not in reader.environ()
    pages.close()
    assert not reader.is_running()


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
    records = first_records("dcat", as_json({"dataset": [DCAT, *bad]}))
    rejected = [record for record in records if isinstance(record, Rejected)]
    assert len(rejected) == len(bad)
    assert all(record.reason and record.native for record in rejected)


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
        first_records("ckan", as_json({"success": False, "error": {"message": "too old"}}))


MANY = """
import json, resource, sys
import httpx
from genesis_workbench.core.http import Answer
from genesis_workbench.testing.sources import Canned, make

class Large(Canned):
    def download(self, url, file, **options):
        entry = json.dumps({"title": "T", "description": "d" * 800, "publisher": {"name": "p"}, "contactPoint": {"fn": "c"}})
        file.write(b'{"dataset": [')
        for number in range(500_000):
            file.write((", " * bool(number) + '{"identifier": "id-%d", ' % number + entry[1:]).encode())
        file.write(b"]}")
        file.seek(0)
        return Answer(url, 200, httpx.Headers(), b"")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

pages = make("dcat", Large(b"")).pages()
records = len(next(pages).records)
before = peak()
for page in pages:
    records += len(page.records)
print(json.dumps({"records": records, "grown_bytes": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_a_million_records_need_the_memory_of_a_page() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["records"] == 500_000
    assert said["grown_bytes"] < 40 * 2**20  # the file has more than 400 MB
