"""Harvests: what is kept, what is said, and what the ledger has afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.harvest import HarvestReport, harvest
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site, SourceSection
from genesis_workbench.testing.lying import LyingServer

BOB = Person("bob")


def native(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "identifier": name,
        "title": f"Title of {name}",
        "description": "d",
        "publisher": {"name": "p"},
        "contactPoint": {"fn": "c"},
        **fields,
    }


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with LyingServer({"/data.json": {"dataset": [native("one"), native("two")]}}) as server:
        yield server


@pytest.fixture
def section(peer: LyingServer) -> SourceSection:
    return SourceSection(
        name="lab", kind="dcat", title="Lab", agency="Lab", url=peer.url("/data.json"), deadline_s=1.5
    )


@pytest.fixture
def catalog(tmp_path: Path, section: SourceSection) -> Iterator[LocalCatalog]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    yield LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)
    ledger.close()


def take(catalog: LocalCatalog, section: SourceSection) -> HarvestReport:
    return harvest(catalog, section, allow_private=True)


def state(catalog: LocalCatalog) -> Any:
    return {status.name: status for status in catalog.sources(BOB)}["lab"]


def ids(catalog: LocalCatalog) -> list[str]:
    return sorted(item.id for item in catalog.search(person=BOB, source="lab"))


def test_a_harvest_is_one_event_with_a_digest(catalog: LocalCatalog, section: SourceSection) -> None:
    assert state(catalog).state == "never"
    report = take(catalog, section)
    assert (report.ok, report.complete, report.records, report.rejected) == (True, True, 2, 0)
    assert ids(catalog) == ["lab.one", "lab.two"]
    (event,) = catalog.ledger.read(stream="catalog/source/lab")
    assert event.kind == "source.harvested"
    assert event.body["records"] == 2
    assert event.body["digest"] == report.digest
    assert (state(catalog).state, state(catalog).records) == ("fresh", 2)
    assert take(catalog, section).digest == report.digest


def test_vanished_records_go_after_a_complete_harvest_only(
    catalog: LocalCatalog, section: SourceSection, peer: LyingServer
) -> None:
    take(catalog, section)
    peer.answers["/data.json"] = {"dataset": [native("three"), native("four")]}
    partial = take(catalog, section.model_copy(update={"max_records": 1}))
    assert (partial.ok, partial.complete, partial.records, partial.removed) == (True, False, 1, 0)
    assert "at most" in partial.reason
    assert ids(catalog) == ["lab.one", "lab.three", "lab.two"]
    assert take(catalog, section).removed == 2
    assert ids(catalog) == ["lab.four", "lab.three"]


def test_a_failed_harvest_keeps_what_was_known_and_says_since_when(
    catalog: LocalCatalog, section: SourceSection
) -> None:
    take(catalog, section)
    broken = section.model_copy(update={"url": section.url.replace("data.json", "html200")})
    first = take(catalog, broken)
    assert not first.ok
    assert "HTML" in first.reason
    since = state(catalog).since
    take(catalog, broken)
    now = state(catalog)
    assert (now.state, now.since, now.records) == ("unreachable", since, 2)
    assert "unreachable since" in catalog.search(person=BOB)._repr_html_()
    kinds = [event.kind for event in catalog.ledger.read(stream="catalog/source/lab")]
    assert kinds == ["source.harvested", "source.failed", "source.failed"]
    take(catalog, section)
    assert state(catalog).state == "fresh"


@pytest.mark.parametrize(
    "path", ["/hang", "/drip", "/gzip-bomb", "/error500", "/redirect-loop", "/json", "/cut"]
)
def test_no_peer_makes_a_harvest_raise(
    catalog: LocalCatalog, section: SourceSection, peer: LyingServer, path: str
) -> None:
    report = take(catalog, section.model_copy(update={"url": peer.url(path), "deadline_s": 1.0}))
    assert not report.ok
    assert report.reason
    assert catalog.ledger.verify().ok


def test_a_private_address_is_refused_unless_allowed(catalog: LocalCatalog, section: SourceSection) -> None:
    report = harvest(catalog, section)
    assert not report.ok
    assert "not a public address" in report.reason


def test_an_unknown_kind_is_a_failure_with_a_reason(catalog: LocalCatalog, section: SourceSection) -> None:
    report = take(catalog, section.model_copy(update={"kind": "dcatt"}))
    assert "Did you mean 'dcat'" in report.reason


def test_pages_that_never_end_are_left_at_the_limit(
    catalog: LocalCatalog, section: SourceSection, peer: LyingServer
) -> None:
    endless = section.model_copy(
        update={"kind": "datagov", "url": peer.url("/pages"), "max_records": 25, "deadline_s": 60.0}
    )
    report = take(catalog, endless)
    assert (report.ok, report.complete, report.records) == (True, False, 25)


@pytest.mark.parametrize("after", ["same", "other"])
def test_pages_that_repeat_are_left(
    catalog: LocalCatalog, section: SourceSection, peer: LyingServer, after: str
) -> None:
    peer.answers["/again/search"] = {"results": [{"identifier": "a", "title": "A"}], "after": after}
    report = take(catalog, section.model_copy(update={"kind": "datagov", "url": peer.url("/again")}))
    assert not report.ok
    assert report.records == 1
    assert len(peer.requests) == 2


def test_bad_records_are_counted_with_their_reasons(
    catalog: LocalCatalog, section: SourceSection, peer: LyingServer
) -> None:
    peer.answers["/data.json"] = {
        "dataset": [
            native("one"),
            native("one"),
            native(""),
            "text",
            None,
            native("x", title=None),
            native("y", title=[{}]),
        ]
    }
    report = take(catalog, section)
    assert (report.records, report.rejected) == (1, 6)
    reasons = {rejected.reason for _, rejected in catalog.rejected("lab")}
    assert "another record of this source has the same identifier" in reasons
    assert "it has no identifier" in reasons
    assert "it lacks title, which DCAT-US requires" in reasons
    assert state(catalog).rejected == 6


def test_records_carry_the_label_and_groups_of_their_source(
    catalog: LocalCatalog, section: SourceSection
) -> None:
    take(catalog, section.model_copy(update={"label": "restricted", "groups": ["solar"]}))
    assert ids(catalog) == []
    assert catalog.search(person=Person("a", frozenset({"solar"})), source="lab").total == 2


def test_the_site_names_what_can_be_harvested(catalog: LocalCatalog, section: SourceSection) -> None:
    assert catalog.section("lab") == section
    with pytest.raises(NotFound, match="It has: lab"):
        catalog.section("lib")
