"""The index against a plain reading of the same records, and as it follows the store."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_workbench.catalog import writing
from genesis_workbench.catalog.compiling import may
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.following import Follower
from genesis_workbench.catalog.index import SearchIndex, days, hours, letters
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.request import request
from genesis_workbench.catalog.searching import Searching
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.core.ledger import Ledger

BOB = Person("bob")
ALICE = Person("alice", groups=frozenset({"solar"}))


def record(name: str, source: str = "lab", **fields: Any) -> Dataset:
    values = {"id": f"{source}.{name}", "title": name, "source": source, "agency": "Lab", **fields}
    return Dataset.model_validate(values)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def catalog(ledger: Ledger, tmp_path: Path) -> LocalCatalog:
    return LocalCatalog(ledger, None, tmp_path)


def put(catalog: LocalCatalog, *datasets: Dataset, source: str = "lab", label: str = "public") -> None:
    writing.put(catalog.store, SourceRow(source, source, "Lab", label), [Page(list(datasets))])


def ids(catalog: LocalCatalog, text: str = "", person: Person = BOB, **narrow: Any) -> set[str]:
    found = catalog.search(text, person=person, limit=200, **narrow)
    assert found.total == len(found.items)
    return {item.id for item in found if item.source != "starter"}


def test_words_phrases_fields_exclusion_and_or(catalog: LocalCatalog) -> None:
    put(
        catalog,
        record("one", title="Sea ice of the Arctic", description="Thickness", keywords=["cold oceans"]),
        record("two", title="Ice in the sea", agency="Department of Energy", licence="CC0-1.0"),
        record("three", title="Clouds", description="No sea, but ice crystals", doi="10.5067/ABC-1"),
        record("four", title="Sunspots", formats=["netcdf"], modified="2019-05-05"),
    )
    every = {"lab.one", "lab.two", "lab.three", "lab.four"}
    for text, found in {
        "sea ice": {"lab.one", "lab.two", "lab.three"},
        '"sea ice"': {"lab.one"},
        "ICES": {"lab.one", "lab.two", "lab.three"},
        "ice -crystal": {"lab.one", "lab.two"},
        "clouds OR sunspot": {"lab.three", "lab.four"},
        "(clouds OR arctic) ice": {"lab.one", "lab.three"},
        "title:ice": {"lab.one", "lab.two"},
        'title:"sea ice"': {"lab.one"},
        "agency:energy": {"lab.two"},
        'publisher:"department of energy"': {"lab.two"},
        "keyword:ocean": {"lab.one"},
        "licence:cc0": {"lab.two"},
        "doi:10.5067/abc-1": {"lab.three"},
        "id:lab.four": {"lab.four"},
        "format:NetCDF": {"lab.four"},
        "year:2019": {"lab.four"},
        "year:2015..2020": {"lab.four"},
        "source:lab -title:ice": {"lab.three", "lab.four"},
        "source:lab NOT year:2019": every - {"lab.four"},
        "source:lab the of": every,
        "source:lab -(ice OR sunspots)": set(),
    }.items():
        assert ids(catalog, text) == found, text


def test_a_slip_of_the_pen_is_forgiven_beside_filters(catalog: LocalCatalog) -> None:
    put(catalog, record("one", title="Turbidity of lakes", formats=["csv"]))
    assert ids(catalog, "turbidty format:csv") == {"lab.one"}
    assert ids(catalog, "turbidty format:json") == set()


def test_where_the_words_stand_is_told_as_ranges(catalog: LocalCatalog) -> None:
    put(catalog, record("one", title="<b>Ices</b> & snow", description="Über Ice and title"))
    found = catalog.search('ice -water title:snow "über ice"', person=BOB)
    marks = found.highlights["lab.one"]
    title, text = found.items[0].title, found.items[0].description
    assert [title[a:b] for a, b in marks["title"]] == ["Ices", "snow"]
    assert [text[a:b] for a, b in marks["description"]] == ["Über", "Ice"]
    assert catalog.search(person=BOB).highlights == {}
    page = found._repr_html_()
    assert "&lt;b&gt;|Ices|&lt;/b&gt; &amp; |snow|" in re.sub("</?mark[^>]*>", "|", page)


names = st.sampled_from(["alpha", "beta", "gamma"])
ends = st.sampled_from([None, "1999", "2001-02", "2005-06-07", "2012-12-31"])
boxes = st.tuples(
    st.integers(-180, 180), st.integers(-90, 90), st.integers(-180, 180), st.integers(-90, 90)
).map(lambda b: (b[0], min(b[1], b[3]), b[2], max(b[1], b[3])))
datasets = st.builds(
    lambda **fields: fields,
    title=st.lists(names, min_size=1, max_size=3).map(" ".join),
    agency=st.sampled_from(["", "A", "B"]),
    formats=st.lists(st.sampled_from(["csv", "json"]), unique=True),
    licence=st.sampled_from(["", "cc0"]),
    modified=st.sampled_from(["", "2001", "2002-03-04"]),
    spatial=st.none() | boxes,
    temporal=st.none() | st.tuples(ends, ends),
    label=st.sampled_from(["public", "restricted"]),
    groups=st.lists(st.sampled_from(["solar", "fusion"]), unique=True),
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "text": st.sampled_from(["alpha", "alpha beta", "alpha OR gamma", "-beta", '"alpha beta"']),
        "agency": st.sampled_from(["A", "B"]),
        "format": st.sampled_from(["csv", "json"]),
        "licence": st.just("cc0"),
        "year": st.sampled_from([2001, 2002]),
        "bbox": boxes,
        "period": st.tuples(ends, ends).filter(lambda p: not (p[0] and p[1]) or p[0][:4] <= p[1][:4]),
        "label": st.sampled_from(["public", "restricted"]),
    },
)


def touches(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    def spans(one: tuple[float, ...]) -> list[tuple[float, float]]:
        return [(one[0], one[2])] if one[0] <= one[2] else [(one[0], 180), (-180, one[2])]

    wide = any(a <= d and c <= b for a, b in spans(box) for c, d in spans(other))
    return wide and box[1] <= other[3] and other[1] <= box[3]


def plainly(each: Dataset, wish: dict[str, Any], person: Person) -> bool:
    """Whether a record is asked for, read off the record itself."""
    words = each.title.split()
    wanted = {
        "alpha": "alpha" in words,
        "alpha beta": {"alpha", "beta"} <= set(words),
        "alpha OR gamma": bool({"alpha", "gamma"} & set(words)),
        "-beta": "beta" not in words,
        '"alpha beta"': "alpha beta" in each.title,
    }
    start, end = each.temporal or (None, None)
    if "period" in wish:
        if not (start or end):
            return False
        first, last = days(wish["period"][0], last=False), days(wish["period"][1], last=True)
        mine, to = days(start, last=False), days(end, last=True)
        if (last is not None and mine is not None and mine > last) or (
            first is not None and to is not None and to < first
        ):
            return False
    if "bbox" in wish and not (each.spatial and touches(each.spatial, wish["bbox"])):
        return False
    return (
        each.access_rule.permits(person)
        and (wanted[wish["text"]] if "text" in wish else True)
        and wish.get("agency", each.agency) == each.agency
        and ("format" not in wish or wish["format"] in each.formats)
        and wish.get("licence", each.licence) == each.licence
        and wish.get("year", each.year) == each.year
        and wish.get("label", each.label) == each.label
    )


@settings(max_examples=150)
@given(
    st.lists(datasets, max_size=12), st.lists(wishes, min_size=4, max_size=4), st.sampled_from([BOB, ALICE])
)
def test_hits_counts_and_facets_are_those_of_a_plain_reading(
    made: list[dict[str, Any]], wished: list[dict[str, Any]], person: Person
) -> None:
    records = [record(f"n{n}", **fields) for n, fields in enumerate(made)]
    index = SearchIndex(None)
    with index.writing(1) as changes:
        assert changes is not None
        changes.replace([], {each.id: [each] for each in records})
        changes.commit((1, "z"))
    searching = Searching(index)
    for wish in wished:
        text = wish.get("text", "")
        asked = request(text, **{name: value for name, value in wish.items() if name != "text"})
        found = searching.search(asked, may(person), limit=50, cursor=None)
        right = [each for each in records if plainly(each, wish, person)]
        if found.note:  # nothing has the words: near spellings, or some of them, are another question
            assert not right
            continue
        assert set(found.ids) == {each.id for each in right}, wish
        assert found.total == len(right)
        for name, values in {
            "agency": Counter(each.agency for each in right if each.agency),
            "format": Counter(value for each in right for value in each.formats),
            "licence": Counter(each.licence for each in right if each.licence),
            "label": Counter(each.label for each in right),
            "year": Counter(str(each.year) for each in right if each.year),
        }.items():
            assert found.facets.get(name, {}) == values, name


@pytest.mark.parametrize("sort", ["relevance", "newest", "title"])
@pytest.mark.parametrize("text", ["", "words"])
def test_pages_neither_repeat_nor_miss_while_records_come_and_go(
    catalog: LocalCatalog, text: str, sort: str
) -> None:
    chance = random.Random(3)
    here = [
        record(f"n{n:02}", title=f"{chance.choice('abcdef')} words", modified=f"20{n:02}") for n in range(40)
    ]
    put(catalog, *here)
    found = catalog.search(text, person=BOB, source="lab", sort=sort, limit=7)
    seen = [item.id for item in found]
    step = 0
    while found.next:
        step += 1
        # New ones that would come first, and one of those not seen yet goes.
        fresh = [record(f"new{step}{n}", title="a words words", modified="2026") for n in range(5)]
        put(catalog, *here, *fresh)
        found = catalog.search(text, person=BOB, source="lab", sort=sort, limit=7, cursor=found.next)
        assert found.total == 40
        seen += [item.id for item in found]
    assert seen == list(dict.fromkeys(seen))
    assert set(seen) == {each.id for each in here}
    assert catalog.search(text, person=BOB, source="lab").total == 45


def test_sorting(catalog: LocalCatalog) -> None:
    put(
        catalog,
        record("a", title="Zebra", modified="2020"),
        record("b", title="émeraude", modified="2021-02"),
        record("c", title="2 apples"),
    )
    newest = [item.id for item in catalog.search(person=BOB, source="lab", sort="newest")]
    titles = [item.id for item in catalog.search(person=BOB, source="lab", sort="title")]
    assert newest == ["lab.b", "lab.a", "lab.c"]
    assert titles == ["lab.c", "lab.b", "lab.a"]


@given(st.text(), st.text())
def test_titles_are_ordered_by_their_first_letters(one: str, other: str) -> None:
    assert 0 <= letters(one) < 2**50
    plain_one, plain_other = (
        "".join(c for c in each.lower() if c in "abcdefghijklmnopqrstuvwxyz")[:10] for each in (one, other)
    )
    if plain_one < plain_other and one.isascii() and other.isascii() and (one + other).isalpha():
        assert letters(one) <= letters(other)


def test_days_and_hours() -> None:
    assert days("1970-01-01", last=False) == 0
    assert days("1970", last=True) == 364
    assert days("1972-02", last=True) == days("1972-02-29", last=False)
    assert days("1971-12", last=True) == 729
    assert [days(text, last=False) for text in ("", None, "soon", "2001-13", "2001-02-30")] == [None] * 5
    assert hours("1970-01-01T01:30:00Z") - hours("1970-01-01") == 1
    assert hours("") == 0


def test_a_cursor_is_of_one_search_and_of_ones_own_rights(catalog: LocalCatalog, tmp_path: Path) -> None:
    put(catalog, *(record(f"n{n}", title="Same") for n in range(9)))
    cursor = catalog.search("same", person=BOB, limit=5).next
    for wrong in ({"text": "other", "person": BOB}, {"text": "same", "person": ALICE}):
        with pytest.raises(InvalidInput, match="another search"):
            catalog.search(limit=5, cursor=cursor, **wrong)
    anew = LocalCatalog(catalog.ledger, None, tmp_path).search("same", person=BOB, limit=5, cursor=cursor)
    assert len(anew) == 4
    assert "opened anew" in anew.note


@pytest.mark.parametrize(
    ("narrow", "words"),
    [
        ({"bbox": (0, 0, 1)}, "bounding box"),
        ({"bbox": (0, 10, 1, 0)}, "south first"),
        ({"bbox": (0, 0, float("nan"), 1)}, "not on the Earth"),
        ({"period": ("2010", "2001")}, "backwards"),
        ({"period": ("soon", None)}, "is no date"),
        ({"period": "2010"}, "is no period"),
        ({"sort": "rank"}, "relevance, newest, title"),
        ({"label": "secret"}, "no access label"),
        ({"text": "(ice"}, "character 1"),
    ],
)
def test_what_cannot_be_asked(catalog: LocalCatalog, narrow: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        catalog.search(**{"person": BOB, **narrow})


def test_the_same_dataset_of_several_sources_is_one_hit_with_its_places(catalog: LocalCatalog) -> None:
    put(catalog, record("x", title="Sea ice", doi="10.1234/Ice", description="most is said here"))
    put(catalog, record("y", "dep", title="Ice of the sea", doi="10.1234/ICE", formats=["csv"]), source="dep")
    put(catalog, record("z", "far", title="Sea ice.", modified="2020"), source="far")
    found = catalog.search("sea ice", person=BOB)
    assert sorted(item.id for item in found if item.source != "starter") == ["far.z", "lab.x"]
    assert [(place.id, place.source) for place in found.places["lab.x"]] == [("dep.y", "dep")]
    assert found.facets["source"] == {"lab": 1, "far": 1}
    assert ids(catalog, source="dep") == ids(catalog, "source:dep") == ids(catalog, "id:dep.y") == {"lab.x"}
    assert ids(catalog, format="csv") == {"lab.x"}
    assert {each.name: each.records for each in catalog.sources(BOB)} == {
        "starter": 6,
        "lab": 1,
        "dep": 1,
        "far": 1,
    }
    # A record that ties all three together, by its title, publisher and year and by its DOI.
    put(catalog, record("v", "tie", title="Sea Ice", modified="2020-02-02", doi="10.1234/ice"), source="tie")
    (one,) = catalog.search("sea ice", person=BOB)
    assert {place.source for place in catalog.search("sea ice", person=BOB).places[one.id]} == {
        "dep",
        "far",
        "tie",
    }
    # It goes again, and so does one of the others.
    put(catalog, source="tie")
    put(catalog, source="dep")
    assert ids(catalog, "sea ice") == {"lab.x", "far.z"}
    assert catalog.search("sea ice", person=BOB).places == {}
    assert catalog.search("sea ice", person=BOB).total == 2


def test_records_under_other_rules_or_of_many_are_not_put_together(catalog: LocalCatalog) -> None:
    put(catalog, record("open", doi="10.1234/a", title="Shared thing"))
    closed = record(
        "closed", "vault", doi="10.1234/a", title="Shared thing", label="restricted", groups=["solar"]
    )
    put(catalog, closed, source="vault")
    assert ids(catalog, "shared") == {"lab.open"}
    assert catalog.search("shared", person=BOB).places == {}
    assert ids(catalog, "shared", ALICE) == {"lab.open", "vault.closed"}
    # Two collections of one source may have the same DOI; sixty records have the same title.
    put(
        catalog,
        record("a", "twice", doi="10.1/b", title="P"),
        record("b", "twice", doi="10.1/b", title="Q"),
        source="twice",
    )
    assert len(ids(catalog, source="twice")) == 2
    put(
        catalog,
        *(record(f"n{n}", "bulk", title="Annual report", modified="2020") for n in range(60)),
        source="bulk",
    )
    assert len(ids(catalog, source="bulk")) == 60


def test_every_order_of_coming_and_going_groups_alike(ledger: Ledger) -> None:
    parts = {
        "a": record("a", "a", doi="10.1/x", title="T"),
        "b": record("b", "b", doi="10.1/x", title="U", modified="2020"),
        "c": record("c", "c", title="U", modified="2020"),
        "d": record("d", "d", title="V", doi="10.1/y"),
    }
    chance = random.Random(5)
    catalog = LocalCatalog(ledger)
    here: set[str] = set()
    for _ in range(40):
        name = chance.choice(sorted(parts))
        here ^= {name}
        put(catalog, *([parts[name]] if name in here else []), source=name)
        tied = here & {"a", "b"} if "b" in here and "a" in here else set()
        tied |= here & {"b", "c"} if {"b", "c"} <= here else set()
        groups = len(here) - max(len(tied) - 1, 0)
        found = catalog.search(person=BOB, limit=50)
        assert len([item for item in found if item.source != "starter"]) == groups, here


def test_only_what_changed_is_indexed_again(catalog: LocalCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis_workbench.catalog import index

    put(catalog, *(record(f"n{n}") for n in range(30)))
    assert len(ids(catalog)) == 30
    made: list[str] = []
    plain = index.document
    monkeypatch.setattr(index, "document", lambda work, members: made.append(work) or plain(work, members))
    put(catalog, *(record(f"n{n}", title="other" if n == 3 else f"n{n}") for n in range(29)))
    assert ids(catalog, "other") == {"lab.n3"}
    assert len(ids(catalog)) == 29
    assert made == ["lab.n3"]


def test_processes_share_one_index_and_it_can_be_made_again(ledger: Ledger, tmp_path: Path) -> None:
    one, other = LocalCatalog(ledger, None, tmp_path), LocalCatalog(ledger, None, tmp_path)
    put(one, record("a"))
    assert ids(one) == ids(other) == {"lab.a"}
    put(other, record("a"), record("b"))
    assert ids(one) == {"lab.a", "lab.b"}
    (folder,) = (tmp_path / "index").iterdir()
    for file in folder.iterdir():
        if file.suffix in (".idx", ".store", ".json"):
            file.write_bytes(b"cut off")
    assert ids(LocalCatalog(ledger, None, tmp_path)) == {"lab.a", "lab.b"}
    (folder / "version").write_text("1")
    assert ids(LocalCatalog(ledger, None, tmp_path)) == {"lab.a", "lab.b"}


def test_while_another_process_writes_the_index_one_is_answered_from_what_there_is(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis_workbench.catalog import local

    monkeypatch.setattr(local, "_WAIT_S", 0.2)
    catalog = LocalCatalog(ledger, None, tmp_path)
    put(catalog, record("a"))
    assert ids(catalog) == {"lab.a"}
    put(catalog, record("a"), record("b"))
    with catalog._ready()[0].index.writing(1):
        found = catalog.search(person=BOB, source="lab")
        assert [item.id for item in found] == ["lab.a"]
        assert "still being brought up" in found.note
    assert ids(catalog) == {"lab.a", "lab.b"}


def test_a_follower_keeps_up_until_it_is_stopped(catalog: LocalCatalog) -> None:
    import threading

    follower = catalog.follow()
    assert isinstance(follower, Follower)
    put(catalog, record(new_id("rec").replace("_", "-"), title="Followed"))
    waited = threading.Event()
    for _ in range(600):
        if catalog.search("followed", person=BOB).total:
            break
        waited.wait(0.05)
    assert catalog.search("followed", person=BOB).total == 1
    follower.stop()
    assert not follower.is_alive()
