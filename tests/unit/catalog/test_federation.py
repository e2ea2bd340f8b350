"""Live questions to many places: partial answers at once, and an honest word about each place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from genesis_workbench.catalog.federation import (
    ANSWERED,
    ASKED,
    FAILED,
    SKIPPED,
    SLOW,
    Federation,
    ItemResult,
    federate,
)
from genesis_workbench.catalog.sources._items import ItemQuery, read_bbox
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import SourceSection
from genesis_workbench.testing.lying import LyingServer

BOB = Person("bob")
STRUCTURE = {
    "type": "structures",
    "id": "s",
    "attributes": {"elements": ["Si"], "nelements": 1, "nsites": 2, "chemical_formula_reduced": "Si"},
}
GRANULE = {"meta": {"concept-id": "G1", "concept-type": "granule"}, "umm": {"GranuleUR": "one"}}
TABLE = {
    "table": {
        "columnNames": ["tabledap", "Title", "Institution", "Dataset ID"],
        "rows": [["https://example.gov/erddap/tabledap/buoys", "Buoys", "NOAA", "buoys"]],
    }
}


def scenes(query: Mapping[str, str]) -> Any:
    """Answer a search: two pages of two scenes each."""
    page = int(query.get("page", "1"))
    features = [{"type": "Feature", "id": f"scene-{page}-{n}", "properties": {}} for n in range(2)]
    links = [{"rel": "next", "href": "search?page=2"}] if page == 1 else []
    return {"type": "FeatureCollection", "features": [*features, {"type": "Feature"}], "links": links}


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    answers = {
        "/stac/search": scenes,
        "/optimade/v1/structures": {"data": [STRUCTURE], "links": {"next": None}},
        "/cmr/granules.umm_json": {"items": [GRANULE]},
        "/erddap/search/advanced.json": TABLE,
    }
    with LyingServer(answers) as server:
        yield server


def place(peer: LyingServer, kind: str, path: str, **more: Any) -> SourceSection:
    name = more.pop("name", kind)
    return SourceSection(name=name, kind=kind, title=name.upper(), agency="A", url=peer.url(path), **more)


def ask(
    *sections: SourceSection, query: ItemQuery | None = None, person: Person = BOB, **more: Any
) -> Federation:
    return federate(sections, query or ItemQuery(), person=person, allow_private=True, **more)


def states(found: Federation) -> dict[str, str]:
    return {answer.name: answer.state for answer in found.sources}


def test_what_comes_is_given_while_one_of_five_hangs(peer: LyingServer) -> None:
    peer.redirects["/hanging/search"] = "/hang"
    five = [place(peer, "stac", "/stac", name=f"good{n}") for n in range(4)]
    with ask(*five, place(peer, "stac", "/hanging", name="hanging"), deadline_s=3) as found:
        first = next(iter(found))
        assert first.id.startswith("scene-")
        assert states(found)["hanging"] == ASKED
        found.wait()
    assert len(found) == 4 * 4
    assert states(found) == {**{f"good{n}": ANSWERED for n in range(4)}, "hanging": SLOW}
    (late,) = (answer for answer in found.sources if answer.name == "hanging")
    assert late.since
    assert late.line().startswith("slow: 0 items in")
    assert found.done


def test_each_place_says_how_it_went(peer: LyingServer) -> None:
    for name, lie in {"broken": "/error500", "html": "/html200", "gone": "/missing"}.items():
        peer.redirects[f"/{name}/search"] = lie
    bad = [place(peer, "stac", f"/{name}", name=name) for name in ("broken", "html", "gone")]
    found = ask(place(peer, "stac", "/stac"), *bad, deadline_s=20).wait()
    assert states(found) == {"stac": ANSWERED, "broken": FAILED, "html": FAILED, "gone": FAILED}
    reasons = {answer.name: answer.reason for answer in found.sources}
    assert "status 500" in reasons["broken"]
    assert "HTML" in reasons["html"]
    assert {item.source for item in found} == {"stac"}
    assert "failed after" in repr(found)
    assert "STAC" in found._repr_html_()


def test_what_came_before_a_failure_is_kept(peer: LyingServer) -> None:
    peer.answers["/half/search"] = lambda query: scenes(query) if "page" not in query else b"<html>"
    found = ask(place(peer, "stac", "/half"), deadline_s=20).wait()
    (answer,) = found.sources
    assert (answer.state, answer.items, len(found)) == (FAILED, 2, 2)
    assert "2 items before that" in answer.line()


def test_every_kind_of_item_is_asked_in_its_own_terms(peer: LyingServer) -> None:
    found = ask(place(peer, "optimade", "/optimade"), query=ItemQuery(elements=("Si",)), deadline_s=20).wait()
    assert [(item.id, item.title) for item in found] == [("s", "Si")]
    assert "filter=%28elements%20HAS%20ALL%20%22Si%22%29" in peer.requests[-1].replace("+", "%20")
    question = ItemQuery(collections=("MODIS",), bbox=(1, 2, 3, 4), start="2020-01-01", end="2020-02-01")
    found = ask(
        place(peer, "cmr", "/cmr"), place(peer, "stac", "/stac"), query=question, deadline_s=20
    ).wait()
    assert {item.source for item in found} == {"cmr", "stac"}
    assert any(
        "short_name%5B%5D=MODIS" in asked and "bounding_box=1%2C2%2C3%2C4" in asked for asked in peer.requests
    )
    assert any("datetime=2020-01-01%2F2020-02-01" in asked for asked in peer.requests)
    question = ItemQuery(text="wave", bbox=(1, 2, 3, 4), start="2020-01-01")
    (table,) = ask(place(peer, "erddap", "/erddap"), query=question, deadline_s=20).wait()
    assert table.distributions[0].url.startswith(
        "https://example.gov/erddap/tabledap/buoys.csv?&time%3E=2020-01-01"
    )


def test_who_does_not_understand_the_question_is_not_asked(peer: LyingServer) -> None:
    found = ask(
        place(peer, "stac", "/stac"), place(peer, "optimade", "/optimade"), query=ItemQuery(elements=("Si",))
    )
    assert states(found.wait()) == {"stac": SKIPPED, "optimade": ANSWERED}
    assert "cannot be asked by elements" in repr(found)


def test_sources_that_one_may_not_see_are_not_even_named(peer: LyingServer) -> None:
    secret = place(peer, "stac", "/stac", name="secret", label="restricted", groups=["solar"])
    found = ask(secret, place(peer, "stac", "/stac"), deadline_s=20).wait()
    assert set(states(found)) == {"stac"}
    allowed = ask(secret, person=Person("ada", frozenset({"solar"})), deadline_s=20).wait()
    assert set(states(allowed)) == {"secret"}


def test_closing_ends_it_and_keeps_what_came(peer: LyingServer) -> None:
    peer.redirects["/hanging/search"] = "/hang"
    sections = place(peer, "stac", "/stac"), place(peer, "stac", "/hanging", name="hanging")
    with ask(*sections, deadline_s=60) as found:
        next(iter(found))
    assert found.done
    assert len(found.items) >= 1
    assert [item.id for item in found] == [item.id for item in found.items]


def test_a_fault_in_a_plug_in_is_its_own(peer: LyingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis_workbench.catalog.sources.optimade import OptimadeSource

    def broken(self: Any, query: ItemQuery) -> Any:
        raise KeyError("oops")

    monkeypatch.setattr(OptimadeSource, "items", broken)
    found = ask(place(peer, "optimade", "/optimade"), place(peer, "stac", "/stac"), deadline_s=20).wait()
    assert states(found) == {"optimade": FAILED, "stac": ANSWERED}
    assert "has a fault: KeyError" in found.sources[0].reason


def test_limits_are_limits(peer: LyingServer) -> None:
    found = ask(place(peer, "stac", "/stac"), query=ItemQuery(limit=3), deadline_s=20).wait()
    assert len(found) == 3
    for bad in ({"deadline_s": 0}, {"deadline_s": 1e6}, {"query": ItemQuery(limit=0)}):
        with pytest.raises(InvalidInput):
            ask(place(peer, "stac", "/stac"), **bad)
    with pytest.raises(InvalidInput, match="no source that can be asked"):
        ask(place(peer, "dcat", "/data.json"))


def test_a_result_goes_through_json_and_stays_the_same(peer: LyingServer) -> None:
    peer.redirects["/gone/search"] = "/missing"
    found = ask(place(peer, "stac", "/stac"), place(peer, "stac", "/gone", name="gone"), deadline_s=20).wait()
    result = found.result()
    assert ItemResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    assert repr(result) == repr(found)
    assert len(result) == len(found) == 4


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,50,10,40", "999,0,1,1"])
def test_a_box_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no box"):
        read_bbox(text)


def test_the_service_asks_the_sources_of_the_site(peer: LyingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call outside a hub: the site file names the sources."""
    import genesis_workbench as gw
    from genesis_workbench.core import service

    monkeypatch.setattr(service, "service", lambda: None)
    monkeypatch.setattr("genesis_workbench.catalog._site_sources", lambda: [place(peer, "stac", "/stac")])
    found = gw.catalog.items(deadline_s=5)
    (answer,) = found.sources
    assert answer.state == FAILED
    assert "not a public address" in answer.reason


@pytest.mark.parametrize(
    "lie", ["/pages-for-ever", "/other-json", "/drip", "/gzip-bomb", "/cut", "/redirect-loop"]
)
@pytest.mark.parametrize("kind", ["stac", "optimade", "cmr", "erddap"])
def test_no_lie_keeps_an_answer_from_ending(peer: LyingServer, kind: str, lie: str) -> None:
    peer.lie = lie
    found = ask(
        place(peer, kind, "/x"),
        query=ItemQuery(collections=("c",)) if kind == "cmr" else None,
        deadline_s=0.5,
    )
    assert found.wait().done
    (answer,) = found.sources
    assert answer.state in (ANSWERED, FAILED, SLOW)
    assert answer.items <= 50
