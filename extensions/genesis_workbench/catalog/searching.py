"""Searching the index: pages of hits in order, exact counts and facets, each request's answer kept while nothing changes."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import tantivy
from tantivy import Order, Query

from genesis_workbench.catalog import query as language
from genesis_workbench.catalog.compiling import EXACTLY, NEAR, SOME, Compiler
from genesis_workbench.catalog.index import FACETS, SearchIndex
from genesis_workbench.catalog.request import Request
from genesis_workbench.core.errors import InvalidInput

DEEPEST = 10_000
"""How many hits of one search can be paged through."""
PINNED_S = 600.0
"""How long after its last use a cursor's view of the catalog is kept."""
_PINNED, _KEPT = 64, 4000
_MAX_FACETS = 50
_NOTES = {
    EXACTLY: "",
    NEAR: "No dataset has these words; near spellings are shown.",
    SOME: "No dataset has all these words; those with some of them are shown.",
}
_RESTARTED = "The catalog was opened anew meanwhile: this page goes on in the present order."


@dataclass(frozen=True)
class Hits:
    """Ids in order of rank, how many there are in all, counts by facet, the next page, and how it was understood."""

    ids: list[str]
    total: int
    facets: dict[str, dict[str, int]]
    next: str | None = None
    note: str = ""


@dataclass(frozen=True)
class View:
    """The index as it was at one moment."""

    number: int
    searcher: tantivy.Searcher
    applied: tuple[int, str]

    @cached_property
    def over(self) -> bool:
        """Whether there are records over the date line."""
        return self.searcher.doc_freq("term", "over:yes") > 0


@dataclass(frozen=True)
class _Counted:
    way: str
    total: int
    facets: dict[str, dict[str, int]]


class Searching:
    """Answers requests from one index. Safe for threads."""

    def __init__(self, index: SearchIndex) -> None:
        self.index = index
        self._compiler = Compiler(index.schema)
        self._name = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._pinned: OrderedDict[int, tuple[View, float]] = OrderedDict()
        self._counted: Kept[_Counted] = Kept(_KEPT)
        self._pages: Kept[list[str]] = Kept(_KEPT)
        self._sources: Kept[dict[str, int]] = Kept(200)
        self._ahead = ThreadPoolExecutor(2, thread_name_prefix="search-ahead")
        searcher = index.searcher()
        self.view = View(1, searcher, index.applied(searcher))

    def refresh(self) -> View:
        """See what was committed to the index since."""
        with self._lock:
            searcher = self.index.searcher()
            applied = self.index.applied(searcher)
            if applied != self.view.applied:
                self.view = View(self.view.number + 1, searcher, applied)
            return self.view

    def search(self, asked: Request, tokens: frozenset[str], *, limit: int, cursor: str | None) -> Hits:
        """Return one page.

        Parameters
        ----------
        asked : Request
            What is looked for.
        tokens : frozenset of str
            What may be seen: see :func:`genesis_workbench.catalog.compiling.may`.
        limit : int
            Most hits of the page.
        cursor : str, optional
            `next` of the page before: the page shows the catalog as it was at the first.

        Raises
        ------
        InvalidInput
            If the cursor is none, or of another search.
        """
        mark = _mark(asked, tokens)
        view, offset, note = self._place(cursor, mark)
        key = (view.number, asked, tokens)
        limit = min(limit, DEEPEST - offset)

        def page(way: str) -> list[str]:
            return self._pages.get(
                (*key, way, offset, limit), lambda: self._page(view, asked, tokens, way, limit, offset)
            )

        if key not in self._counted:
            # Most words are found as they are written: that page is looked for while everything is counted.
            self._ahead.submit(page, EXACTLY)
        counted = self._counted.get(key, lambda: self._count(view, asked, tokens))
        ids = page(counted.way) if counted.total else []
        after = offset + limit
        more = after < min(counted.total, DEEPEST)
        return Hits(
            ids,
            counted.total,
            counted.facets,
            self._cursor(view, after, mark) if more else None,
            note or _NOTES[counted.way],
        )

    def records_by_source(self, tokens: frozenset[str]) -> dict[str, int]:
        """Return how many records may be seen with `tokens`, by source."""
        view = self.view
        return self._sources.get((view.number, tokens), lambda: self._by_source(view, tokens))

    def _by_source(self, view: View, tokens: frozenset[str]) -> dict[str, int]:
        visible = self._compiler.visible(tokens)
        counts: dict[str, int] = {}
        for name in ("source", "also"):
            for value, count in _facets(view.searcher, visible, (name,), 10_000)[name].items():
                counts[value] = counts.get(value, 0) + count
        return counts

    def _count(self, view: View, asked: Request, tokens: frozenset[str]) -> _Counted:
        for way in _ways(asked):
            query = self._compiler.query(asked, tokens, way, over=view.over)
            facets = _facets(view.searcher, query, FACETS, _MAX_FACETS)
            # Every record has one label.
            total = sum(facets["label"].values())
            if total:
                return _Counted(way, total, facets)
        return _Counted(EXACTLY, 0, {})

    def _page(
        self, view: View, asked: Request, tokens: frozenset[str], way: str, limit: int, offset: int
    ) -> list[str]:
        query = self._compiler.query(asked, tokens, way, over=view.over)
        found = view.searcher.search(query, limit, count=False, offset=offset, **_order(asked))
        return [
            bytes(view.searcher.doc(address).get_first("id") or b"").decode() for _, address in found.hits
        ]

    def _place(self, cursor: str | None, mark: str) -> tuple[View, int, str]:
        if cursor is None:
            return self.view, 0, ""
        name, number, offset, of = _read_cursor(cursor)
        if of != mark:
            raise InvalidInput(
                "The cursor is of another search, or of other rights: pass on `next` of the page before with the same words "
                "and filters."
            )
        with self._lock:
            self._forget_old()
            pinned = self._pinned.pop(number, None) if name == self._name else None
            if pinned is not None:
                self._pinned[number] = (pinned[0], time.monotonic())
                return pinned[0], offset, ""
        return self.view, offset, _RESTARTED

    def _cursor(self, view: View, offset: int, mark: str) -> str:
        with self._lock:
            self._pinned.pop(view.number, None)
            self._pinned[view.number] = (view, time.monotonic())
            self._forget_old()
        text = json.dumps([self._name, view.number, offset, mark], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._pinned:
            number, (_, used) = next(iter(self._pinned.items()))
            if len(self._pinned) <= _PINNED and now - used < PINNED_S:
                return
            del self._pinned[number]


_Value = TypeVar("_Value")


class Kept(Generic[_Value]):
    """Keeps the last answers; of equal questions at the same time one is worked out, and the others wait for it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Any, _Value] = OrderedDict()
        self._working: dict[Any, threading.Event] = {}

    def __contains__(self, key: Any) -> bool:
        with self._lock:
            return key in self._values

    def get(self, key: Any, work: Any) -> _Value:
        """Return what is kept under `key`, or what `work` gives."""
        while True:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
                others = self._working.get(key)
                if others is None:
                    mine = self._working[key] = threading.Event()
                    break
            others.wait(60)
        try:
            value: _Value = work()
            with self._lock:
                self._values[key] = value
                while len(self._values) > self._most:
                    self._values.popitem(last=False)
            return value
        finally:
            with self._lock:
                self._working.pop(key, None)
            mine.set()


def _ways(asked: Request) -> list[str]:
    """Return how the words may be understood, the next where the one before finds nothing."""
    free = [word for word in language.words(asked.tree) if not word.field]
    if not free:
        return [EXACTLY]
    return [EXACTLY, NEAR, SOME] if len(free) > 1 else [EXACTLY, NEAR]


def _order(asked: Request) -> dict[str, Any]:
    if asked.sort == "newest":
        return {"order_by_field": "modified", "order": Order.Desc}
    if asked.sort == "title":
        return {"order_by_field": "by_title", "order": Order.Asc}
    if not any(True for _ in language.words(asked.tree)):
        return {"order_by_field": "listing", "order": Order.Asc}
    return {}


def _facets(
    searcher: tantivy.Searcher, query: Query, names: tuple[str, ...], size: int
) -> dict[str, dict[str, int]]:
    asked = {
        name: {"terms": {"field": name if name == "year" else f"facet.{name}", "size": size}}
        for name in names
    }
    found = searcher.aggregate(query, asked)
    return {
        name: {_value(b["key"]): int(b["doc_count"]) for b in found[name]["buckets"] if b["doc_count"]}
        for name in names
    }


def _value(key: Any) -> str:
    return str(int(key)) if isinstance(key, float) else str(key)


def _mark(asked: Request, tokens: frozenset[str]) -> str:
    # What is near in meaning may change between two pages: what was typed does not.
    asked = replace(asked, tree=language.parse(language.show(asked.tree))) if asked.by_meaning else asked
    return blake2b(repr((asked, sorted(tokens))).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _read_cursor(cursor: str) -> tuple[str, int, int, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        name, number, offset, mark = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        number, offset = int(number), int(offset)
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInput(f"{cursor[:40]!r} is not a cursor: pass on `next` of the page before.") from error
    if not 0 < offset < DEEPEST:
        raise InvalidInput("A search can be followed for 10,000 hits. Narrow it with words or a facet.")
    return str(name), number, offset, str(mark)
