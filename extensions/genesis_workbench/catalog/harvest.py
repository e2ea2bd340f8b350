"""Bring the records of one source into the catalog, within its limits, and say in the ledger what came of it.

Pages are written as they come, each with where to go on: a harvest that is killed, or whose time is over, goes on there
the next time. What is asked for is what changed since the last harvest, where the source can tell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from genesis_workbench.catalog import health, writing
from genesis_workbench.catalog.dataset import Rejected
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.opening import say_openable
from genesis_workbench.catalog.sources._base import Page, Source
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core import clock, plugins
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, GenesisError
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.identifiers import check_slug, digest_json
from genesis_workbench.core.site import SourceSection

_WHOLE_EVERY_S = 7 * 86_400.0
_OPEN_FOR_S = 2 * 86_400.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HarvestReport:
    """What one harvest brought.

    Attributes
    ----------
    ok : bool
        Whether the source answered to the end, or to a limit that the site set.
    records, rejected, removed : int
        How many records came, could not be read, and were removed because the source no longer has them.
    written : int
        How many of them were new, changed or removed.
    complete : bool
        Whether the catalog now has all records of the source.
    unchanged : bool
        Whether the source said that nothing has changed.
    reason : str
        Why it failed or is not complete.
    digest : str
        SHA-256 over the ids and digests of the records that came.
    """

    source: str
    ok: bool
    records: int
    rejected: int
    removed: int
    complete: bool
    reason: str
    digest: str
    written: int = 0
    unchanged: bool = False


@dataclass
class _Ending:
    run: writing.Run
    complete: bool = False
    unchanged: bool = False
    failed: bool = False
    stays_open: bool = False
    reason: str = ""

    def fail(self, reason: str) -> None:
        self.failed, self.reason = True, reason

    def pause(self, section: SourceSection) -> None:
        """Say that its time is over; it failed only where nothing came."""
        self.reason = (
            f"its {section.deadline_s:g} s were over before its last page; the next harvest goes on there"
        )
        self.stays_open, self.failed = True, not self.run.records


def harvest(
    catalog: LocalCatalog,
    section: SourceSection,
    *,
    actor: str = "service:harvest",
    allow_private: bool = False,
    fresh: bool = False,
    progress: Callable[[writing.Run], None] | None = None,
) -> HarvestReport:
    """Harvest one source.

    A harvest that fails keeps what was known before and what came; it marks the source as unreachable since the
    first failure. It never raises for what the source does.

    Parameters
    ----------
    catalog : LocalCatalog
        Where the records go.
    section : SourceSection
        The source, its deadline and its limits.
    actor : str
        Who asked for it.
    allow_private : bool
        Whether the source may be at a private address.
    fresh : bool
        Ask for everything from the start, whatever was known.
    progress : callable, optional
        Called with how far it has come after each page.
    """
    check_slug(section.name, "source")
    deadline = time.monotonic() + section.deadline_s
    row = SourceRow(section.name, section.title, section.agency, section.label, tuple(section.groups))
    known = catalog.store.source(section.name)
    ending = _Ending(writing.Run(section.name, 0))
    removed = 0
    try:
        source_class = plugins.load("sources", section.kind)
    except GenesisError as error:
        source_class = None
        ending.fail(error.message)
    run = writing.begin(
        catalog.store,
        row,
        fingerprint=_fingerprint(section),
        incremental=bool(getattr(source_class, "incremental", False)),
        fresh=fresh or _whole_is_due(known, catalog.store.full_at(section.name)),
        max_age_s=_OPEN_FOR_S,
    )
    ending.run = run
    if source_class is not None:
        with Fetcher(allow_private, timeout_s=section.deadline_s, deadline=deadline) as fetcher:
            _read(catalog, section, source_class, fetcher, ending, deadline, progress)
    try:
        removed = _close(catalog, ending, known)
    except Conflict as conflict:
        ending.fail(conflict.message)
    report = _report(ending, removed)
    _tell(catalog, section, report, actor)
    return report


def _read(
    catalog: LocalCatalog,
    section: SourceSection,
    source_class: type[Source],
    fetcher: Fetcher,
    ending: _Ending,
    deadline: float,
    progress: Callable[[writing.Run], None] | None,
) -> None:
    """Write pages until they end, a limit is reached or the source fails."""
    begun = ending.run.pages
    try:
        for page in source_class(section, fetcher).pages(ending.run.cursor, state=ending.run.given):
            if page.unchanged:
                ending.unchanged = ending.complete = True
                return
            page = replace(page, records=[say_openable(record) for record in page.records])  # noqa: PLW2901
            written = writing.write(
                catalog.store, ending.run, page, room=section.max_records - ending.run.records
            )
            ending.run = written.run
            if progress is not None:
                progress(ending.run)
            if _stops(section, page, written, ending, deadline):
                return
        ending.complete = True
    except DeadlineExceeded as error:
        if ending.run.pages > begun and time.monotonic() >= deadline:
            ending.pause(section)
        else:
            ending.fail(error.message)
    except GenesisError as error:
        ending.fail(error.message)
    except (
        Exception
    ) as error:  # a plug-in's own fault must not stop the other sources; the log has the whole story
        log.exception("the plug-in %s of the source %s failed", section.kind, section.name)
        ending.fail(
            f"its plug-in {section.kind!r} failed ({type(error).__name__}); the operator's log says more"
        )
    # Go on where it broke off, but not at a place that the source has just refused.
    ending.stays_open = (ending.failed or ending.stays_open) and ending.run.pages > begun


def _stops(
    section: SourceSection, page: Page, written: writing.Written, ending: _Ending, deadline: float
) -> bool:
    run, more = written.run, page.cursor is not None
    if written.cut or (run.records >= section.max_records and more):
        ending.reason = f"the site takes {section.max_records:,} records of this source at most"
    elif run.pages >= section.max_pages and more:
        ending.reason = f"the site takes {section.max_pages:,} pages of this source at most"
    elif run.bytes >= section.max_bytes and more:
        ending.reason = f"the site takes {section.max_bytes:,} bytes of this source at most"
    elif more and not (written.new or page.removed or any(isinstance(r, Rejected) for r in page.records)):
        ending.fail("a page brought no new record, and the source names yet another page")
    elif more and time.monotonic() >= deadline:
        ending.reason = (
            f"its {section.deadline_s:g} s were over before its last page; the next harvest goes on there"
        )
        ending.stays_open = True
        ending.failed = not run.records
    else:
        return False
    return True


def _close(catalog: LocalCatalog, ending: _Ending, known: SourceRow | None) -> int:
    run, store = ending.run, catalog.store
    if ending.unchanged and not run.pages:
        ending.run = writing.unchanged(store, run)
        return 0
    if ending.complete and run.whole and not run.records and known is not None and known.records:
        # Far more often a server that has lost its index than one whose owner deleted all: nothing is lost by waiting.
        ending.fail(
            f"it sent no record at all, where {known.records:,} are known; they are kept. If it is empty on purpose, disable it"
        )
        ending.complete = False
    removed = writing.remove_unseen(store, run) if ending.complete and run.whole else 0
    failures = (known.failures if known is not None else 0) + 1
    writing.finish(
        store,
        run,
        reason=ending.reason,
        failed=ending.failed,
        stays_open=ending.stays_open,
        keeps_state=ending.complete,
        resting_until=health.resting_until(failures) if ending.failed else "",
    )
    return removed


def _fingerprint(section: SourceSection) -> str:
    """Return what tells one state of a source from another's: where it is and how its records are labelled."""
    limits = {"deadline_s", "max_records", "max_pages", "max_bytes", "enabled"}
    return digest_json(section.model_dump(mode="json", exclude=limits)).removeprefix("sha256:")


def _whole_is_due(known: SourceRow | None, full_at: str) -> bool:
    """Whether everything is asked for again: what a source forgot to tell is found out so."""
    settled = known is not None and not known.harvesting and full_at != ""
    return settled and clock.seconds_since(full_at) > _WHOLE_EVERY_S


def _report(ending: _Ending, removed: int) -> HarvestReport:
    run = ending.run
    return HarvestReport(
        source=run.source,
        ok=not ending.failed,
        records=run.records,
        rejected=run.rejected,
        removed=removed,
        complete=ending.complete and not ending.failed,
        reason=ending.reason,
        digest="sha256:" + run.digest if run.digest else digest_json([]),
        written=run.written + removed,
        unchanged=ending.unchanged,
    )


def _tell(catalog: LocalCatalog, section: SourceSection, report: HarvestReport, actor: str) -> None:
    body = {
        "source": report.source,
        "kind": section.kind,
        "url": section.url.partition("?")[0],
        "records": report.records,
        "written": report.written,
        "rejected": report.rejected,
        "rejected_for": catalog.store.reasons(section.name) if report.rejected else {},
        "removed": report.removed,
        "complete": report.complete,
        "unchanged": report.unchanged,
        "reason": report.reason,
        "digest": report.digest,
    }
    kind = "source.harvested" if report.ok else "source.failed"
    catalog.ledger.append(f"catalog/source/{section.name}", kind, body, actor=actor)
