"""Ranked search over all records, in memory. Who may see what is part of every query, so counts obey it too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tantivy
from tantivy import Occur, Query

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.core.access import CLEARANCE, Label, Person

FACETS = ("agency", "format", "source")
_BOOSTS = {"title": 3.0, "keywords": 2.0, "description": 1.0, "agency_text": 1.0}
_MAX_WORDS = 24
_MAX_FACETS = 50
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Hits:
    """Ids in order of rank, how many there are in all, counts by facet, and how the words were understood."""

    ids: list[str]
    total: int
    facets: dict[str, dict[str, int]]
    note: str = ""


class CatalogIndex:
    """An index of `datasets`. It does not change: make a new one where they have."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self._schema = _schema()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer(heap_size=64_000_000, num_threads=1)
        # Without words, what can be opened comes first, then by title.
        ordered = sorted(datasets, key=lambda d: (not d.openable, d.title.lower(), d.id))
        for rank, dataset in enumerate(ordered):
            writer.add_document(_document(dataset, rank))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()

    def search(
        self, text: str, person: Person, *, filters: dict[str, str | None], limit: int, offset: int
    ) -> Hits:
        """Search.

        Parameters
        ----------
        text : str
            Words, of which all must occur; near spellings are tried where nothing has them, then any of them. Nothing
            in it is a command.
        person : Person
            Whose rights count.
        filters : dict
            Exact values of facets; None for any.
        """
        bounds = [(Occur.Must, self._visible_to(person))]
        for name, value in filters.items():
            if value is not None:
                bounds.append((Occur.Must, Query.term_query(self._schema, name, value)))
        words = _WORD.findall(text.lower())[:_MAX_WORDS]
        if not words:
            query = Query.boolean_query(bounds)
            by_rank = {"order_by_field": "rank", "order": tantivy.Order.Asc}
            return self._hits(query, limit=limit, offset=offset, order=by_rank)
        for understood, note in self._ways(words):
            query = Query.boolean_query([*bounds, (Occur.Must, understood)])
            found = self._hits(query, note, limit=limit, offset=offset)
            if found.total:
                return found
        return found

    def counts(self, person: Person, facet: str) -> dict[str, int]:
        """Return how many records `person` may see for each value of `facet`."""
        return self._facet(self._index.searcher(), self._visible_to(person), facet, 10_000)

    def _ways(self, words: list[str]) -> Iterable[tuple[Query, str]]:
        fields = list(_BOOSTS)
        text = " ".join(words)
        yield (
            self._index.parse_query(text, fields, field_boosts=_BOOSTS, conjunction_by_default=True),
            "",
        )
        near = [(Occur.Must, self._near(word)) for word in words]
        yield Query.boolean_query(near), "No dataset has these words; near spellings are shown."
        if len(words) > 1:
            yield (
                self._index.parse_query(text, fields, field_boosts=_BOOSTS),
                "No dataset has all these words; those with some of them are shown.",
            )

    def _near(self, word: str) -> Query:
        distance = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        return Query.fuzzy_term_query(self._schema, "plain", word, distance=distance)

    def _visible_to(self, person: Person) -> Query:
        """Return :meth:`genesis_workbench.core.access.Access.permits` as a query."""
        mine = [(Occur.Should, self._term("group", group)) for group in sorted(person.groups)]
        if person.name:
            mine.append((Occur.Should, self._term("owner", person.name)))
        allowed = [(Occur.Should, self._term("label", str(Label.PUBLIC)))]
        for label in Label:
            needed = CLEARANCE.get(label)
            if label is Label.PUBLIC or not mine or (needed is not None and needed not in person.scopes):
                continue
            both = [(Occur.Must, self._term("label", str(label))), (Occur.Must, Query.boolean_query(mine))]
            allowed.append((Occur.Should, Query.boolean_query(both)))
        return Query.const_score_query(Query.boolean_query(allowed), 0.0)

    def _term(self, name: str, value: str) -> Query:
        return Query.term_query(self._schema, name, value)

    def _hits(
        self, query: Query, note: str = "", *, limit: int, offset: int, order: dict[str, Any] | None = None
    ) -> Hits:
        searcher = self._index.searcher()
        found: Any = searcher.search(query, limit=limit, offset=offset, count=True, **(order or {}))
        ids = [str(searcher.doc(address).get_first("id")) for _score, address in found.hits]
        total = int(found.count or 0)
        facets = {name: self._facet(searcher, query, name, _MAX_FACETS) for name in FACETS} if total else {}
        return Hits(ids, total, facets, note)

    @staticmethod
    def _facet(searcher: tantivy.Searcher, query: Query, name: str, limit: int) -> dict[str, int]:
        asked = {name: {"terms": {"field": name, "size": limit}}}
        buckets = searcher.aggregate(query, asked)[name]["buckets"]
        return {str(bucket["key"]): int(bucket["doc_count"]) for bucket in buckets if bucket["key"]}


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    for name in _BOOSTS:
        builder.add_text_field(name, tokenizer_name="en_stem")
    builder.add_text_field("plain", tokenizer_name="default", index_option="freq")
    for name in ("label", "group", "owner"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in FACETS:
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_integer_field("rank", fast=True)
    return builder.build()


def _document(dataset: Dataset, rank: int) -> tantivy.Document:
    keywords = " ".join(dataset.keywords)
    return tantivy.Document.from_dict(
        {
            "id": dataset.id,
            "title": f"{dataset.title} {dataset.id}",
            "keywords": keywords,
            "description": dataset.description,
            "agency_text": dataset.agency,
            "plain": f"{dataset.title} {keywords} {dataset.agency}",
            "label": dataset.label,
            "group": list(dataset.groups),
            "owner": [dataset.owner] if dataset.owner else [],
            "agency": [dataset.agency] if dataset.agency else [],
            "format": list(dataset.formats),
            "source": dataset.source,
            "rank": rank,
        },
        None,
    )
