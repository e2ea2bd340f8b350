"""The tables, and the migrations that bring a database to them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

metadata = sa.MetaData()

events = sa.Table(
    "ledger_events",
    metadata,
    sa.Column(
        "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("time", sa.String(27), nullable=False),
    sa.Column("stream", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(80), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    # Text, not a JSON type: the bytes that were hashed are the bytes that are kept.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.String(71), nullable=False),
    sa.Column("hash", sa.String(71), nullable=False),
    sa.UniqueConstraint("stream", "version", name="ledger_events_stream_version"),
    sa.Index("ledger_events_kind", "kind", "seq"),
)


def migrate(engine: sa.Engine) -> None:
    """Bring the database to the newest revision; safe when several processes start at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with _one_at_a_time(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _one_at_a_time(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold a lock over the migration: on the server, or in a file beside the SQLite file."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(4722600)"))
            yield connection
        return
    database = engine.url.database
    if not database or database == ":memory:":
        with engine.begin() as connection:
            yield connection
        return
    with Path(database + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.begin() as connection:
            yield connection
