"""The search index: one document for each dataset, whatever number of sources list it. Made from the store, never the truth.

It is kept in a folder, where the processes of one machine share it (one writes at a time), or in memory. A document of its own
says up to which change of the store it has come; it is written in the same commit as the changes themselves.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from math import ceil, floor
from pathlib import Path
from typing import Any

import tantivy
from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.science import fields_of
from genesis_workbench.core.access import Label

VERSION = 5
"""Of the schema and the tokenizers: an index of another version is made anew."""
FACETS = ("agency", "field", "format", "licence", "label", "source", "year")
EVER = 10_000_000
"""Days: the end of a period that has none."""
HUNDREDTHS = 100
"""Of a degree: how exact a box is kept."""
# Besides tantivy's 33 stop words: words without a subject, which make up a tenth of descriptions.
_COMMON = """
    about after all also am any because been before being between both can could did do does during each
    from had has have he her here him his how i its just my nor now our she should so some than until
    upon very we were what when where which while who whom why would you your
""".split()  # noqa: SIM905 - a list of words reads better as text
_EPOCH = date(1970, 1, 1).toordinal()
_BULK_BYTES, _SMALL_BYTES = 96_000_000, 15_000_000
_BULK = 2000
_MARK = "mark:"
_LETTER = re.compile("[a-z0-9]+")
# Digits of base 32, in order: two digits share one, letters have one each.
_RANKS = str.maketrans("0123456789abcdefghijklmnopqrstuvwxyz", "1122334455" + "6789abcdefghijklmnopqrstuv")


def words_analyzer() -> TextAnalyzer:
    """Return what makes terms of text: words in lower case without accents, stop words or endings."""
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(64))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .filter(Filter.stopword("english"))
        .filter(Filter.custom_stopword(_COMMON))
        .filter(Filter.stemmer("english"))
        .build()
    )


_WORDS = words_analyzer()


def plain_analyzer() -> TextAnalyzer:
    """Return what makes words of text, as they are written but for case and accents."""
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(64))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .build()
    )


def terms(text: str) -> list[str]:
    """Return the terms of a text, as the index has them."""
    return [term for _, term in placed_terms(text)]


@lru_cache(50_000)
def placed_terms(text: str) -> tuple[tuple[int, str], ...]:
    """Return the terms of a short text with their places; stop words leave gaps."""
    return tuple((token.position, token.text) for token in _WORDS.pre_tokenize(text).tokens)


class SearchIndex:
    """An index in `folder`, or in memory where it is None.

    A folder that holds no index of this version, or a broken one, is emptied.
    """

    def __init__(self, folder: Path | None) -> None:
        self.schema = _schema()
        self.folder = folder
        self._index = self._open()
        self._index.register_tokenizer("words", words_analyzer())
        self._index.register_tokenizer("plain", plain_analyzer())

    def searcher(self) -> tantivy.Searcher:
        """Return a view of what was last committed, by this or another process. It does not change."""
        self._index.reload()
        return self._index.searcher()

    def applied(self, searcher: tantivy.Searcher) -> tuple[int, str]:
        """Return number and id of the last change of the store that a view has."""
        found = searcher.search(
            tantivy.Query.term_query(self.schema, "term", _MARK, "basic"), 1, count=False
        ).hits
        if not found:
            return 0, ""
        number, _, name = bytes(searcher.doc(found[0][1]).get_first("state") or b"").decode().partition(" ")
        return int(number), name

    @contextmanager
    def writing(self, expected: int) -> Iterator[IndexWriting | None]:
        """Open the index for writing; None while another process writes it.

        Parameters
        ----------
        expected : int
            About how many changes will come: many get more memory.
        """
        try:
            writer = self._index.writer(_BULK_BYTES if expected > _BULK else _SMALL_BYTES, 1)
        except ValueError as error:
            if "Lock" not in str(error):
                raise
            yield None
            return
        try:
            yield IndexWriting(self.schema, writer)
        finally:
            writer.wait_merging_threads()

    def _open(self) -> tantivy.Index:
        if self.folder is None:
            return tantivy.Index(self.schema)
        mark = self.folder / "version"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not mark.exists() or mark.read_text() != str(VERSION):
            self._empty(mark)
        try:
            return tantivy.Index(self.schema, str(self.folder))
        except ValueError:
            # Cut off in the middle of a write, or of another schema: it is only a copy of the store.
            self._empty(mark)
            return tantivy.Index(self.schema, str(self.folder))

    def _empty(self, mark: Path) -> None:
        for each in mark.parent.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
        mark.write_text(str(VERSION))


class IndexWriting:
    """Changes that become visible together, with :meth:`commit`."""

    def __init__(self, schema: tantivy.Schema, writer: tantivy.IndexWriter) -> None:
        self._schema, self._writer = schema, writer

    def replace(self, ids: Iterable[str], members: Mapping[str, list[Dataset]]) -> None:
        """Take out the documents named `ids`, and put in one for each work in `members`."""
        for name in {*ids, *members}:
            self._writer.delete_documents_by_term("term", f"work:{name}")
        for work, datasets in members.items():
            self._writer.add_document(tantivy.Document.from_dict(document(work, datasets), self._schema))

    def commit(self, applied: tuple[int, str]) -> None:
        """Make everything visible that was replaced, and say up to which change of the store it goes."""
        self._writer.delete_documents_by_term("term", _MARK)
        state = {"term": _MARK, "state": f"{applied[0]} {applied[1]}".encode()}
        self._writer.add_document(tantivy.Document.from_dict(state, self._schema))
        self._writer.commit()


def document(work: str, members: list[Dataset]) -> dict[str, Any]:
    """Return the fields of one hit: of the record that says most, and where else it is listed."""
    first = leader(members)
    others = [each for each in members if each is not first]
    keywords, by_title = " ".join(first.keywords), letters(first.title)
    fields: dict[str, Any] = {
        "id": first.id.encode(),
        "text": [first.title, keywords, first.description, first.agency],
        "title": first.title,
        "plain": f"{first.title} {keywords}",
        "term": [
            f"work:{work}",
            *(f"id:{each.id}" for each in members if each.id != work),
            *(f"doi:{doi}" for doi in sorted({each.doi.lower() for each in members if each.doi})),
            *(f"may:{token}" for token in sorted(tokens(first))),
            *(f"agency:{term}" for term in set(terms(first.agency))),
            *(f"keyword:{term}" for term in {t for keyword in first.keywords for t in terms(keyword)}),
            *(f"licence:{term}" for term in set(terms(first.licence))),
        ],
        "facet": {
            "agency": [first.agency] if first.agency else [],
            "field": fields_of(first),
            "format": sorted({name for each in members for name in each.formats}),
            "licence": [first.licence] if first.licence else [],
            "label": first.label,
            "source": first.source,
            "also": sorted(each.source for each in others),
        },
        "listing": (0 if any(each.openable for each in members) else 1 << 25) + (by_title >> 25),
        "by_title": by_title,
        "modified": hours(first.modified),
    }
    if first.year is not None:
        fields["year"] = first.year
    if first.spatial is not None and first.spatial[0] > first.spatial[2]:
        fields["term"].append("over:yes")
    return fields | _place(first) | _time(first)


def leader(members: list[Dataset]) -> Dataset:
    """Return the record that stands for all of them: one that opens here, with distributions, that says most."""
    return min(members, key=lambda d: (not d.openable, not d.distributions, -len(d.description), d.id))


def tokens(dataset: Dataset) -> set[str]:
    """Return by which tokens a person may see a record; see :func:`genesis_workbench.catalog.searching.may`."""
    if dataset.label == str(Label.PUBLIC):
        return {"public"}
    mine = {f"{dataset.label}|group|{group}" for group in dataset.groups}
    return mine | ({f"{dataset.label}|owner|{dataset.owner}"} if dataset.owner else set())


def letters(title: str) -> int:
    """Return the first ten letters and digits of a title as a number that sorts like them."""
    folded = title if title.isascii() else unicodedata.normalize("NFKD", title)
    kept = "".join(_LETTER.findall(folded[:60].lower()))[:10].translate(_RANKS)
    return int(kept.ljust(10, "0"), 32)


def hours(text: str) -> int:
    """Return hours since the year 0 of a date; 0 where there is none."""
    day = days(text, last=False)
    if day is None:
        return 0
    within = int(text[11:13]) if text[11:13].isdecimal() else 0
    return max((day + _EPOCH) * 24 + within, 0)


def days(text: str | None, *, last: bool) -> int | None:
    """Return days since 1970 of a date; with `last`, of the last day of a year or month alone. None where it is none."""
    if not text or not text[:4].isdecimal():
        return None
    try:
        year, month = int(text[:4]), int(text[5:7] or 0)
        if not month:
            return _ordinal(year, 12, 31) if last else _ordinal(year, 1, 1)
        if not text[8:10]:
            return (_ordinal(year + month // 12, month % 12 + 1, 1) - 1) if last else _ordinal(year, month, 1)
        return _ordinal(year, month, int(text[8:10]))
    except ValueError:
        return None


def _ordinal(year: int, month: int, day: int) -> int:
    return date(min(max(year, 1), 9999), month, day).toordinal() - _EPOCH


def _place(dataset: Dataset) -> dict[str, Any]:
    if dataset.spatial is None:
        return {}
    west, south, east, north = dataset.spatial
    # Outwards, so that nothing that touches a box is missed.
    return {
        "west": floor(west * HUNDREDTHS),
        "south": floor(south * HUNDREDTHS),
        "east": ceil((east + 360 if west > east else east) * HUNDREDTHS),
        "north": ceil(north * HUNDREDTHS),
    }


def _time(dataset: Dataset) -> dict[str, Any]:
    if dataset.temporal is None:
        return {}
    start, end = days(dataset.temporal[0], last=False), days(dataset.temporal[1], last=True)
    if start is None and end is None:
        return {}
    return {"start": -EVER if start is None else start, "end": EVER if end is None else end}


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_bytes_field("id", stored=True)
    builder.add_bytes_field("state", stored=True)
    # Everything that is looked for as it is, each with what it is of: one field costs less than ten.
    builder.add_text_field("term", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("text", tokenizer_name="words", index_option="position")
    builder.add_text_field("title", tokenizer_name="words", index_option="basic")
    builder.add_text_field("plain", tokenizer_name="plain", index_option="basic")
    builder.add_json_field("facet", tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_integer_field("year", fast=True, indexed=True)
    for name in ("west", "south", "east", "north", "start", "end"):
        builder.add_integer_field(name, fast=True)
    for name in ("listing", "by_title", "modified"):
        builder.add_unsigned_field(name, fast=True)
    return builder.build()
