"""Every registered source keeps the contract; ours also read what real providers sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources._base import Page, follow
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.site import SourceSection, load_site
from genesis_workbench.testing.lying import LyingServer

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real payloads is not here")
KINDS = plugins.names("sources")
REMOTE = [kind for kind in KINDS if kind != "starter"]
GOOD: dict[str, tuple[dict[str, Any], str]] = {
    "dcat": (
        {"identifier": "a", "title": "A", "description": "d", "publisher": {}, "contactPoint": {}},
        "dataset",
    ),
    "datagov": ({"identifier": "a", "title": "A"}, "results"),
    "cmr": ({"meta": {"concept-id": "a"}, "umm": {"EntryTitle": "A"}}, "items"),
    "stac": ({"id": "a", "title": "A", "extent": {"spatial": {}}}, "collections"),
}


class Canned(Fetcher):
    """Gives one answer to everything."""

    def __init__(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.bodies = list(bodies)
        self.headers = headers or {}
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    def fetch(self, url: str, *, params: Any = None, headers: Any = None, **_more: Any) -> Answer:
        self.asked.append((url, dict(params or {}), dict(headers or {})))
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return Answer(url, 200, httpx.Headers(self.headers), body)


def section(kind: str, url: str = "https://example.gov/api") -> SourceSection:
    return SourceSection(
        name="peer", kind=kind, title="Peer", agency="Agency", url=url, deadline_s=1.0, max_records=10_000
    )


def first_page(kind: str, body: bytes) -> Page:
    return next(iter(plugins.load("sources", kind)(section(kind), Canned(body)).pages(None)))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def peer() -> Iterator[LyingServer]:
    with LyingServer() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_names_itself(kind: str) -> None:
    source = plugins.load("sources", kind)
    assert source.kind == kind
    assert source.protocol
    assert source.__doc__


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize(
    "path", ["/html200", "/error500", "/hang", "/json", "/gzip-bomb", "/wrong-encoding", "/missing"]
)
def test_a_misbehaving_peer_gives_one_of_our_errors(peer: LyingServer, kind: str, path: str) -> None:
    # Whatever the protocol appends to the address, this peer misbehaves in the same way.
    with LyingServer() as own, Fetcher(True, timeout_s=0.7, max_bytes=2**20, retries=0) as fetcher:
        for end in ("", "/search", "/collections", "/collections.umm_json"):
            own.redirects["/x" + end] = peer.url(path)
        with pytest.raises(GenesisError) as caught:
            list(plugins.load("sources", kind)(section(kind, own.url("/x")), fetcher).pages(None))
        assert caught.value.message


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"7", b'"text"', b"{}", b'{"error": "no"}', b"", b"\xff\xfe", b"{"]
)
def test_another_shape_is_an_error_and_not_an_empty_list(kind: str, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        first_page(kind, body)


@pytest.mark.parametrize("kind", REMOTE)
def test_a_bad_record_is_rejected_and_the_others_are_read(kind: str) -> None:
    good, key = GOOD[kind]
    bad = [None, 3, "text", [], {}, dict.fromkeys(good, True), {name: [{}] for name in good}]
    page = first_page(kind, json.dumps({key: [good, *bad]}).encode())
    assert [record.id for record in page.records if isinstance(record, Dataset)] == ["peer.a"]
    rejected = [record for record in page.records if isinstance(record, Rejected)]
    assert len(rejected) == len(bad)
    assert all(record.reason for record in rejected)


@pytest.mark.parametrize("kind", REMOTE)
def test_records_come_with_their_natives_and_the_rejected_can_be_looked_at(kind: str) -> None:
    good, key = GOOD[kind]
    page = first_page(kind, json.dumps({key: [good, {"strange": "thing"}]}).encode())
    made, rejected = page.records
    assert isinstance(made, Dataset)
    assert isinstance(rejected, Rejected)
    assert {name: json.loads(text) for name, text in page.natives.items()} == {made.id: good}
    assert json.loads(rejected.native) == {"strange": "thing"}


@pytest.mark.parametrize("kind", ["dcat", "stac"])
def test_what_has_not_changed_is_not_read_again(kind: str) -> None:
    good, key = GOOD[kind]
    body = json.dumps({key: [good]}).encode()
    load = plugins.load("sources", kind)
    for headers in ({"ETag": '"one"'}, {"Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT"}, {}):
        (first,) = load(section(kind), Canned(body, headers=headers)).pages()
        (again,) = load(section(kind), Canned(body, headers=headers)).pages(state=first.state)
        assert (again.unchanged, again.records, again.state) == (True, [], first.state)
        (other,) = load(section(kind), Canned(body + b" ")).pages(state=first.state)
        assert not other.unchanged
        assert len(other.records) == 1


def test_cmr_asks_for_what_changed_since() -> None:
    good, key = GOOD["cmr"]
    fetcher = Canned(json.dumps({key: [good]}).encode(), headers={"Date": "Sat, 01 Nov 2025 12:00:00 GMT"})
    (page,) = plugins.load("sources", "cmr")(section("cmr"), fetcher).pages()
    assert page.state == {"since": "2025-11-01T11:50:00Z"}
    list(plugins.load("sources", "cmr")(section("cmr"), fetcher).pages(state=page.state))
    assert [params["updated_since"] for _, params, _ in fetcher.asked] == [None, "2025-11-01T11:50:00Z"]


def test_the_state_is_that_of_the_first_page_and_a_resumed_harvest_has_none() -> None:
    pages = {None: Page([], "b", state={"since": "1"}), "b": Page([], None, state={"since": "2"})}
    assert [page.state["since"] for page in follow(pages.__getitem__, None)] == ["1", "1"]
    assert [page.state for page in follow(pages.__getitem__, "b")] == [{}]


def test_datagov_follows_its_cursor_and_sends_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGOV_API_KEY", "key-of-test")
    bodies = [
        json.dumps(
            {"results": [{"identifier": f"n{n}", "title": "T"}], **({"after": f"c{n}"} if n < 2 else {})}
        ).encode()
        for n in range(3)
    ]
    fetcher = Canned(*bodies)
    source = plugins.load("sources", "datagov")(section("datagov", "https://example.gov/v4?q=x"), fetcher)
    assert len(list(source.pages(None))) == 3
    assert [params["after"] for _, params, _ in fetcher.asked] == [None, "c0", "c1"]
    assert {url for url, _, _ in fetcher.asked} == {"https://example.gov/v4/search?q=x"}
    assert all(headers["X-Api-Key"] == "key-of-test" for _, _, headers in fetcher.asked)


def test_cmr_takes_its_cursor_from_the_header() -> None:
    item = {"meta": {"concept-id": "a"}, "umm": {"EntryTitle": "A"}}
    fetcher = Canned(
        json.dumps({"items": [item]}).encode(),
        json.dumps({"items": []}).encode(),
        headers={"cmr-search-after": "c1"},
    )
    assert len(list(plugins.load("sources", "cmr")(section("cmr"), fetcher).pages(None))) == 2
    assert [headers.get("CMR-Search-After") for _, _, headers in fetcher.asked] == [None, "c1"]


def test_stac_follows_links_on_its_own_host_only() -> None:
    collection = {"id": "a", "extent": {"spatial": {}}}

    def body(**link: str) -> bytes:
        links = [{"rel": "next", **link}] if link else []
        return json.dumps({"collections": [collection], "links": links}).encode()

    load = plugins.load("sources", "stac")
    fetcher = Canned(body(href="collections?page=2"), body())
    assert len(list(load(section("stac"), fetcher).pages(None))) == 2
    assert fetcher.asked[1][0] == "https://example.gov/api/collections?page=2"
    for link in ({"href": "https://elsewhere.example/"}, {"href": "?page=2", "method": "POST"}):
        with pytest.raises(InvalidInput):
            list(load(section("stac"), Canned(body(**link))).pages(None))
    with pytest.raises(InvalidInput, match="never end"):
        list(load(section("stac"), Canned(body(href="?page=2"))).pages(None))


def test_every_source_of_the_laptop_site_has_a_plug_in_and_a_public_address() -> None:
    site = load_site(ROOT / "hub_config/sites/laptop.toml")
    assert site.catalog.sources
    for entry in site.catalog.sources:
        assert entry.kind in KINDS
        assert entry.url.startswith("https://")
        assert entry.access_label is not None


def read(name: str) -> bytes:
    path = DATA / name
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@needs_data
@pytest.mark.parametrize(
    ("kind", "name", "datasets", "rejected"),
    [
        ("dcat", "dcat/agency/energy.json", 482, 0),
        ("dcat", "dcat/agency/cms.json", 139, 0),
        ("dcat", "dcat/agency/fcc.json", 59, 0),
        ("dcat", "dcat/agency/opm.json", 134, 0),
        ("dcat", "dcat/agency/nasa-part-a.json", 450, 0),
        ("dcat", "dcat/agency/nasa-large.json.gz", 3600, 0),
        ("dcat", "dcat/ckanext-datajson/large-spatial.data.json", 1, 0),
        ("dcat", "dcat/ckanext-datajson/null-spatial.data.json", 1, 0),
        ("dcat", "dcat/ckanext-datajson/numerical-title.data.json", 1, 0),
        ("dcat", "dcat/ckanext-datajson/missing-dataset-fields.data.json", 0, 2),
        ("dcat", "dcat/ckanext-datajson/missing-catalog.data.json", 0, 2),
        ("dcat", "dcat/datagov-harvester/dcatus_with_none.json", 402, 0),
        ("dcat", "dcat/datagov-harvester/dcatus_same_title.json", 2, 0),
        ("dcat", "dcat/datagov-harvester/dcatus_long_description.json", 1, 0),
        ("dcat", "dcat/datagov-harvester/dcatus_bad_license_uri.json", 0, 1),
        ("dcat", "dcat/datagov-harvester/dcatus_no_identifier.json", 0, 1),
        ("dcat", "dcat/datagov-harvester/missing_title.json", 0, 1),
        ("dcat", "dcat/datagov-harvester/dcatus3_0.json", 4, 0),
        ("dcat", "dcat/datagov-harvester/dcatus3_0_invalid.json", 1, 1),
        ("dcat", "dcat/datagov-harvester/dcatus3_0_nested_catalog.json", 3, 0),
        ("dcat", "dcat/datagov-harvester/dcatus3_0_no_identifier.json", 0, 1),
        ("datagov", "datagov_v4/02-search-datasets.json", 1, 0),
        ("datagov", "datagov_v4/01-step-2-search-for-climate-datasets-from-nasa.json", 0, 2),
        ("cmr", "cmr/cmr/collections-umm-pocloud-20.json", 20, 0),
        ("cmr", "cmr/cmr/collections-umm-mur.json", 1, 0),
        ("cmr", "cmr/cmr/granules-umm-grace-163.json", 0, 163),
        ("cmr", "cmr/cmr/services-umm-2.json", 0, 1),
        ("stac", "stac/services/planetary-computer-collections.json", 126, 0),
        ("stac", "stac/services/earth-search-v0-collections.json", 4, 0),
        ("stac", "stac/services/earth-search-v1-collections.json", 9, 0),
        ("stac", "stac/services/spacebel-emc-collections-page2.json", 10, 0),
    ],
)
def test_real_payloads_are_read(kind: str, name: str, datasets: int, rejected: int) -> None:
    records = first_page(kind, read(name)).records
    made = [record for record in records if isinstance(record, Dataset)]
    assert (len(made), len(records) - len(made)) == (datasets, rejected)
    assert len({dataset.id for dataset in made}) == len(made)
    for dataset in made:
        assert dataset.title
        assert not dataset.openable
        assert all(d.url.startswith(("http://", "https://")) for d in dataset.distributions)


@needs_data
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dcat", "dcat/pod-dashboard/baddata.json"),
        ("datagov", "datagov_v4/08-notes.json"),
        ("datagov", "datagov_v4/10-response-codes-and-errors.json"),
        ("cmr", "cmr/cmr/granules-json-empty-page.json"),
        ("stac", "stac/services/pc-item-404.json"),
        ("stac", "stac/services/earth-search-v1-root.json"),
    ],
)
def test_real_payloads_of_another_kind_are_refused(kind: str, name: str) -> None:
    with pytest.raises(InvalidInput):
        first_page(kind, read(name))


@needs_data
def test_what_a_real_record_says_arrives() -> None:
    (mur,) = first_page("cmr", read("cmr/cmr/collections-umm-mur.json")).records
    assert isinstance(mur, Dataset)
    assert mur.id == "peer.c1996881146-pocloud"
    assert mur.doi == "10.5067/GHGMR-4FJ04"
    assert mur.spatial == (-180.0, -90.0, 180.0, 90.0)
    assert mur.temporal is not None
    assert str(mur.temporal[0]).startswith("2002")
    assert "netcdf" in mur.formats
