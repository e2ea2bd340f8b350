"""Writing a harvest into the catalog, page by page: each page and where to go on are one transaction.

A harvest that is killed goes on after the last page that was written. Only one harvest of a source writes at a time: one
that begins anew shuts out whatever was open before.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b, sha256
from typing import Any

import sqlalchemy as sa

from genesis_workbench.catalog import tables
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.duplicates import keys, regroup
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import CatalogStore, SourceRow
from genesis_workbench.catalog.tables import bodies, entries, layout, rejected, sources
from genesis_workbench.core import clock
from genesis_workbench.core.errors import Conflict

KEPT_REJECTED = 10_000
_UNKNOWN = SourceRow("", "", "", "")


@dataclass(frozen=True)
class Run:
    """One harvest of one source, and how far it has come.

    Attributes
    ----------
    number : int
        Number of the harvest, unique to its source.
    cursor : str or None
        Where the next page begins.
    given : dict
        State that the source was given at the start.
    state : dict
        State that it left so far.
    whole : bool
        Whether every record of the source comes: then those that do not come are removed at the end.
    started : str
        When it began.
    pages, records, rejected, bytes : int
        What came so far.
    digest : str
        Over the ids and hashes of the records so far.
    """

    source: str
    number: int
    cursor: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True
    started: str = ""
    pages: int = 0
    records: int = 0
    rejected: int = 0
    written: int = 0
    bytes: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Written:
    """What became of one page: `new` to this harvest, `repeated` in it, and whether the limit cut it short."""

    run: Run
    new: int
    repeated: int
    cut: bool


def begin(
    store: CatalogStore, row: SourceRow, *, fingerprint: str, incremental: bool, fresh: bool, max_age_s: float
) -> Run:
    """Begin a harvest, or go on with the one that was broken off.

    Parameters
    ----------
    row : SourceRow
        Name, title, agency, label and groups.
    fingerprint : str
        Of what the site says of the source: state and progress of another are not used.
    incremental : bool
        Whether the source, given a state, sends only what changed.
    fresh : bool
        Ask for everything from the start.
    max_age_s : float
        An open harvest older than this is given up.
    """
    now = clock.now()
    with store.engine.begin() as connection:
        _lock(connection)
        before = connection.execute(sa.select(sources).where(sources.c.name == row.name)).first()
        same = before is not None and before.fingerprint == fingerprint and not fresh
        if same and before is not None and before.open:
            run = Run(**before.open)
            if clock.seconds_since(run.started) < max_age_s:
                connection.execute(sa.update(sources).where(sources.c.name == row.name).values(tried=now))
                return run
        given = dict(before.state) if same and before is not None else {}
        number = (before.run if before is not None else 0) + 1
        run = Run(row.name, number, given=given, whole=not (incremental and given), started=now)
        named = {
            "title": row.title,
            "agency": row.agency,
            "label": row.label,
            "groups": list(row.groups),
            "fingerprint": fingerprint,
            "tried": now,
            "run": number,
            "open": asdict(run),
        }
        if before is None:
            connection.execute(sa.insert(sources).values(name=row.name, state={}, **named))
        else:
            connection.execute(sa.update(sources).where(sources.c.name == row.name).values(**named))
        return run


def write(store: CatalogStore, run: Run, page: Page, *, room: int) -> Written:
    """Write one page and where the next begins, in one transaction.

    Parameters
    ----------
    run : Run
        The harvest, as :func:`begin` or the last :func:`write` gave it.
    page : Page
        What came.
    room : int
        How many records the site still takes of this source.

    Raises
    ------
    Conflict
        If another harvest of this source has begun meanwhile.
    """
    datasets = [record for record in page.records if isinstance(record, Dataset)]
    refused = [record for record in page.records if isinstance(record, Rejected)]
    with store.engine.begin() as connection:
        _with_room(connection)
        change = _lock(connection)
        _still_open(connection, run)
        known = _known(connection, [dataset.id for dataset in datasets])
        sorted_out = _sort_out(run, datasets, known, refused, room)
        _keep(connection, run, sorted_out, known, page.natives, change)
        gone = _gone(connection, run, page.removed)
        _mark_removed(connection, gone, change)
        touched = [row["id"] for row in sorted_out.written] + gone
        if touched:
            regroup(connection, touched, change)
        _refuse(connection, run, refused)
        after = replace(
            run,
            cursor=page.cursor,
            state={**run.state, **page.state},
            pages=run.pages + 1,
            records=run.records + len(sorted_out.seen),
            rejected=run.rejected + len(refused),
            written=run.written + len(touched),
            bytes=run.bytes + sum(len(text) for text in page.natives.values()),
            digest=_chain(run.digest, sorted_out.seen),
        )
        connection.execute(sa.update(sources).where(sources.c.name == run.source).values(open=asdict(after)))
    return Written(after, len(sorted_out.seen), sorted_out.repeated, sorted_out.cut)


def put(
    store: CatalogStore, row: SourceRow, pages: Iterable[Page], *, state: Mapping[str, str] | None = None
) -> Run:
    """Write `pages` as all that a source has, and `state` for the next time."""
    run = begin(store, row, fingerprint="", incremental=False, fresh=True, max_age_s=0)
    for page in pages:
        run = write(store, run, page, room=len(page.records)).run
    remove_unseen(store, run)
    run = replace(run, state={**run.state, **(state or {})})
    finish(store, run, reason="", failed=False, keeps_state=True)
    return run


def remove_unseen(store: CatalogStore, run: Run) -> int:
    """Remove the records of the source that this harvest did not see, and return how many."""
    removed = 0
    while True:
        with store.engine.begin() as connection:
            change = _lock(connection)
            _still_open(connection, run)
            query = sa.select(entries.c.id).where(
                entries.c.source == run.source, entries.c.run < run.number, ~entries.c.removed
            )
            gone = list(connection.scalars(query.limit(500)))
            if not gone:
                return removed
            _mark_removed(connection, gone, change)
            regroup(connection, gone, change)
        removed += len(gone)


def finish(
    store: CatalogStore,
    run: Run,
    *,
    reason: str,
    failed: bool,
    stays_open: bool = False,
    keeps_state: bool = False,
    resting_until: str = "",
) -> None:
    """Say how a harvest ended, or why it pauses.

    Parameters
    ----------
    reason : str
        Why it failed or is not complete.
    failed : bool
        Whether the source did not answer as it should.
    stays_open : bool
        Whether the next harvest goes on where this one stopped.
    keeps_state : bool
        Whether everything came, so that the next harvest may ask for changes only.
    resting_until : str
        Until when the source is left alone.
    """
    now = clock.now()
    with store.engine.begin() as connection:
        _lock(connection)
        _still_open(connection, run)
        before = connection.execute(sa.select(sources).where(sources.c.name == run.source)).one()
        held = sa.select(sa.func.count()).where(entries.c.source == run.source, ~entries.c.removed)
        values: dict[str, Any] = {
            "reason": reason,
            "records": connection.scalar(held),
            "failures": before.failures + 1 if failed else 0,
            "failing_since": (before.failing_since or now) if failed else "",
            "resting_until": resting_until,
            "open": asdict(run) if stays_open else None,
        }
        if not failed:
            values["succeeded"] = now
        if run.pages:
            values["rejected"] = _forget_rejected(connection, run)
        if keeps_state:
            values["state"] = dict(run.state)
            values["digest"] = run.digest if run.whole else ""
            values["full_at"] = now if run.whole else before.full_at
        elif not stays_open and not failed:
            values["state"] = {}
        connection.execute(sa.update(sources).where(sources.c.name == run.source).values(**values))


def unchanged(store: CatalogStore, run: Run) -> Run:
    """Say that the source has nothing new: what is known of it holds, also what could not be read.

    The harvest that is returned has the digest of what is known.
    """
    now = clock.now()
    values = {"reason": "", "failures": 0, "failing_since": "", "resting_until": "", "succeeded": now}
    with store.engine.begin() as connection:
        _lock(connection)
        _still_open(connection, run)
        connection.execute(sa.update(sources).where(sources.c.name == run.source).values(**values, open=None))
        query = sa.select(sources.c.digest).where(sources.c.name == run.source)
        return replace(run, digest=str(connection.scalar(query) or ""))


def bring_over(store: CatalogStore) -> None:
    """Take the records of the first layout, so that they can be found until the next harvest writes them anew."""
    reading = store.engine.execution_options(reading=True)
    with reading.connect() as connection:
        rows = connection.execute(sa.select(tables.old_sources)).mappings().all()
        held = [
            (row.source, Dataset.model_validate_json(row.body))
            for row in connection.execute(sa.select(tables.old_datasets))
        ]
    for row in rows:
        known = SourceRow(row["name"], row["title"], row["agency"], row["label"], tuple(row["groups"]))
        mine = [dataset for source, dataset in held if source == row["name"]]
        put(store, known, (Page(list(mine[start : start + 1000])) for start in range(0, len(mine), 1000)))
        kept = {name: row[name] for name in ("succeeded", "failing_since", "rejected", "reason")}
        with store.engine.begin() as connection:
            connection.execute(sa.update(sources).where(sources.c.name == row["name"]).values(**kept))
            # Without their natives: the next harvest writes them whatever it finds.
            connection.execute(sa.update(entries).where(entries.c.source == row["name"]).values(digest=""))
    with store.engine.begin() as connection:
        tables.drop_former(connection)


@dataclass
class _Sorted:
    seen: list[Dataset] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    cut: bool = False


def _sort_out(
    run: Run,
    datasets: Sequence[Dataset],
    known: Mapping[str, sa.Row[Any]],
    refused: list[Rejected],
    room: int,
) -> _Sorted:
    """Tell new and changed records from unchanged, repeated and impossible ones."""
    result, here = _Sorted(), dict[str, str]()
    for dataset in datasets:
        text = dataset.model_dump_json(exclude_defaults=True)
        digest = blake2b(text.encode(), digest_size=16).hexdigest()
        row = known.get(dataset.id)
        if dataset.id in here or (row is not None and row.run == run.number and not row.removed):
            result.repeated += 1
            if dataset.id in here or (row is not None and row.digest != digest):
                refused.append(Rejected(dataset.id, "another record of this source has the same identifier"))
            continue
        if row is not None and row.source != run.source and not row.removed:
            refused.append(Rejected(dataset.id, f"a record of the source {row.source} has this identifier"))
            continue
        if len(result.seen) >= room:
            result.cut = True
            break
        here[dataset.id] = digest
        result.seen.append(dataset)
        if row is not None and row.digest == digest and not row.removed:
            result.unchanged.append(dataset.id)
        else:
            result.texts[dataset.id] = text
            result.written.append({"id": dataset.id, "digest": digest, **keys(dataset)})
    return result


def _keep(
    connection: sa.Connection,
    run: Run,
    sorted_out: _Sorted,
    known: Mapping[str, sa.Row[Any]],
    natives: Mapping[str, str],
    change: int,
) -> None:
    for start in range(0, len(sorted_out.unchanged), 500):
        some = sorted_out.unchanged[start : start + 500]
        connection.execute(sa.update(entries).where(entries.c.id.in_(some)).values(run=run.number))
    if not sorted_out.written:
        return
    common = {"source": run.source, "change": change, "run": run.number, "removed": False}
    new = [{**row, **common, "work": row["id"]} for row in sorted_out.written if row["id"] not in known]
    again = [row for row in sorted_out.written if row["id"] in known]
    if new:
        connection.execute(sa.insert(entries), new)
    if again:
        names = [name for name in again[0] if name != "id"]
        statement = sa.update(entries).where(entries.c.id == sa.bindparam("entry"))
        connection.execute(
            statement.values(**{name: sa.bindparam(f"to_{name}") for name in names}, **common),
            [{"entry": row["id"], **{f"to_{name}": row[name] for name in names}} for row in again],
        )
        _forget_bodies(connection, [row["id"] for row in again])
    connection.execute(
        sa.insert(bodies),
        [{"id": i, "body": text, "native": _packed(natives.get(i))} for i, text in sorted_out.texts.items()],
    )


def _packed(text: str | None) -> bytes | None:
    return None if text is None else zlib.compress(text.encode("utf-8", "replace"), 1)


def _known(connection: sa.Connection, ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
    found: dict[str, sa.Row[Any]] = {}
    columns = [entries.c[name] for name in ("id", "source", "digest", "run", "removed")]
    for start in range(0, len(ids), 500):
        query = sa.select(*columns).where(entries.c.id.in_(ids[start : start + 500]))
        found.update((row.id, row) for row in connection.execute(query))
    return found


def _gone(connection: sa.Connection, run: Run, ids: Sequence[str]) -> list[str]:
    known = _known(connection, list(dict.fromkeys(ids)))
    return [i for i, row in known.items() if row.source == run.source and not row.removed]


def _mark_removed(connection: sa.Connection, ids: Sequence[str], change: int) -> None:
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        values = {"removed": True, "change": change, "digest": ""}
        nothing = {"doi_key": None, "identifier_key": None, "name_key": None}
        connection.execute(sa.update(entries).where(entries.c.id.in_(some)).values(**values, **nothing))
    _forget_bodies(connection, ids)


def _forget_bodies(connection: sa.Connection, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), 500):
        connection.execute(sa.delete(bodies).where(bodies.c.id.in_(ids[start : start + 500])))


def _refuse(connection: sa.Connection, run: Run, refused: Sequence[Rejected]) -> None:
    kept = refused[: max(KEPT_REJECTED - run.rejected, 0)]
    if kept:
        named = {"source": run.source, "run": run.number}
        connection.execute(sa.insert(rejected), [{**named, **asdict(record)} for record in kept])


def _forget_rejected(connection: sa.Connection, run: Run) -> int:
    """Forget what harvests before could not read and this one has seen again; return how many there are now."""
    mine = sa.select(rejected.c.identifier).where(
        rejected.c.source == run.source, rejected.c.run == run.number
    )
    former = sa.delete(rejected).where(rejected.c.source == run.source, rejected.c.run < run.number)
    connection.execute(former if run.whole else former.where(rejected.c.identifier.in_(mine)))
    held = sa.select(sa.func.count()).where(rejected.c.source == run.source)
    return max(int(connection.scalar(held) or 0), run.rejected)


def _chain(before: str, seen: Sequence[Dataset]) -> str:
    listed = json.dumps(sorted([dataset.id, dataset.native_digest] for dataset in seen))
    return sha256((before + listed).encode()).hexdigest() if seen else before


def _with_room(connection: sa.Connection) -> None:
    """Let SQLite keep the pages that a transaction changes in memory, and its log grow, while many records are written.

    A page of records changes thousands of the database's pages, all over its indexes. By default SQLite keeps 2 MB of them,
    so that each is written out and read again several times within one transaction, and copied from the log after each.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA cache_size = -49152")
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 16384")


def _lock(connection: sa.Connection) -> int:
    """Number this transaction's changes. The row stays locked: writers follow each other, and so do their numbers."""
    connection.execute(sa.update(layout).values(change=layout.c.change + 1))
    return int(connection.scalar(sa.select(layout.c.change)) or 0)


def _still_open(connection: sa.Connection, run: Run) -> None:
    row = connection.execute(
        sa.select(sources.c.run, sources.c.open).where(sources.c.name == run.source)
    ).first()
    if row is None or row.run != run.number or row.open is None:
        raise Conflict(f"Another harvest of {run.source!r} has begun meanwhile; this one stops.")
