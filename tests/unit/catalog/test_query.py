"""The query language: what is read, what is refused and where, and that a tree survives the way through text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_workbench.catalog.query import (
    EVERYTHING,
    FIELDS,
    And,
    InvalidQuery,
    Node,
    Not,
    Or,
    Phrase,
    Word,
    Years,
    parse,
    show,
    words,
)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", EVERYTHING),
        ("  \n", EVERYTHING),
        ("solar", Word("solar")),
        ("solar wind", And((Word("solar"), Word("wind")))),
        ("solar AND wind", And((Word("solar"), Word("wind")))),
        ("solar OR wind tide", Or((Word("solar"), And((Word("wind"), Word("tide")))))),
        ("(solar OR wind) tide", And((Or((Word("solar"), Word("wind"))), Word("tide")))),
        ('"sea ice"', Phrase("sea ice")),
        (r'"say \"ice\""', Phrase('say "ice"')),
        ("title:ice", Word("ice", "title")),
        ('Agency:"Department of Energy"', Phrase("Department of Energy", "agency")),
        ("license:cc0", Word("cc0", "licence")),
        ("doi:10.5067/GHGMR-4FJ04", Word("10.5067/GHGMR-4FJ04", "doi")),
        ("id:urn:nasa:pds", Word("urn:nasa:pds", "id")),
        ("id:-x", Word("-x", "id")),
        ("ice -sea", And((Word("ice"), Not(Word("sea"))))),
        ("ice NOT sea", And((Word("ice"), Not(Word("sea"))))),
        ("-(a OR b)", Not(Or((Word("a"), Word("b"))))),
        ("sea-ice", Word("sea-ice")),
        ("- ice", And((Word("-"), Word("ice")))),
        ("year:2020", Years(2020, 2020)),
        ("year:2015..2020", Years(2015, 2020)),
        ("year:2015..", Years(2015, 9999)),
        ("year:..1999", Years(0, 1999)),
        ("https://example.gov/a:b", Word("https://example.gov/a:b")),
        ("group:solar", Word("group:solar")),
        ("or and not", And((Word("or"), Word("and"), Word("not")))),
    ],
)
def test_what_is_read(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ('ice "sea', 4, 'Add "'),
        ("(ice", 0, "Add ')'"),
        ("ice)", 3, "Remove it"),
        ("ice OR", 6, "Write a word"),
        ("OR ice", 0, "Write a word"),
        ("ice NOT", 7, "Write a word"),
        ("title:", 0, "title:word"),
        ("title: ice", 0, "without a space"),
        ('title:""', 0, "title:word"),
        ("year:soon", 5, "year:2020"),
        ("year:..", 5, "year:2020"),
        ("year:٢٠٢٠", 5, "year:2020"),
        ("year:2020..2010", 5, "year:2010..2020"),
        ("()", 1, "Write a word"),
        ("(" * 30 + "a" + ")" * 30, 21, "at most 20"),
        ("a " * 65, 128, "at most 64"),
        ("a" * 1001, 1000, "1,000"),
    ],
)
def test_what_is_refused_says_where_and_what_to_do(text: str, position: int, hint: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse(text)
    assert caught.value.position == position
    assert hint in caught.value.message
    assert f"character {position + 1}" in caught.value.message


def test_what_is_looked_for_is_told_without_what_is_excluded() -> None:
    assert list(words(parse('ice -snow (title:sea OR "cold air") year:2020'))) == [
        Word("ice"),
        Word("sea", "title"),
        Phrase("cold air"),
    ]


pieces = st.lists(
    st.one_of(
        st.sampled_from(["(", ")", '"', "-", " ", ":", "\\", "OR", "AND", "NOT", "..", "year:", "a", "2020"]),
        st.sampled_from([f"{name}:" for name in FIELDS]),
        st.text(max_size=4),
    ),
    max_size=40,
).map("".join)


@settings(max_examples=1500)
@given(st.one_of(pieces, st.text()))
def test_every_text_is_a_tree_or_a_refusal_and_the_tree_survives(text: str) -> None:
    refusal = None
    try:
        tree = parse(text)
    except InvalidQuery as error:
        refusal = error
    if refusal is not None:
        assert 0 <= refusal.position <= len(text)
        assert refusal.hint
    else:
        assert parse(show(tree)) == tree


terms = st.one_of(
    st.builds(Word, st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), st.sampled_from(["", "title", "doi"])),
    st.builds(Phrase, st.text(min_size=1).filter(str.strip), st.sampled_from(["", "agency"])),
    st.integers(0, 9999).flatmap(lambda first: st.builds(Years, st.just(first), st.integers(first, 9999))),
)


def several(kind: type[And | Or], parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    own = parts.filter(lambda part: not isinstance(part, kind))
    return st.builds(kind, st.lists(own, min_size=2, max_size=4).map(tuple))


trees = st.recursive(
    terms,
    lambda inner: st.one_of(st.builds(Not, inner), several(And, inner), several(Or, inner)),
    max_leaves=12,
)


@settings(max_examples=500)
@given(trees)
def test_every_tree_can_be_written(tree: Node) -> None:
    text = show(tree)
    if len(text) <= 1000:
        assert parse(text) == tree
