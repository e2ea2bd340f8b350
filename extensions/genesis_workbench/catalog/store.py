"""What was harvested, in tables beside the ledger: read by id, by source, and as what changed since a number."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from genesis_workbench.catalog import tables
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.tables import bodies, entries, layout, rejected, sources


@dataclass(frozen=True)
class SourceRow:
    """What is known of the last harvests of one source; times are empty where there was none.

    Attributes
    ----------
    failures : int
        How many harvests failed in a row.
    resting_until : str
        Until when it is left alone after failures.
    harvesting : bool
        Whether a harvest has begun and not come to its end.
    """

    name: str
    title: str
    agency: str
    label: str
    groups: tuple[str, ...] = ()
    tried: str = ""
    succeeded: str = ""
    failing_since: str = ""
    failures: int = 0
    resting_until: str = ""
    reason: str = ""
    records: int = 0
    rejected: int = 0
    harvesting: bool = False


@dataclass(frozen=True)
class Change:
    """A record that was written or removed: by its number and id in order, with the work it belongs to."""

    number: int
    id: str
    work: str


@dataclass(frozen=True)
class Native:
    """A record as its source gave it, and the hash that its dataset names."""

    text: str
    digest: str


class CatalogStore:
    """Tables in the ledger's database. Safe for threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(reading=True)
        if tables.prepare(engine):
            from genesis_workbench.catalog.writing import bring_over

            bring_over(self)
        with self._reading.connect() as connection:
            self.name = str(connection.scalar(sa.select(layout.c.name)))

    def version(self) -> int:
        """Return a number that grows with each change of the records."""
        with self._reading.connect() as connection:
            return int(connection.scalar(sa.select(layout.c.change)) or 0)

    def count(self) -> int:
        """Return how many records there are."""
        query = sa.select(sa.func.count()).select_from(entries).where(~entries.c.removed)
        with self._reading.connect() as connection:
            return int(connection.scalar(query) or 0)

    def changes(self, after: tuple[int, str], limit: int) -> list[Change]:
        """Return up to `limit` changes after a number and id, in order."""
        place = sa.tuple_(entries.c.change, entries.c.id)
        query = sa.select(entries.c.change, entries.c.id, entries.c.work)
        query = query.where(place > after).order_by(entries.c.change, entries.c.id).limit(limit)
        with self._reading.connect() as connection:
            return [Change(*row) for row in connection.execute(query)]

    def all(self) -> Iterator[Dataset]:
        """Iterate over all records."""
        query = sa.select(bodies.c.body).join(entries, entries.c.id == bodies.c.id).where(~entries.c.removed)
        with self._reading.connect() as connection:
            for body in connection.execution_options(yield_per=500).scalars(query):
                yield Dataset.model_validate_json(body)

    def get(self, ids: Sequence[str]) -> dict[str, Dataset]:
        """Return those of `ids` that are there, by id."""
        return {dataset.id: dataset for dataset in self._read(entries.c.id, ids)}

    def members(self, works: Sequence[str]) -> dict[str, list[Dataset]]:
        """Return the records of each of `works` that are there, by work."""
        found: dict[str, list[Dataset]] = {}
        for work, body in self._bodies(entries.c.work, works):
            found.setdefault(work, []).append(Dataset.model_validate_json(body))
        return found

    def places(self, ids: Sequence[str]) -> dict[str, list[Dataset]]:
        """Return all records that are the same dataset as one of `ids`, by that id; those that stand alone are left out."""
        query = sa.select(entries.c.id, entries.c.work).where(entries.c.id.in_(list(ids)))
        with self._reading.connect() as connection:
            works = {row.id: row.work for row in connection.execute(query).all()} if ids else {}
            several = sa.select(entries.c.work).where(entries.c.work.in_(list(works.values())))
            several = several.where(~entries.c.removed).group_by(entries.c.work)
            shared = set(connection.scalars(several.having(sa.func.count() > 1))) if works else set()
        members = self.members(sorted(shared))
        return {i: members[work] for i, work in works.items() if len(members.get(work, ())) > 1}

    def native(self, dataset_id: str) -> Native | None:
        """Return a record as its source gave it; None where there is none, or the source does not say."""
        query = sa.select(bodies.c.native, bodies.c.body).where(bodies.c.id == dataset_id)
        with self._reading.connect() as connection:
            row = connection.execute(query).first()
        if row is None or row.native is None:
            return None
        return Native(
            zlib.decompress(row.native).decode(), Dataset.model_validate_json(row.body).native_digest
        )

    def sources(self) -> list[SourceRow]:
        """Return every source that was ever harvested or tried, by name."""
        names = [name for name in SourceRow.__dataclass_fields__ if name != "harvesting"]
        query = sa.select(
            *(sources.c[name] for name in names), sources.c.open.is_not(None).label("harvesting")
        )
        with self._reading.connect() as connection:
            rows = connection.execute(query.order_by(sources.c.name)).mappings().all()
        return [SourceRow(**{**row, "groups": tuple(row["groups"])}) for row in rows]

    def source(self, name: str) -> SourceRow | None:
        """Return one source that was ever harvested or tried."""
        return next((row for row in self.sources() if row.name == name), None)

    def state(self, name: str) -> dict[str, str]:
        """Return what the last harvest of a source left for the next."""
        with self._reading.connect() as connection:
            return dict(connection.scalar(sa.select(sources.c.state).where(sources.c.name == name)) or {})

    def full_at(self, name: str) -> str:
        """Return when a source last gave all its records; empty where it never did."""
        with self._reading.connect() as connection:
            return str(connection.scalar(sa.select(sources.c.full_at).where(sources.c.name == name)) or "")

    def reasons(self, source: str) -> dict[str, int]:
        """Return the five most frequent reasons why records of a source could not be listed, with counts."""
        count = sa.func.count().label("count")
        query = sa.select(rejected.c.reason, count).where(rejected.c.source == source)
        query = query.group_by(rejected.c.reason).order_by(count.desc(), rejected.c.reason).limit(5)
        with self._reading.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def rejected(self, source: str, *, after: int = 0, limit: int = 200) -> list[tuple[int, Rejected]]:
        """Return records of the last harvest that could not be listed, each with its number."""
        query = sa.select(rejected).where(rejected.c.source == source, rejected.c.number > after)
        with self._reading.connect() as connection:
            rows = connection.execute(query.order_by(rejected.c.number).limit(limit))
            return [(row.number, Rejected(row.identifier, row.reason, row.native)) for row in rows]

    def _read(self, column: sa.ColumnElement[str], values: Collection[str]) -> Iterator[Dataset]:
        for _, body in self._bodies(column, values):
            yield Dataset.model_validate_json(body)

    def _bodies(self, column: sa.ColumnElement[str], values: Collection[str]) -> Iterator[tuple[str, str]]:
        listed = list(values)
        with self._reading.connect() as connection:
            for start in range(0, len(listed), 500):
                query = sa.select(column, bodies.c.body).join(bodies, bodies.c.id == entries.c.id)
                query = query.where(column.in_(listed[start : start + 500]), ~entries.c.removed)
                rows = connection.execute(query.order_by(entries.c.id)).all()
                yield from ((str(row[0]), str(row[1])) for row in rows)
