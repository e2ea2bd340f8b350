"""The catalog in this process, on the ledger's database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from genesis_workbench.catalog import health, starting
from genesis_workbench.catalog.compiling import may
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.following import Follower, Following
from genesis_workbench.catalog.highlighting import highlights
from genesis_workbench.catalog.index import SearchIndex
from genesis_workbench.catalog.meaning import Vocabulary, load_encoder, widened
from genesis_workbench.catalog.query import related
from genesis_workbench.catalog.request import Request, request
from genesis_workbench.catalog.result import (
    DISABLED,
    FRESH,
    NEVER,
    RESTING,
    STALE,
    UNREACHABLE,
    Place,
    SearchResult,
    SourceStatus,
)
from genesis_workbench.catalog.searching import Hits, Kept, Searching
from genesis_workbench.catalog.store import CatalogStore, Native, SourceRow
from genesis_workbench.core import clock
from genesis_workbench.core.access import Access, Person
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site, SourceSection

MAX_LIMIT = 200
_WAIT_S = 20.0


class Catalog(Protocol):
    """What both catalogs can do: the one in this process and the one behind the service.

    `person` is whose rights count. Behind the service it is whoever the token belongs to.
    """

    def search(
        self, text: str = "", *, person: Person, limit: int = 20, cursor: str | None = None, **narrow: Any
    ) -> SearchResult:
        """Return the hits of one page. `narrow` is as in :func:`genesis_workbench.catalog.search`."""
        ...

    def get(self, dataset_id: str, person: Person) -> Dataset:
        """Return one record; NotFound also where `person` may not see it."""
        ...

    def sources(self, person: Person) -> list[SourceStatus]:
        """Return the state of every source."""
        ...

    def record_opening(self, dataset_id: str, person: Person) -> None:
        """Write into the ledger that `person` opened the dataset."""
        ...


class LocalCatalog:
    """Data that come along, and whatever was harvested.

    Parameters
    ----------
    ledger : Ledger
        Takes the events; its database holds the records.
    site : Site, optional
        Names the sources. Without it there are those that were harvested before.
    folder : Path, optional
        State folder; the index is kept below it, and shared by all processes of this machine. In memory where None.
    """

    def __init__(self, ledger: Ledger, site: Site | None = None, folder: Path | None = None) -> None:
        self.ledger = ledger
        self.store = CatalogStore(ledger.engine)
        self._folder = folder
        self._section = site.catalog if site is not None else CatalogSection()
        self._hidden = frozenset(section.name for section in self._section.sources if not section.enabled)
        self._starter_section = starting.section(self._section.sources)
        starting.keep(self.store, self._starter_section)
        self._lock = threading.Lock()
        self._engine: tuple[Searching, Following] | None = None
        self._follower: Follower | None = None
        self._results: Kept[SearchResult] = Kept(1000)
        self._states: Kept[tuple[SourceStatus, ...]] = Kept(200)

    def search(
        self, text: str = "", *, person: Person, limit: int = 20, cursor: str | None = None, **narrow: Any
    ) -> SearchResult:
        """Search what `person` may see. See :func:`genesis_workbench.catalog.search`."""
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"A page can have 1 to {MAX_LIMIT} datasets, not {limit}.")
        asked = self._with_meaning(request(text, **narrow))
        searching, complete = self._current()
        tokens = may(person)
        hits = searching.search(asked, tokens, limit=limit, cursor=cursor)
        statuses = self._statuses(person, tokens)
        key = (searching.view.applied, asked, person, tuple(hits.ids), hits.next, statuses, complete)
        return self._results.get(key, lambda: self._result(asked, person, hits, statuses, complete))

    def get(self, dataset_id: str, person: Person) -> Dataset:
        """Return one record.

        Raises
        ------
        NotFound
            If there is none of that name, or `person` may not see it.
        """
        found = self.store.get([dataset_id]).get(dataset_id)
        if found is None or found.source in self._hidden or not found.access_rule.permits(person):
            raise NotFound(f"There is no dataset {dataset_id[:120]!r}. Look for it with catalog.search().")
        return found

    def native(self, dataset_id: str, person: Person) -> Native:
        """Return one record as its source gave it, with its hash; NotFound as in :meth:`get`."""
        self.get(dataset_id, person)
        found = self.store.native(dataset_id)
        if found is None:
            raise NotFound(
                f"The source of {dataset_id!r} gave no record of its own, or before they were kept."
            )
        return found

    def sources(self, person: Person) -> list[SourceStatus]:
        """Return the state of every source that `person` may know of, with counts of what they may see."""
        counts = self._current()[0].records_by_source(may(person))
        known = {row.name: row for row in self.store.sources()}
        statuses = []
        for section in self._sections(known):
            if Access(section.access_label, frozenset(section.groups)).permits(person):
                statuses.append(self._status(section, known.get(section.name), counts.get(section.name, 0)))
        return statuses

    def record_opening(self, dataset_id: str, person: Person) -> None:
        """Write the event ``dataset.opened``."""
        dataset = self.get(dataset_id, person)
        body = {"dataset": dataset.id, "source": dataset.source, "label": dataset.label}
        self.ledger.append(
            f"dataset/{dataset.id}",
            "dataset.opened",
            {**body, "digest": dataset.native_digest},
            actor=person.name,
        )

    def section(self, name: str) -> SourceSection:
        """Return what the site says of a source that can be harvested; NotFound where it names none such."""
        known = {s.name: s for s in self.harvestable()}
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise NotFound(f"The site has no source {name[:120]!r} that can be harvested. It has: {listed}.")
        return known[name]

    def harvestable(self) -> list[SourceSection]:
        """Return the sources that the site lets be harvested."""
        return [s for s in self._section.sources if s is not self._starter_section and s.enabled]

    def rejected(self, source: str, *, after: int = 0, limit: int = 200) -> list[tuple[int, Rejected]]:
        """Return which records of the last harvest could not be listed, and why, each with its number."""
        return self.store.rejected(source, after=after, limit=limit)

    def catch_up(self, budget_s: float) -> bool:
        """Bring the index up to the store for up to `budget_s` seconds; return whether it has everything then."""
        return self._ready()[1].catch_up(budget_s)

    def learn_meanings(self) -> int:
        """Bring the vocabulary of searches by meaning up to the store; return how many keywords are new to it.

        Nothing happens where the site has no model for it.
        """
        vocabulary = self._vocabulary
        return 0 if vocabulary is None else vocabulary.learn(self.store, hidden=self._hidden)

    def follow(self) -> Follower:
        """Keep the index up to the store in a thread of its own from now on; for services. Stop it at the end."""
        self._ready()
        with self._lock:
            if self._follower is None:
                self._follower = Follower(self._ready()[1])
                self._follower.start()
            return self._follower

    def _current(self) -> tuple[Searching, bool]:
        """Return what answers searches, and whether it has everything that the store has."""
        searching, following = self._ready()
        if self._follower is not None:
            return searching, following.complete
        return searching, following.catch_up(_WAIT_S)

    def _ready(self) -> tuple[Searching, Following]:
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    searching = Searching(SearchIndex(self._index_folder()))
                    self._engine = searching, Following(self.store, searching, self._hidden)
        return self._engine

    def _index_folder(self) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / "index" / self._mark(self.store.name, *sorted(self._hidden))

    @staticmethod
    def _mark(*what: str) -> str:
        return blake2b("\0".join(what).encode(), digest_size=6).hexdigest()

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        if not self._section.meaning_model or self._folder is None:
            return None
        model = Path(self._section.meaning_model)
        mark = self._mark(self.store.name, *sorted(self._hidden), str(model))
        return Vocabulary(self._folder / "index" / f"meaning-{mark}.npz", load_encoder(model))

    def _with_meaning(self, asked: Request) -> Request:
        if not asked.by_meaning:
            return asked
        vocabulary = self._vocabulary
        if vocabulary is None:
            raise InvalidInput(
                "This catalog is searched by words only: its operator can let it search by meaning with "
                "`meaning_model` under [catalog] of the site file."
            )
        if self._follower is None:
            vocabulary.learn(self.store, hidden=self._hidden)
        return replace(asked, tree=widened(asked.tree, vocabulary.near))

    def _result(
        self, asked: Request, person: Person, hits: Hits, statuses: Sequence[SourceStatus], complete: bool
    ) -> SearchResult:
        found = self.store.get(hits.ids)
        # The records may be newer than the index: what may be seen is decided by them.
        items = [found[i] for i in hits.ids if i in found and found[i].access_rule.permits(person)]
        near = related(asked.tree)
        meant = f"Also looked for: {', '.join(near)}." if near else ""
        notes = [hits.note, meant, "" if complete else self._behind()]
        return SearchResult(
            items=items,
            total=hits.total,
            next=hits.next,
            facets=hits.facets,
            sources=list(statuses),
            note=" ".join(note for note in notes if note),
            highlights={item.id: where for item in items if (where := highlights(asked.tree, item))},
            places=self._places(items, person),
            by_meaning=bool(self._section.meaning_model),
        )

    def _statuses(self, person: Person, tokens: frozenset[str]) -> tuple[SourceStatus, ...]:
        """Return the states of the sources; in a service they may be a second old."""
        if self._follower is None:
            return tuple(self.sources(person))
        key = (person.name, tokens, int(time.monotonic()))
        return self._states.get(key, lambda: tuple(self.sources(person)))

    def _behind(self) -> str:
        return "The search index is still being brought up to the catalog: some records are not found yet."

    def _places(self, items: Sequence[Dataset], person: Person) -> dict[str, list[Place]]:
        listed = self.store.places([item.id for item in items])
        return {
            name: [
                Place(each.id, each.source, each.agency, each.landing_page)
                for each in members
                if each.id != name and each.source not in self._hidden and each.access_rule.permits(person)
            ]
            for name, members in listed.items()
        }

    def _sections(self, known: Mapping[str, SourceRow]) -> list[SourceSection]:
        named = [s for s in self._section.sources if s is not self._starter_section]
        names = {s.name for s in named} | {self._starter_section.name}
        former = [
            SourceSection(
                name=row.name,
                kind="",
                title=row.title,
                agency=row.agency,
                label=row.label,
                groups=list(row.groups),
            )
            for row in known.values()
            if row.name not in names
        ]
        return [self._starter_section, *named, *former]

    def _status(self, section: SourceSection, row: SourceRow | None, records: int) -> SourceStatus:
        named = (section.name, section.title, section.agency)
        if not section.enabled:
            return SourceStatus(*named, DISABLED)
        if row is None or not (row.succeeded or row.failing_since or records):
            return SourceStatus(*named, NEVER)
        if row.failing_since:
            alone = health.left_alone(row)
            return SourceStatus(
                *named,
                RESTING if alone else UNREACHABLE,
                row.failing_since,
                records,
                row.rejected,
                row.reason,
                failures=row.failures,
                until=row.resting_until,
            )
        if section is self._starter_section:
            return SourceStatus(*named, FRESH, "", records, row.rejected, row.reason)
        late = clock.seconds_since(row.succeeded or row.tried) > 2 * self._section.harvest_every_s
        return SourceStatus(
            *named,
            STALE if late else FRESH,
            row.succeeded,
            records,
            row.rejected,
            row.reason,
            harvesting=row.harvesting,
        )


__all__ = ["Catalog", "LocalCatalog"]
