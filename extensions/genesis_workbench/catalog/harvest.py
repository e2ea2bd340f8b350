"""Bring the records of one source into the catalog, within its limits, and say in the ledger what came of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.sources._base import Source
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.identifiers import check_slug, digest_json
from genesis_workbench.core.site import SourceSection


@dataclass(frozen=True)
class HarvestReport:
    """What one harvest brought.

    Attributes
    ----------
    ok : bool
        Whether the source answered to the end, or to a limit that the site set.
    records, rejected, removed : int
        How many records were taken, could not be read, and were removed because the source no longer has them.
    complete : bool
        Whether these are all records of the source.
    reason : str
        Why it failed or is not complete.
    digest : str
        SHA-256 over the ids and digests of the records that were taken.
    """

    source: str
    ok: bool
    records: int
    rejected: int
    removed: int
    complete: bool
    reason: str
    digest: str


@dataclass
class _Batch:
    datasets: dict[str, Dataset] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    complete: bool = False
    reason: str = ""
    failed: bool = False


def harvest(
    catalog: LocalCatalog,
    section: SourceSection,
    *,
    actor: str = "service:harvest",
    allow_private: bool = False,
) -> HarvestReport:
    """Harvest one source.

    A harvest that fails keeps what was known before and adds what came; it marks the source as unreachable since the
    first failure. It never raises for what the source does.

    Parameters
    ----------
    catalog : LocalCatalog
        Where the records go.
    section : SourceSection
        The source, its deadline and its limit.
    actor : str
        Who asked for it.
    allow_private : bool
        Whether the source may be at a private address.
    """
    check_slug(section.name, "source")
    deadline = time.monotonic() + section.deadline_s
    with Fetcher(allow_private, timeout_s=section.deadline_s, deadline=deadline) as fetcher:
        batch = _collect(section, fetcher, deadline)
    row = SourceRow(section.name, section.title, section.agency, section.label, tuple(section.groups))
    removed = catalog.store.keep(
        row,
        batch.datasets.values(),
        batch.rejected,
        complete=batch.complete,
        failure=batch.reason if batch.failed else "",
    )
    digest = digest_json(sorted([d.id, d.native_digest] for d in batch.datasets.values()))
    report = HarvestReport(
        source=section.name,
        ok=not batch.failed,
        records=len(batch.datasets),
        rejected=len(batch.rejected),
        removed=removed,
        complete=batch.complete,
        reason=batch.reason,
        digest=digest,
    )
    reasons = Counter(rejected.reason for rejected in batch.rejected).most_common(5)
    body = {
        "source": report.source,
        "kind": section.kind,
        "url": section.url.partition("?")[0],
        "records": report.records,
        "rejected": report.rejected,
        "rejected_for": dict(reasons),
        "removed": report.removed,
        "complete": report.complete,
        "reason": report.reason,
        "digest": report.digest,
    }
    kind = "source.failed" if batch.failed else "source.harvested"
    catalog.ledger.append(f"catalog/source/{section.name}", kind, body, actor=actor)
    return report


def _collect(section: SourceSection, fetcher: Fetcher, deadline: float) -> _Batch:
    batch = _Batch()
    try:
        source: Source = plugins.load("sources", section.kind)(section, fetcher)
        for page in source.pages(None):
            new = _take(batch, page.records)
            if len(batch.datasets) >= section.max_records and (page.cursor or _trim(batch, section)):
                batch.reason = f"the site takes {section.max_records:,} records of this source at most"
                return batch
            if page.cursor is not None and not new:
                batch.failed = True
                batch.reason = "a page brought no new record, and the source names yet another page"
                return batch
            if page.cursor is not None and time.monotonic() >= deadline:
                batch.reason = f"its {section.deadline_s:g} s were over before its last page"
                batch.failed = not batch.datasets
                return batch
        batch.complete = True
    except GenesisError as error:
        batch.failed = True
        batch.reason = error.message
    return batch


def _take(batch: _Batch, records: list[Dataset | Rejected]) -> int:
    new = 0
    for record in records:
        if isinstance(record, Rejected):
            batch.rejected.append(record)
        elif record.id in batch.datasets:
            batch.rejected.append(
                Rejected(record.id, "another record of this source has the same identifier")
            )
        else:
            batch.datasets[record.id] = record
            new += 1
    return new


def _trim(batch: _Batch, section: SourceSection) -> bool:
    """Keep the first `max_records`; return whether any had to go."""
    extra = list(batch.datasets)[section.max_records :]
    for name in extra:
        del batch.datasets[name]
    return bool(extra)
