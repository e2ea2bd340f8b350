"""What was harvested, in tables beside the ledger. They can be rebuilt by harvesting again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.core import clock

_KEPT_REJECTED = 200
_metadata = sa.MetaData()
_datasets = sa.Table(
    "catalog_datasets",
    _metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("source", sa.String(120), nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)
_sources = sa.Table(
    "catalog_sources",
    _metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("agency", sa.Text, nullable=False),
    sa.Column("label", sa.String(40), nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("succeeded", sa.String(27), nullable=False, default=""),
    sa.Column("failing_since", sa.String(27), nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("records", sa.Integer, nullable=False, default=0),
    sa.Column("rejected", sa.Integer, nullable=False, default=0),
)
_rejected = sa.Table(
    "catalog_rejected",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(120), nullable=False, index=True),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
_version = sa.Table(
    "catalog_version",
    _metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class SourceRow:
    """What is known of the last harvests of one source; times are empty where there was none."""

    name: str
    title: str
    agency: str
    label: str
    groups: tuple[str, ...] = ()
    succeeded: str = ""
    failing_since: str = ""
    reason: str = ""
    records: int = 0
    rejected: int = 0


class CatalogStore:
    """Tables in the ledger's database. Safe for threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(reading=True)
        self._prepare()

    def version(self) -> int:
        """Return a number that grows with each change of the records."""
        with self._reading.connect() as connection:
            return int(connection.scalar(sa.select(_version.c.value)) or 0)

    def all(self) -> Iterator[Dataset]:
        """Iterate over all records."""
        with self._reading.connect() as connection:
            for body in connection.scalars(sa.select(_datasets.c.body)).yield_per(1000):
                yield Dataset.model_validate_json(body)

    def get(self, ids: Sequence[str]) -> dict[str, Dataset]:
        """Return those of `ids` that are there, by id."""
        if not ids:
            return {}
        query = sa.select(_datasets.c.body).where(_datasets.c.id.in_(list(ids)))
        with self._reading.connect() as connection:
            found = [Dataset.model_validate_json(body) for body in connection.scalars(query)]
        return {dataset.id: dataset for dataset in found}

    def sources(self) -> list[SourceRow]:
        """Return every source that was ever harvested or tried, by name."""
        with self._reading.connect() as connection:
            rows = connection.execute(sa.select(_sources).order_by(_sources.c.name)).mappings().all()
        return [SourceRow(**{**row, "groups": tuple(row["groups"])}) for row in rows]

    def rejected(self, source: str) -> list[Rejected]:
        """Return the records of the last harvest that could not be listed (the first 200)."""
        query = sa.select(_rejected).where(_rejected.c.source == source).order_by(_rejected.c.number)
        with self._reading.connect() as connection:
            return [Rejected(row.identifier, row.reason) for row in connection.execute(query)]

    def keep(
        self,
        source: SourceRow,
        datasets: Collection[Dataset],
        rejected: Sequence[Rejected],
        *,
        complete: bool,
        failure: str = "",
    ) -> int:
        """Keep what one harvest brought, in one transaction.

        Parameters
        ----------
        source : SourceRow
            Name, title, agency, label and groups; the rest is worked out here.
        complete : bool
            Whether these are all records of the source: then those that are not among them are removed.
        failure : str
            Why the harvest failed; empty where it did not.

        Returns
        -------
        int
            How many records were removed.
        """
        now = clock.now()
        with self._engine.begin() as connection:
            # First, since it locks the row: of two harvests at once, one waits for the other.
            connection.execute(sa.update(_version).values(value=_version.c.value + 1))
            held = set(connection.scalars(sa.select(_datasets.c.id).where(_datasets.c.source == source.name)))
            new = {dataset.id: dataset for dataset in datasets}
            gone = held - new.keys() if complete else set()
            _delete(connection, gone | (held & new.keys()))
            if new:
                rows = [
                    {"id": d.id, "source": source.name, "body": d.model_dump_json()} for d in new.values()
                ]
                connection.execute(sa.insert(_datasets), rows)
            before = connection.execute(sa.select(_sources).where(_sources.c.name == source.name)).first()
            connection.execute(sa.delete(_sources).where(_sources.c.name == source.name))
            failing_since = (before.failing_since if before else "") or now
            connection.execute(
                sa.insert(_sources).values(
                    name=source.name,
                    title=source.title,
                    agency=source.agency,
                    label=source.label,
                    groups=list(source.groups),
                    succeeded=(before.succeeded if before else "") if failure else now,
                    failing_since=failing_since if failure else "",
                    reason=failure,
                    records=len((held | new.keys()) - gone),
                    rejected=len(rejected) if not failure or rejected else (before.rejected if before else 0),
                )
            )
            if not failure or rejected:
                connection.execute(sa.delete(_rejected).where(_rejected.c.source == source.name))
            if rejected:
                values = [
                    {"source": source.name, "identifier": r.identifier, "reason": r.reason}
                    for r in rejected[:_KEPT_REJECTED]
                ]
                connection.execute(sa.insert(_rejected), values)
        return len(gone)

    def _prepare(self) -> None:
        # Two processes may start at once: the second finds the tables made, or fails to make them and finds them then.
        for attempt in (1, 2):
            try:
                with self._engine.begin() as connection:
                    _metadata.create_all(connection, checkfirst=True)
                    if connection.scalar(sa.select(_version.c.value)) is None:
                        connection.execute(sa.insert(_version).values(one=1, value=1))
                return
            except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError):
                if attempt == 2:
                    raise


def _delete(connection: sa.Connection, ids: Collection[str]) -> None:
    known = list(ids)
    for start in range(0, len(known), 500):
        connection.execute(sa.delete(_datasets).where(_datasets.c.id.in_(known[start : start + 500])))
