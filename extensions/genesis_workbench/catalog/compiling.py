"""From what is asked to queries of the engine. What a person may see is part of every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil, floor

import tantivy
from tantivy import FieldType, Occur, Query

from genesis_workbench.catalog import query as language
from genesis_workbench.catalog.index import EVER, HUNDREDTHS, days, placed_terms, plain_analyzer
from genesis_workbench.catalog.request import Box, Period, Request
from genesis_workbench.core.access import CLEARANCE, Label, Person

EXACTLY, NEAR, SOME = "exactly", "near", "some"
"""How the words of a request are understood: as they are, near spellings too, or any of them."""
_BY_WORDS = ("agency", "keyword", "licence")
_TITLE_BOOST = 2.0
_NEAR_BOOST = 0.3
_PLAIN = plain_analyzer()


def may(person: Person) -> frozenset[str]:
    """Return the tokens of what `person` may see: :meth:`genesis_workbench.core.access.Access.permits`, turned round."""
    mine = {"public"}
    for label in Label:
        needed = CLEARANCE.get(label)
        if label is not Label.PUBLIC and (needed is None or needed in person.scopes):
            mine |= {f"{label}|group|{group}" for group in person.groups}
            if person.name:
                mine.add(f"{label}|owner|{person.name}")
    return frozenset(mine)


class Compiler:
    """Makes queries for one schema."""

    def __init__(self, schema: tantivy.Schema) -> None:
        self._schema = schema

    def visible(self, tokens: frozenset[str]) -> Query:
        """Return the query of all that may be seen with `tokens`."""
        found = [(Occur.Should, self._term(f"may:{token}")) for token in sorted(tokens)]
        allowed = found[0][1] if len(found) == 1 else Query.boolean_query(found)
        return Query.const_score_query(allowed, 0.0)

    def query(
        self, asked: Request, tokens: frozenset[str], way: str = EXACTLY, *, over: bool = True
    ) -> Query:
        """Return what is asked, among what may be seen with `tokens`.

        `over` says whether there may be records over the date line.
        """
        parts = [(Occur.Must, self.visible(tokens))]
        parts += self._node(_loose(asked.tree) if way == SOME else asked.tree, way)
        parts += [(Occur.Must, bound) for bound in self._bounds(asked)]
        if asked.bbox is None:
            return Query.boolean_query(parts)
        # Each alternative is a whole query: a union of boxes inside one would be worked out for every record there is.
        wholes = [Query.boolean_query([*parts, *_all(each)]) for each in self._boxes(asked.bbox, over)]
        return wholes[0] if len(wholes) == 1 else Query.disjunction_max_query(wholes)

    def _bounds(self, asked: Request) -> Iterator[Query]:
        for name, value in asked.exact:
            yield _silent(self._exact(name, value))
        if asked.year is not None:
            yield self._years(language.Years(asked.year, asked.year))
        if asked.period is not None:
            yield self._period(asked.period)

    def _node(self, node: language.Node, way: str) -> list[tuple[Occur, Query]]:
        """Return the clauses of a tree; none where it asks for nothing, such as a stop word alone."""
        if isinstance(node, language.And):
            return [clause for part in node.parts for clause in self._node(part, way)]
        if isinstance(node, language.Or):
            parts = [self._whole(part, way) for part in node.parts]
            some = [(Occur.Should, part) for part in parts if part is not None]
            return [(Occur.Must, Query.boolean_query(some))] if some else []
        if isinstance(node, language.Not):
            inner = self._whole(node.part, EXACTLY)
            return [(Occur.MustNot, inner)] if inner is not None else []
        if isinstance(node, language.Years):
            return [(Occur.Must, self._years(node))]
        if isinstance(node, language.Related):
            return self._near_in_meaning(node, way)
        found = self._term_of(node, way)
        return [(Occur.Must, found)] if found is not None else []

    def _near_in_meaning(self, node: language.Related, way: str) -> list[tuple[Occur, Query]]:
        exact = self._whole(node.part, way)
        if exact is None:
            return []
        others = [(self._words(text), nearness) for text, nearness in node.phrases]
        some = [
            Query.boost_query(query, _NEAR_BOOST * nearness)
            for query, nearness in others
            if query is not None
        ]
        both = [(Occur.Should, each) for each in (exact, *some)]
        return [(Occur.Must, Query.boolean_query(both))]

    def _whole(self, node: language.Node, way: str) -> Query | None:
        clauses = self._node(node, way)
        if not clauses:
            return None
        if any(occur is not Occur.MustNot for occur, _ in clauses):
            return Query.boolean_query(clauses) if len(clauses) > 1 else clauses[0][1]
        return Query.boolean_query([(Occur.Must, Query.all_query()), *clauses])

    def _term_of(self, node: language.Word | language.Phrase, way: str) -> Query | None:
        value = node.text.strip().lower()
        if node.field in _BY_WORDS:
            return self._each(f"{node.field}:{term}" for _, term in placed_terms(node.text))
        if node.field == "doi":
            return _silent(self._term(f"doi:{value}"))
        if node.field == "id":
            both = [(Occur.Should, self._term(f"{name}:{value}")) for name in ("work", "id")]
            return _silent(Query.boolean_query(both))
        if node.field == "title":
            return self._in_title(node.text)
        if node.field:
            return _silent(self._exact(node.field, value))
        return self._near(node.text) if way == NEAR else self._words(node.text)

    def _words(self, text: str) -> Query | None:
        """Return what has the words of `text` side by side; those with them in the title count more."""
        found = placed_terms(text)
        if not found:
            return None
        first = found[0][0]
        if len(found) == 1:
            query = Query.term_query(self._schema, "text", found[0][1], "freq")
        else:
            query = Query.phrase_query(self._schema, "text", [(at - first, term) for at, term in found])
        titles = [Query.term_query(self._schema, "title", term, "basic") for _, term in found]
        title = titles[0] if len(titles) == 1 else Query.boolean_query(_all(titles))
        return Query.boolean_query(
            [(Occur.Must, query), (Occur.Should, Query.boost_query(title, _TITLE_BOOST))]
        )

    def _in_title(self, text: str) -> Query | None:
        found = placed_terms(text)
        if not found:
            return None
        words = _all([Query.term_query(self._schema, "title", term, "basic") for _, term in found])
        side_by_side = self._words(text) if len(found) > 1 else None
        return Query.boolean_query(
            [*words, *([(Occur.Must, side_by_side)] if side_by_side is not None else [])]
        )

    def _each(self, terms: Iterable[str]) -> Query | None:
        found = [self._term(term) for term in dict.fromkeys(terms)]
        return _silent(Query.boolean_query(_all(found))) if found else None

    def _near(self, text: str) -> Query | None:
        near = [(Occur.Must, self._fuzzy(word)) for word in _PLAIN.analyze(text)]
        return Query.boolean_query(near) if near else None

    def _fuzzy(self, word: str) -> Query:
        distance = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        return Query.fuzzy_term_query(self._schema, "plain", word, distance=distance)

    def _term(self, value: str) -> Query:
        return Query.term_query(self._schema, "term", value, "basic")

    def _exact(self, name: str, value: str) -> Query:
        """Return what has this value of a facet; a source's are also those that it lists beside others."""
        names = ("source", "also") if name == "source" else (name,)
        found = [
            (Occur.Should, Query.term_query(self._schema, f"facet.{each}", value, "basic")) for each in names
        ]
        return found[0][1] if len(found) == 1 else Query.boolean_query(found)

    def _years(self, years: language.Years) -> Query:
        if years.first == years.last:
            return _silent(Query.term_query(self._schema, "year", years.first, "basic"))
        return _silent(self._range("year", years.first, years.last))

    def _boxes(self, box: Box, over: bool) -> Iterator[list[Query]]:
        """Yield what touches a box, in alternatives. Records over the date line have their east above 180."""
        west, south = (floor(value * HUNDREDTHS) for value in box[:2])
        east, north = (ceil(value * HUNDREDTHS) for value in box[2:])
        turn = 360 * HUNDREDTHS
        spans = [(west, east)] if box[0] <= box[2] else [(west, 180 * HUNDREDTHS), (-180 * HUNDREDTHS, east)]
        for first, last in spans:
            for shift in (0, turn) if over else (0,):
                found = [
                    self._range("west", None, last + shift),
                    self._range("east", first + shift, None),
                    self._range("south", None, north),
                    self._range("north", south, None),
                    *([self._term("over:yes")] if shift else []),
                ]
                yield [_silent(each) for each in found]

    def _period(self, period: Period) -> Query:
        first, last = days(period[0], last=False), days(period[1], last=True)
        touching = [
            self._range("start", None, EVER if last is None else last),
            self._range("end", -EVER if first is None else first, None),
        ]
        return _silent(Query.boolean_query(_all(touching)))

    def _range(self, name: str, low: int | None, high: int | None) -> Query:
        return Query.range_query(self._schema, name, FieldType.Integer, low, high)


def _loose(node: language.Node) -> language.Node:
    """Return the tree with some of its words instead of all; fields, years and exclusions stay demands."""
    if not isinstance(node, language.And):
        return node
    free: Callable[[language.Node], bool] = lambda part: (  # noqa: E731 - one use, two lines below
        isinstance(part, language.Word | language.Phrase) and not part.field
    )
    words: Sequence[language.Node] = [part for part in node.parts if free(part)]
    bound = [part for part in node.parts if not free(part)]
    return language.And((language.Or(tuple(words)), *bound)) if len(words) > 1 else node


def _silent(query: Query) -> Query:
    """Keep a filter out of the score."""
    return Query.const_score_query(query, 0.0)


def _all(queries: Sequence[Query]) -> list[tuple[Occur, Query]]:
    return [(Occur.Must, query) for query in queries]
