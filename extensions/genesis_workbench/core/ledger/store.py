"""Append and read events, in SQLite or PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from genesis_workbench.core import clock
from genesis_workbench.core.errors import Conflict, InvalidInput, MissingDependency, Unavailable
from genesis_workbench.core.identifiers import canonical_json, new_id
from genesis_workbench.core.leases import Lease, first_lost
from genesis_workbench.core.ledger import schema
from genesis_workbench.core.ledger.event import GENESIS, Event, NewEvent, hash_of
from genesis_workbench.core.ledger.verification import Verification, verify

_APPEND_LOCK = 4722601
_EVENTS = schema.events.c
_COLUMNS = [column.name for column in schema.events.columns]
_ROWS = (
    sa.func.json_to_recordset(sa.bindparam("rows", type_=sa.JSON))
    .table_valued(*(sa.column(column.name, column.type) for column in schema.events.columns))
    .render_derived(name="new", with_types=True)
)
"""Many rows as one JSON value, which PostgreSQL takes twice as fast as one statement a row."""
# Statements are made once: to make one takes longer than to execute it.
_INSERT = {
    "sqlite": sa.insert(schema.events),
    "postgresql": sa.insert(schema.events).from_select(_COLUMNS, sa.select(_ROWS)),
}
_LAST = sa.select(_EVENTS.seq, _EVENTS.hash).order_by(_EVENTS.seq.desc()).limit(1)


def _newest(streams: Any) -> sa.Select[Any]:
    """Return the statement that gives the version of each of these streams."""
    name = sa.type_coerce(streams.c.value, sa.Text)
    # One look at the end of the index for each stream: a maximum in groups would read all of a stream's events.
    newest = sa.select(sa.func.max(_EVENTS.version)).where(_EVENTS.stream == name).correlate(streams)
    return sa.select(name, newest.scalar_subquery())


_VERSIONS = {
    "sqlite": _newest(
        sa.func.json_each(sa.bindparam("streams", type_=sa.JSON)).table_valued("value", name="named")
    ),
    "postgresql": _newest(
        sa.func.unnest(sa.bindparam("streams", type_=ARRAY(sa.Text)))
        .table_valued("value")
        .render_derived(name="named")
    ),
}


@cache
def _events(of: frozenset[str]) -> sa.Select[Any]:
    """Return the statement that reads events after one, of those that the parameters named here select."""
    query = sa.select(schema.events).where(_EVENTS.seq > sa.bindparam("after")).order_by(_EVENTS.seq)
    if "stream" in of:
        query = query.where(_EVENTS.stream == sa.bindparam("stream"))
    if "kinds" in of:
        query = query.where(_EVENTS.kind.in_(sa.bindparam("kinds", expanding=True)))
    if "prefix" in of:
        query = query.where(_EVENTS.stream.like(sa.bindparam("prefix"), escape="/"))
    return query.limit(sa.bindparam("most", type_=sa.Integer))


class Ledger:
    """The ledger in one database. Safe for threads, and for any number of processes on one database.

    Attributes
    ----------
    engine, reader : sqlalchemy.Engine
        Its database; and the same for transactions that only read, which in SQLite wait for nobody who writes.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine, self.reader = engine, engine.execution_options(reading=True)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open the ledger at an SQLAlchemy URL, and make or upgrade its tables.

        Parameters
        ----------
        url : str
            ``sqlite:////path/to/file`` or ``postgresql+psycopg://host/database``.

        Raises
        ------
        InvalidInput
            If it is no URL of these two.
        Unavailable
            If the database cannot be reached.
        """
        engine = _engine(url)
        try:
            schema.migrate(engine)
        except (sa.exc.OperationalError, OSError) as error:
            shown = engine.url.render_as_string(hide_password=True)
            raise Unavailable(
                f"The ledger's database {shown} cannot be opened. Is the server up, and may this account write there?",
                detail=str(getattr(error, "orig", error)),
            ) from None
        return cls(engine)

    def append(
        self,
        stream: str,
        kind: str,
        body: dict[str, Any],
        *,
        actor: str,
        expect: int | None = None,
        lease: Lease | None = None,
    ) -> Event:
        """Append one event. See :meth:`append_many`."""
        return self.append_many([NewEvent(stream, kind, body, actor, expect)], lease=lease)[0]

    def append_many(
        self, new: Sequence[NewEvent], *, lease: Lease | Sequence[Lease] | None = None
    ) -> list[Event]:
        """Append events in one transaction: all of them or none.

        Parameters
        ----------
        lease : Lease or sequence of Lease, optional
            Every one of them must still be held.

        Raises
        ------
        Conflict
            If a stream does not have the version that its event expects, or `lease` is no longer held.
        InvalidInput
            If a body is not JSON (NaN and infinities are not).
        """
        bodies = [_body(event) for event in new]
        if not new:
            return []
        with self.writing() as connection:
            lost = first_lost(connection, [lease] if isinstance(lease, Lease) else lease or [])
            if lost is not None:
                raise Conflict(
                    f"{lost.holder} no longer holds the lease on {lost.name}: another process has taken it over."
                )
            versions = self._versions(connection, {event.stream for event in new})
            last = connection.execute(_LAST).first()
            seq, previous = (last.seq, last.hash) if last else (0, GENESIS)
            appended: list[Event] = []
            rows: list[dict[str, Any]] = []
            time = clock.now()
            for event, (body, text) in zip(new, bodies, strict=True):
                version = versions[event.stream]
                if event.expect is not None and event.expect != version:
                    raise Conflict(
                        f"{event.stream} has version {version}, not {event.expect}: something was added meanwhile. "
                        "Read it again and decide anew."
                    )
                seq += 1
                versions[event.stream] = version = version + 1
                fields = (seq, new_id("evt"), time, event.stream, version, event.kind, event.actor)
                hashed = hash_of(*fields, text, previous)
                appended.append(Event(*fields, body, previous, hashed))
                rows.append(dict(zip(_COLUMNS, (*fields, text, previous, hashed), strict=True)))
                previous = hashed
            postgresql = connection.dialect.name == "postgresql"
            connection.execute(_INSERT[connection.dialect.name], {"rows": rows} if postgresql else rows)
        return appended

    def read(
        self,
        *,
        stream: str | None = None,
        prefix: str | None = None,
        kinds: Collection[str] | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Event]:
        """Read events in order.

        Parameters
        ----------
        stream : str, optional
            Only this stream.
        prefix : str, optional
            Only streams whose names begin so, such as ``experiment/``.
        kinds : collection of str, optional
            Only these kinds.
        after : int
            Only events with a greater `seq`.
        limit : int
            At most so many.
        """
        of: dict[str, Any] = {}
        if stream is not None:
            of["stream"] = stream
        if prefix is not None:
            of["prefix"] = re.sub("([/%_])", r"/\1", prefix) + "%"
        if kinds is not None:
            of["kinds"] = list(kinds)
        with self.reader.connect() as connection:
            rows = connection.execute(_events(frozenset(of)), {**of, "after": after, "most": limit})
            return [_event(row) for row in rows]

    def all(self, *, stream: str, batch: int = 5000) -> Iterator[Event]:
        """Iterate over all events of one stream."""
        after = 0
        while events := self.read(stream=stream, after=after, limit=batch):
            yield from events
            after = events[-1].seq

    def version(self, stream: str) -> int:
        """Return how many events a stream has."""
        with self.reader.connect() as connection:
            return self._versions(connection, {stream})[stream]

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last event; ``(0, GENESIS)`` where there is none."""
        with self.reader.connect() as connection:
            row = connection.execute(_LAST).first()
        return (row.seq, row.hash) if row else (0, GENESIS)

    def has(self, digest: str) -> bool:
        """Whether there is an event with this hash."""
        query = sa.select(_EVENTS.seq).where(_EVENTS.hash == digest).limit(1)
        with self.reader.connect() as connection:
            return connection.execute(query).first() is not None

    def verify(self, *, batch: int = 2000) -> Verification:
        """Check every hash and that no event is missing between the first and the last."""
        return verify(self._batches(batch))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that alone writes the ledger until it ends."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
            yield connection

    @staticmethod
    def _versions(connection: sa.Connection, streams: Collection[str]) -> dict[str, int]:
        if not streams:
            return {}
        found = connection.execute(_VERSIONS[connection.dialect.name], {"streams": list(streams)})
        return {row[0]: row[1] or 0 for row in found}

    def _batches(self, batch: int) -> Iterator[Sequence[Sequence[Any]]]:
        query = sa.select(schema.events).order_by(_EVENTS.seq).limit(batch)
        after = 0
        while True:
            with self.reader.connect() as connection:
                rows = connection.execute(query.where(_EVENTS.seq > after)).all()
            if not rows:
                return
            yield rows
            after = rows[-1].seq


def _body(event: NewEvent) -> tuple[dict[str, Any], str]:
    """Return an event's body as JSON values, and their canonical text."""
    text = canonical_json(event.body).decode()
    body = json.loads(text)
    # Keys that were numbers are text now, which sorts otherwise.
    return body, text if body == event.body else canonical_json(body).decode()


def _event(row: Any) -> Event:
    fields = dict(row._mapping)
    fields["body"] = json.loads(fields["body"])
    return Event(**fields)


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.engine.make_url(url)
    except sa.exc.ArgumentError:
        # The text is not repeated: it may hold a password.
        raise InvalidInput(
            "The ledger's url is no database URL. Write it like 'sqlite:////path/file'."
        ) from None
    if parsed.get_backend_name() == "postgresql":
        try:
            return sa.create_engine(parsed, pool_pre_ping=True)
        except ImportError as error:
            raise MissingDependency(
                f"PostgreSQL needs the package {error.name!r}, which is not installed. "
                'Install it with: pip install "genesis-workbench[postgresql]"'
            ) from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise InvalidInput(
            f"The ledger cannot be kept in {parsed.get_backend_name()!r}: use a SQLite file or PostgreSQL."
        )
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN is off, so that _begin_immediate decides.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when another process wrote in between.
    if connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
