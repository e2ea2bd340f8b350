"""Bringing the index up to the store: what changed since it last looked, nothing else."""

from __future__ import annotations

import logging
import threading
import time

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.searching import Searching
from genesis_workbench.catalog.store import CatalogStore, Change

_BATCH = 2000
_COMMIT_EVERY_S = 20.0
log = logging.getLogger(__name__)


class Following:
    """Applies the store's changes to the index.

    Parameters
    ----------
    hidden : frozenset of str
        Sources whose records are left out.
    """

    def __init__(self, store: CatalogStore, searching: Searching, hidden: frozenset[str]) -> None:
        self._store, self._searching, self._hidden = store, searching, hidden
        self._lock = threading.Lock()
        self._looked_at = -1
        self.complete = False
        """Whether the index had everything when it last looked."""

    def catch_up(self, budget_s: float) -> bool:
        """Apply changes for up to `budget_s` seconds; return whether the index has them all.

        Of several threads and processes one applies, and the others wait for it.
        """
        deadline = time.monotonic() + budget_s
        version = self._store.version()
        if version == self._looked_at:
            return True
        if not self._lock.acquire(timeout=max(budget_s, 0)):
            return False
        try:
            while not self._done(version):
                if not self._apply(deadline):
                    time.sleep(0.02)  # another process is at it
                if time.monotonic() >= deadline:
                    return self._done(version)
            return True
        finally:
            self._lock.release()

    def _done(self, version: int) -> bool:
        self.complete = not self._store.changes(self._searching.view.applied, 1)
        if self.complete:
            self._looked_at = version
        return self.complete

    def _apply(self, deadline: float) -> bool:
        """Apply and commit until the time is over or nothing is left; False where another process writes."""
        pending = self._store.changes(self._searching.view.applied, _BATCH + 1)
        with self._searching.index.writing(len(pending)) as writing:
            if writing is None:
                self._searching.refresh()
                return False
            applied = self._searching.refresh().applied
            pause = min(deadline, time.monotonic() + _COMMIT_EVERY_S)
            while changes := self._store.changes(applied, _BATCH):
                members = self._members(changes)
                writing.replace((change.id for change in changes), members)
                applied = (changes[-1].number, changes[-1].id)
                if time.monotonic() >= pause:
                    break
            writing.commit(applied)
        self._searching.refresh()
        return True

    def _members(self, changes: list[Change]) -> dict[str, list[Dataset]]:
        found = self._store.members(sorted({change.work for change in changes}))
        kept = {work: [d for d in each if d.source not in self._hidden] for work, each in found.items()}
        return {work: each for work, each in kept.items() if each}


class Follower(threading.Thread):
    """Keeps an index up to its store, in a thread of its own, until it is stopped."""

    def __init__(self, following: Following, *, every_s: float = 0.25) -> None:
        super().__init__(name="catalog-index", daemon=True)
        self._following, self._every_s = following, every_s
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look for changes until told to stop."""
        while not self._stopping.wait(self._every_s):
            try:
                self._following.catch_up(60)
            except Exception:  # the database may be away for a moment; the service goes on with what it has
                log.exception("the search index could not follow the catalog; it is tried again")
                self._stopping.wait(5)

    def stop(self) -> None:
        """Stop, and wait until what is being written is done."""
        self._stopping.set()
        self.join(30)
