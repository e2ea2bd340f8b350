"""Search, labels, and what the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_workbench.catalog import writing
from genesis_workbench.catalog.compiling import may
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.index import SearchIndex
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.request import request
from genesis_workbench.catalog.result import SearchResult, SourceStatus
from genesis_workbench.catalog.searching import Hits, Searching
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import CLEARANCE, Label, Person
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site, SourceSection

ALICE = Person("alice", groups=frozenset({"solar"}))
BOB = Person("bob")


def record(name: str, **fields: object) -> Dataset:
    return Dataset.model_validate(
        {"id": f"lab.{name}", "title": name, "source": "lab", "agency": "Lab", **fields}
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[LocalCatalog]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    yield LocalCatalog(ledger, None, tmp_path)
    ledger.close()


def keep(catalog: LocalCatalog, *datasets: Dataset, source: str = "lab", **row: object) -> None:
    """Write `datasets` as all that a source has."""
    known = SourceRow(**{"name": source, "title": source.title(), "agency": "Lab", "label": "public", **row})
    writing.put(catalog.store, known, [Page(list(datasets))])


def test_starter_data_are_there_without_a_harvest(catalog: LocalCatalog) -> None:
    result = catalog.search(person=BOB)
    assert result.total == 6
    assert {item.id for item in result} >= {"linke-turbidity", "mauna-loa-co2"}
    assert catalog.search("carbon dioxide", person=BOB)[0].id == "mauna-loa-co2"
    assert catalog.get("altitude", BOB).openable


def test_a_title_counts_more_than_a_description(catalog: LocalCatalog) -> None:
    keep(
        catalog,
        record("one", title="Ocean currents", description="Measured beside neutrino detectors"),
        record("two", title="Neutrino events", description="Measured in ice"),
        record("three", title="Ice", keywords=["neutrino"]),
    )
    hits = [item.id for item in catalog.search("neutrinos", person=BOB)]
    assert hits == ["lab.two", "lab.three", "lab.one"]


def test_a_slip_of_the_pen_still_finds(catalog: LocalCatalog) -> None:
    result = catalog.search("turbidty", person=BOB)
    assert [item.id for item in result] == ["linke-turbidity"]
    assert "near spellings" in result.note


def test_some_words_are_better_than_none(catalog: LocalCatalog) -> None:
    result = catalog.search("sunspots qqqqqqqq", person=BOB)
    assert result[0].id == "sunspots"
    assert "some of them" in result.note


def test_filters_and_facets(catalog: LocalCatalog) -> None:
    result = catalog.search(format="hdf5", person=BOB)
    assert {item.id for item in result} == {"linke-turbidity", "altitude"}
    assert result.facets["format"] == {"hdf5": 2}
    assert catalog.search(agency="NOAA Climate Prediction Center", person=BOB).total == 1
    assert catalog.search(source="nowhere", person=BOB).total == 0


def test_pages_give_each_record_once(catalog: LocalCatalog) -> None:
    keep(catalog, *(record(f"n{n:02}", title="Same words") for n in range(25)))
    for text, total in (("", 31), ("same words", 25)):
        seen: list[str] = []
        cursor = None
        while True:
            page = catalog.search(text, person=BOB, limit=10, cursor=cursor)
            seen += [item.id for item in page]
            cursor = page.next
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == total


@pytest.mark.parametrize(
    "arguments", [{"limit": 0}, {"limit": 1000}, {"cursor": "no cursor"}, {"cursor": "LTE"}]
)
def test_what_cannot_be_a_page(catalog: LocalCatalog, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        catalog.search(person=BOB, **arguments)


def test_restricted_data_leave_no_trace_for_outsiders(catalog: LocalCatalog) -> None:
    secret = record(
        "secret",
        title="Perovskite recipe",
        agency="Secret agency",
        formats=["sql"],
        label="restricted",
        groups=["solar"],
    )
    keep(catalog, secret, record("open", title="Open perovskite data"))
    inside = catalog.search("perovskite", person=ALICE)
    assert inside.total == 2
    assert catalog.get("lab.secret", ALICE).title == "Perovskite recipe"

    outside = catalog.search("perovskite", person=BOB)
    assert (outside.total, [item.id for item in outside]) == (1, ["lab.open"])
    assert "Secret agency" not in outside.facets["agency"]
    assert "sql" not in outside.facets["format"]
    assert outside.facets["source"] == {"lab": 1}
    assert {s.name: s.records for s in outside.sources}["lab"] == 1
    assert {s.name: s.records for s in inside.sources}["lab"] == 2
    # Neither by filter, nor by the near spellings, nor by name.
    assert catalog.search(agency="Secret agency", person=BOB).total == 0
    assert catalog.search("perovskyte recipe", person=BOB, format="sql").total == 0
    with pytest.raises(NotFound) as hidden:
        catalog.get("lab.secret", BOB)
    with pytest.raises(NotFound) as absent:
        catalog.get("lab.absent", BOB)
    assert str(hidden.value).replace("secret", "absent") == str(absent.value)
    with pytest.raises(NotFound):
        catalog.record_opening("lab.secret", BOB)


def test_a_restricted_source_is_not_listed_for_outsiders(catalog: LocalCatalog) -> None:
    keep(catalog, record("x", label="restricted", groups=["solar"]), label="restricted", groups=("solar",))
    assert [s.name for s in catalog.sources(BOB)] == ["starter"]
    assert [s.name for s in catalog.sources(ALICE)] == ["starter", "lab"]


people = st.builds(
    Person,
    st.sampled_from(["ann", "bea"]),
    st.frozensets(st.sampled_from(["g", "h"])),
    st.frozensets(st.sampled_from(sorted(CLEARANCE.values()))),
    st.booleans(),
)
rules = st.tuples(
    st.sampled_from([str(label) for label in Label]),
    st.lists(st.sampled_from(["g", "h", "i"]), unique=True),
    st.sampled_from(["", "ann", "cleo"]),
)


def indexed(*datasets: Dataset) -> Searching:
    index = SearchIndex(None)
    with index.writing(len(datasets)) as changes:
        assert changes is not None
        changes.replace([], {dataset.id: [dataset] for dataset in datasets})
        changes.commit((1, "z"))
    return Searching(index)


def ask(searching: Searching, text: str, person: Person, **narrow: object) -> Hits:
    return searching.search(request(text, **narrow), may(person), limit=50, cursor=None)


@settings(deadline=None, max_examples=60)
@given(st.lists(rules, max_size=8), people)
def test_the_index_permits_exactly_what_the_rule_permits(
    rules: list[tuple[str, list[str], str]], person: Person
) -> None:
    datasets = [
        record(f"n{n}", label=label, groups=groups, owner=owner)
        for n, (label, groups, owner) in enumerate(rules)
    ]
    searching = indexed(*datasets)
    permitted = {d.id for d in datasets if d.access_rule.permits(person)}
    for text in ("", "-absent", "NOT (absent OR nothing)"):
        found = ask(searching, text, person)
        assert set(found.ids) == permitted
        assert found.total == len(found.ids)
        assert sum(found.facets.get("label", {}).values()) == found.total
    assert searching.records_by_source(may(person)).get("lab", 0) == len(permitted)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [
                    "-",
                    "NOT ",
                    "(",
                    ")",
                    " OR ",
                    "secret",
                    "open",
                    "label:restricted",
                    "id:lab.secret",
                    "*",
                    '"',
                    " ",
                ]
            )
        ).map("".join),
    )
)
def test_no_text_shows_what_one_may_not_see(text: str) -> None:
    try:
        found = ask(_one_secret(), text, BOB)
    except InvalidInput:
        return
    assert set(found.ids) <= {"lab.open"}
    assert found.total <= 1
    assert set(found.facets.get("label", {})) <= {"public"}


@pytest.mark.parametrize(
    "text",
    [
        "label:restricted",
        "* OR label:restricted",
        "group:solar",
        "may:public",
        "id:lab.secret",
        "a^^",
        "[a TO b]",
        "-x",
        "NOT NOT label:restricted",
        "title:secret OR -title:secret",
    ],
)
def test_the_engines_syntax_is_only_words(text: str) -> None:
    assert "lab.secret" not in ask(_one_secret(), text, BOB).ids


_INDEX: list[Searching] = []


def _one_secret() -> Searching:
    if not _INDEX:
        _INDEX.append(indexed(record("secret", label="restricted", groups=["solar"]), record("open")))
    return _INDEX[0]


def test_an_opening_is_an_event(catalog: LocalCatalog) -> None:
    catalog.record_opening("altitude", BOB)
    (event,) = catalog.ledger.read(stream="dataset/altitude")
    assert (event.kind, event.actor) == ("dataset.opened", "bob")
    assert event.body["digest"] == catalog.get("altitude", BOB).native_digest


def test_two_catalogs_on_one_database_see_the_same(catalog: LocalCatalog, tmp_path: Path) -> None:
    other = LocalCatalog(catalog.ledger, None, tmp_path)
    assert other.search(person=BOB).total == 6
    keep(catalog, record("new"))
    assert other.search(person=BOB).total == 7


def test_disabled_sources_are_said_and_not_shown(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    section = SourceSection(name="lab", kind="dcat", title="Lab", agency="Lab", enabled=False)
    catalog = LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)
    keep(catalog, record("new"))
    assert catalog.search(person=BOB).total == 6
    assert {s.name: s.state for s in catalog.sources(BOB)}["lab"] == "disabled"
    with pytest.raises(NotFound):
        catalog.get("lab.new", BOB)
    ledger.close()


class Tags(HTMLParser):
    """Collects the tags that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_escapes_everything_and_says_how_to_open(catalog: LocalCatalog) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    keep(
        catalog,
        record(
            "bad", title=bad, agency=bad, licence=bad, access=bad, landing_page='https://x.gov/"onclick="a'
        ),
        title=bad,
    )
    result = catalog.search(person=BOB)
    page = result._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert not {"script", "img"} & set(tags.seen)
    assert "gw.catalog.open(" in page
    assert "fresh, less than a minute ago" in page
    assert "no, see its page" in page


def test_an_empty_page_says_what_to_try(catalog: LocalCatalog) -> None:
    assert "Try fewer words" in catalog.search("qqqqqqqqqqq", person=BOB)._repr_html_()


def test_a_result_survives_the_way_through_json(catalog: LocalCatalog) -> None:
    import json

    result = catalog.search("solar", person=BOB)
    assert SearchResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    assert list(result.to_frame()["id"]) == [item.id for item in result]


def test_states_in_words() -> None:
    named = ("x", "X", "A")
    assert SourceStatus(*named, "never").line() == "not harvested yet"
    assert SourceStatus(*named, "disabled").line() == "disabled"
    assert (
        SourceStatus(*named, "unreachable", "2020-01-01T12:00:00.000000Z")
        .line()
        .startswith("unreachable since 2020-")
    )
    assert SourceStatus(*named, "stale", "2020-01-01T12:00:00.000000Z").line().endswith("days ago")
