"""Ask many places for items at once: what comes in time is given at once, and each place says how it went.

A place that hangs delays nobody. Each is asked in a thread of its own; answers are given as they come; at the deadline
the result says of those that have not answered that they were slow, and since when.
"""

from __future__ import annotations

import html
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._items import Item, ItemQuery, ItemSource
from genesis_workbench.core import clock, plugins
from genesis_workbench.core.access import Access, Person
from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

ANSWERED, ASKED, SLOW, FAILED, SKIPPED = "answered", "asked", "slow", "failed", "not asked"
MAX_SOURCES = 64


@dataclass(frozen=True)
class SourceAnswer:
    """How one place answered.

    Attributes
    ----------
    name, title : str
        The source.
    state : str
        ``answered`` (to its end), ``asked`` (not yet answered to its end, before the deadline), ``slow`` (nor at the
        deadline), ``failed``, or ``not asked`` (it does not understand the question).
    since : str
        When it came to be so, ISO 8601.
    reason : str
        Why it failed or was not asked.
    items : int
        How many items came of it, also of one that failed or was slow later on.
    seconds : float
        Time until its last item or its failure; until now or the deadline where it has not ended.
    """

    name: str
    title: str
    state: str
    since: str = ""
    reason: str = ""
    items: int = 0
    seconds: float = 0.0

    def line(self) -> str:
        """Return it in words, such as ``slow: 3 items in 10.0 s, and not at its end``."""
        count = f"{self.items:,} item{'' if self.items == 1 else 's'}"
        if self.state == SKIPPED:
            return f"not asked: {self.reason}"
        if self.state == FAILED:
            kept = f", {count} before that" if self.items else ""
            return f"failed after {self.seconds:.1f} s{kept}: {self.reason}"
        if self.state == ANSWERED:
            return f"answered: {count} in {self.seconds:.1f} s"
        return f"{self.state}: {count} in {self.seconds:.1f} s, and not at its end"


@dataclass(frozen=True)
class ItemResult:
    """What many places gave, and how each of them answered.

    Attributes
    ----------
    items : list of Item
        In the order in which they came.
    sources : list of SourceAnswer
        Every place, also those that were slow, failed or were not asked.
    done : bool
        Whether nothing more will come.
    """

    items: list[Item]
    sources: list[SourceAnswer]
    done: bool = True

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values, as the service answers them."""
        return {
            "items": [_item_values(item) for item in self.items],
            "sources": [asdict(answer) for answer in self.sources],
            "done": self.done,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ItemResult:
        """Make it from :meth:`as_dict`'s values."""
        items = [_item_from(each) for each in values["items"]]
        return cls(items, [SourceAnswer(**each) for each in values["sources"]], values["done"])

    def __repr__(self) -> str:
        lines = [f"{len(self.items)} items"]
        lines += [f"  {item.source}: {item.title}" for item in self.items[:10]]
        lines += ["  ..."] if len(self.items) > 10 else []
        return "\n".join([*lines, *(f"  [{answer.title}: {answer.line()}]" for answer in self.sources)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(item.title)}</td><td>{html.escape(item.collection)}</td>"
            f"<td>{html.escape(item.source)}</td></tr>"
            for item in self.items[:50]
        )
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Title", "Collection", "Source"))
        states = "".join(
            f"<li><b>{html.escape(answer.title)}</b> · {html.escape(answer.line())}</li>"
            for answer in self.sources
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<p><b>{len(self.items):,} items</b></p>{table}<ul>{states}</ul>"


class Federation:
    """One question that is being answered; iterate over it, or :meth:`wait` for all of it.

    Iterating gives each item as soon as it comes and ends when every place has answered or the deadline is over.
    It can be done again: what came is kept. :attr:`sources` says at any time how each place stands. Use it in a
    ``with`` block, or call :meth:`close`, to end the threads early.
    """

    def __init__(
        self, sources: Mapping[str, _Asked], skipped: Iterable[SourceAnswer], deadline_s: float
    ) -> None:
        self._begun = time.monotonic()
        self._deadline = self._begun + deadline_s
        self._news: queue.SimpleQueue[tuple[str, Item | GenesisError | None]] = queue.SimpleQueue()
        self._answers = {answer.name: answer for answer in skipped}
        self._items: list[Item] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._asked = dict(sources)
        for name, asked in sources.items():
            self._answers[name] = SourceAnswer(name, asked.section.title, ASKED, clock.now())
        for name in sources:
            threading.Thread(target=self._ask, args=(name,), name=f"ask {name}", daemon=True).start()

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        position = 0
        while True:
            while position < len(self._items):
                yield self._items[position]
                position += 1
            if not self._receive():
                return

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> list[Item]:
        """What has come so far."""
        return list(self._items)

    @property
    def sources(self) -> list[SourceAnswer]:
        """How each place stands, in the order of the site."""
        with self._lock:
            self._late()
            now = time.monotonic() - self._begun
            return [replace(a, seconds=now) if a.state == ASKED else a for a in self._answers.values()]

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return all(answer.state != ASKED for answer in self.sources)

    def wait(self) -> Federation:
        """Return it when every place has answered, failed or been too slow: at the deadline at the latest."""
        while self._receive():
            pass
        return self

    def close(self) -> None:
        """Ask no further; what has come stays."""
        self._deadline = min(self._deadline, time.monotonic())
        self._stop.set()
        for asked in self._asked.values():
            asked.fetcher.close()

    def _receive(self) -> bool:
        """Wait for the next news and take it; return False where none will come."""
        if all(answer.state != ASKED for answer in self._answers.values()):
            return False
        left = self._deadline - time.monotonic()
        try:
            name, news = self._news.get(timeout=max(left, 0.0)) if left > 0 else self._news.get_nowait()
        except queue.Empty:
            with self._lock:
                self._late()
            return False
        with self._lock:
            self._take(name, news)
        return True

    def _take(self, name: str, news: Item | GenesisError | None) -> None:
        before = self._answers[name]
        if before.state != ASKED:
            return
        seconds = time.monotonic() - self._begun
        if news is None:
            self._answers[name] = replace(before, state=ANSWERED, since=clock.now(), seconds=seconds)
        elif isinstance(news, GenesisError):
            late = isinstance(news, DeadlineExceeded)
            state, reason = (SLOW, "") if late else (FAILED, news.message)
            self._answers[name] = replace(
                before, state=state, since=clock.now(), reason=reason, seconds=seconds
            )
        else:
            self._items.append(news)
            self._answers[name] = replace(before, items=before.items + 1, seconds=seconds)

    def _late(self) -> None:
        if time.monotonic() < self._deadline:
            return
        while not self._news.empty():  # what came in time, and nobody has looked at yet
            self._take(*self._news.get())
        seconds = self._deadline - self._begun
        for name, answer in self._answers.items():
            if answer.state == ASKED:
                self._answers[name] = replace(answer, state=SLOW, since=clock.now(), seconds=seconds)

    def _ask(self, name: str) -> None:
        """Run in the thread of one place; whatever happens ends as news."""
        asked = self._asked[name]
        news: GenesisError | None = None
        try:
            with asked.fetcher:
                for item in asked.items():
                    self._news.put((name, item))
                    if self._stop.is_set():
                        break
        except GenesisError as error:
            news = error
        except Exception as error:  # noqa: BLE001 - a fault in one plug-in must not leave the others waiting
            news = GenesisError(
                f"The source {name!r} has a fault: {type(error).__name__}.", detail=repr(error)
            )
        self._news.put((name, news))

    def result(self) -> ItemResult:
        """Return what has come so far, as a value that stays as it is."""
        return ItemResult(self.items, self.sources, self.done)

    def __repr__(self) -> str:
        return repr(self.result())

    def _repr_html_(self) -> str:
        return self.result()._repr_html_()


@dataclass(frozen=True)
class _Asked:
    """One place, with what it takes to ask it."""

    section: SourceSection
    source: ItemSource
    fetcher: Fetcher
    query: ItemQuery

    def items(self) -> Iterator[Item]:
        return self.source.items(self.query)


def federate(
    sections: Iterable[SourceSection],
    query: ItemQuery,
    *,
    person: Person,
    deadline_s: float = 10.0,
    allow_private: bool = False,
) -> Federation:
    """Ask every source that can be asked for items, at once.

    Parameters
    ----------
    sections : iterable of SourceSection
        Sources of the site. Those that are switched off, those that `person` may not know of, and those whose
        protocol has no items are left out.
    query : ItemQuery
        The question. A source that does not understand one of its terms is not asked, and says so.
    person : Person
        Whose rights count.
    deadline_s : float
        Seconds until everything that has not answered counts as slow.
    allow_private : bool
        Whether sources may be at private addresses.

    Returns
    -------
    Federation
        At once; the items come while it is iterated.

    Raises
    ------
    InvalidInput
        If there is no source that has items, or the deadline is not positive.
    """
    if not 0 < deadline_s <= 300:
        raise InvalidInput(f"A deadline of {deadline_s:g} s cannot be used: give up to 300 s.")
    if not 1 <= query.limit <= 1000:
        raise InvalidInput(f"A limit of {query.limit} items of each source cannot be used: give 1 to 1000.")
    asked: dict[str, _Asked] = {}
    skipped: list[SourceAnswer] = []
    for section in sections:
        if not section.enabled or not Access(section.access_label, frozenset(section.groups)).permits(person):
            continue
        try:
            kind = plugins.load("sources", section.kind)
        except GenesisError as error:
            skipped.append(SourceAnswer(section.name, section.title, FAILED, clock.now(), error.message))
            continue
        understood = getattr(kind, "item_terms", None)
        if understood is None or len(asked) >= MAX_SOURCES:
            continue
        unknown = query.terms - understood
        if unknown:
            reason = f"it cannot be asked by {', '.join(sorted(unknown))}"
            skipped.append(SourceAnswer(section.name, section.title, SKIPPED, clock.now(), reason))
            continue
        limit_s = min(deadline_s, section.deadline_s)
        deadline = time.monotonic() + limit_s
        fetcher = Fetcher(allow_private, timeout_s=limit_s, deadline=deadline, retries=1)
        asked[section.name] = _Asked(section, kind(section, fetcher), fetcher, query)
    if not asked and not skipped:
        raise InvalidInput(
            "The site has no source that can be asked for items; STAC, OPTIMADE, CMR and ERDDAP can."
        )
    return Federation(asked, skipped, deadline_s)


def _item_values(item: Item) -> dict[str, Any]:
    return {**asdict(item), "distributions": [each.model_dump(mode="json") for each in item.distributions]}


def _item_from(values: Mapping[str, Any]) -> Item:
    pairs = {name: tuple(values[name]) if values[name] else None for name in ("spatial", "temporal")}
    files = [Distribution.model_validate(each) for each in values["distributions"]]
    return Item(**{**values, **pairs, "distributions": files})
