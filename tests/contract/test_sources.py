"""What holds for every registered source; each has a class of contract tests in ``sources/``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.sources._base import Page, follow, on_same_host
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import load_site
from genesis_workbench.testing.lying import LyingServer
from genesis_workbench.testing.sources import (
    Canned,
    make,
    section,
)

ROOT = Path(__file__).parents[2]


def test_every_registered_source_has_a_contract_test() -> None:
    files = (ROOT / "tests/contract/sources").glob("test_*.py")
    tested = {
        kind for file in files for kind in re.findall(r'^    kind = "(\w+)"$', file.read_text(), re.MULTILINE)
    }
    assert tested == set(plugins.names("sources"))


def test_the_state_is_that_of_the_first_page_and_a_resumed_harvest_has_none() -> None:
    pages = {None: Page([], "b", state={"since": "1"}), "b": Page([], None, state={"since": "2"})}
    assert [page.state["since"] for page in follow(pages.__getitem__, None)] == ["1", "1"]
    assert [page.state for page in follow(pages.__getitem__, "b")] == [{}]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("dcat", {"dataset": []}),
        ("stac", {"collections": []}),
        ("croissant", {"@type": "Dataset", "name": "a"}),
        ("nerdm", {"ResultCount": 0, "ResultData": []}),
        ("erddap", {"table": {"columnNames": ["datasetID"], "rows": []}}),
    ],
)
def test_etag_and_date_are_sent_back(kind: str, answer: Any) -> None:
    with LyingServer() as peer, Fetcher(True, timeout_s=5) as fetcher:
        paths = ("/x", "/x/collections", "/x/records", "/x/tabledap/allDatasets.json")
        peer.answers.update(dict.fromkeys(paths, answer))
        peer.etags.update(dict.fromkeys(paths, '"one"'))
        (first,) = make(kind, fetcher, peer.url("/x")).pages()
        assert first.state["etag"] == '"one"'
        (again,) = make(kind, fetcher, peer.url("/x")).pages(state=first.state)
        assert again.unchanged
        assert peer.statuses == [200, 304]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("?page=2", "https://example.gov/api?page=2"),
        ("/x", "https://example.gov/x"),
        ("http://example.gov/x", "https://example.gov/x"),  # a server behind a proxy that ends the encryption
        ("https://elsewhere.example/x", None),
        ("http://example.gov:8080/x", None),
        ("file:///etc/passwd", None),
        ("//169.254.169.254/x", None),
    ],
)
def test_a_next_page_is_on_the_same_host(address: str, expected: str | None) -> None:
    base = "https://example.gov/api"
    if expected is None:
        with pytest.raises(InvalidInput, match="another host"):
            on_same_host(section("stac"), address, base)
    else:
        assert on_same_host(section("stac"), address, base) == expected


def test_every_source_of_the_laptop_site_has_a_plug_in_and_a_public_address() -> None:
    site = load_site(ROOT / "hub_config/sites/laptop.toml")
    assert len({entry.name for entry in site.catalog.sources}) == len(site.catalog.sources)
    for entry in site.catalog.sources:
        plugins.load("sources", entry.kind)(entry, Canned(b""))
        assert entry.url.startswith(("https://", "s3://"))
        assert entry.access_label is not None
