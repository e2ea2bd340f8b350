"""``workbench harvest``: harvest sources now, with progress, and say what could not be listed and why."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from genesis_workbench.catalog.harvest import HarvestReport, harvest
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.result import SourceStatus
from genesis_workbench.catalog.writing import Run
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import SourceSection, load_site
from genesis_workbench.core.state import State

_AT_ONCE = 4
_MARGIN_S = 30.0


def run(
    site: Path,
    state: Path,
    names: Sequence[str],
    *,
    all_sources: bool,
    fresh: bool,
    as_json: bool,
    allow_private: bool,
) -> int:
    """Harvest, print what came of it, and return the exit status: 1 where a source failed.

    Without names and `all_sources` nothing is harvested: the sources and their state are listed.
    """
    if names and all_sources:
        raise InvalidInput("Name the sources, or use --all; not both.")
    settings, folder = load_site(site), State(state)
    ledger = Ledger.open(folder.ledger_url(settings))
    try:
        catalog = LocalCatalog(ledger, settings, folder.folder)
        chosen = catalog.harvestable() if all_sources else [catalog.section(name) for name in names]
        if not chosen and not all_sources:
            _list(catalog, as_json)
            return 0
        reports = _harvest(catalog, chosen, fresh=fresh, quiet=as_json, allow_private=allow_private)
        # The index follows now, so that the first search after it does not have to.
        catalog.catch_up(3600)
        catalog.learn_meanings()
        _print(catalog, reports, as_json)
        return 0 if all(report.ok for report in reports) else 1
    finally:
        ledger.close()


def _harvest(
    catalog: LocalCatalog,
    chosen: Sequence[SourceSection],
    *,
    fresh: bool,
    quiet: bool,
    allow_private: bool,
) -> list[HarvestReport]:
    leases, me = Leases(catalog.ledger.engine), f"{socket.gethostname()}:{os.getpid()}:command"
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[came]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:

        def one(section: SourceSection) -> HarvestReport:
            task = progress.add_task(escape(section.title), total=None, came="asked")
            lease = leases.acquire(f"catalog/source/{section.name}", me, section.deadline_s + _MARGIN_S)
            if lease is None:
                raise Conflict(f"{section.name} is being harvested by another process now. Try again later.")
            try:
                return harvest(
                    catalog,
                    section,
                    actor="command:harvest",
                    fresh=fresh,
                    allow_private=allow_private,
                    progress=lambda run: _show(progress, task, run),
                )
            finally:
                leases.release(lease)
                progress.update(task, total=1, completed=1)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(one, chosen))


def _show(progress: Progress, task: TaskID, run: Run) -> None:
    rejected = f", {run.rejected:,} rejected" if run.rejected else ""
    progress.update(task, came=f"{run.records:,} records{rejected}, page {run.pages:,}")


def _print(catalog: LocalCatalog, reports: Sequence[HarvestReport], as_json: bool) -> None:
    reasons = {report.source: catalog.store.reasons(report.source) for report in reports if report.rejected}
    if as_json:
        listed = [{**asdict(report), "rejected_for": reasons.get(report.source, {})} for report in reports]
        sys.stdout.write(json.dumps(listed) + "\n")
        return
    table = Table("source", "state", "records", "changed", "removed", "rejected", "why")
    for report in reports:
        table.add_row(
            escape(report.source),
            _state(report),
            f"{report.records:,}",
            f"{report.written:,}",
            f"{report.removed:,}",
            f"{report.rejected:,}",
            escape(report.reason),
        )
    console = Console()
    console.print(table)
    for source, why in reasons.items():
        console.print(f"Rejected of {escape(source)}:")
        for reason, count in why.items():
            console.print(f"  {count:,} x {escape(reason)}")


def _state(report: HarvestReport) -> str:
    if not report.ok:
        return "failed"
    if report.unchanged:
        return "nothing new"
    return "complete" if report.complete else "in part"


def _list(catalog: LocalCatalog, as_json: bool) -> None:
    groups = frozenset(group for section in catalog.harvestable() for group in section.groups)
    statuses: list[SourceStatus] = catalog.sources(Person("command:harvest", groups))
    if as_json:
        found: list[dict[str, Any]] = [asdict(status) for status in statuses]
        sys.stdout.write(json.dumps(found) + "\n")
        return
    table = Table("source", "title", "state", "records", "rejected", "why")
    for status in statuses:
        table.add_row(
            escape(status.name),
            escape(status.title),
            status.line(),
            f"{status.records:,}",
            f"{status.rejected:,}",
            escape(status.reason),
        )
    console = Console()
    console.print(table)
    console.print("Harvest one with `workbench harvest SOURCE`, or all with `workbench harvest --all`.")
