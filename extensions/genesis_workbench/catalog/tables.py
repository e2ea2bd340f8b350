"""The catalog's tables beside the ledger. They can be rebuilt by harvesting again; the search index is made from them.

A layout has a number. A database of an older layout is brought over when it is opened: its records stay searchable, and
the next harvest of each source fills in what the older layout did not keep.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa

LAYOUT = 2
_metadata = sa.MetaData()

entries = sa.Table(
    "catalog_entries",
    _metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("source", sa.String(120), nullable=False),
    # Of what `bodies` holds; empty where the record must be written anew whatever comes.
    sa.Column("digest", sa.String(32), nullable=False),
    # Grows with each change of any record: what changed since a number is what has a greater one.
    sa.Column("change", sa.BigInteger, nullable=False),
    # The harvest that saw it last.
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("removed", sa.Boolean, nullable=False),
    # The first id of those records that are the same dataset, and by what they are recognised.
    sa.Column("work", sa.String(120), nullable=False),
    sa.Column("rule", sa.BigInteger, nullable=False),
    sa.Column("doi_key", sa.BigInteger),
    sa.Column("identifier_key", sa.BigInteger),
    sa.Column("name_key", sa.BigInteger),
    sa.Index("catalog_entries_change", "change", "id"),
    sa.Index("catalog_entries_source", "source", "run"),
    sa.Index("catalog_entries_work", "work"),
    sa.Index("catalog_entries_doi", "doi_key"),
    sa.Index("catalog_entries_identifier", "identifier_key"),
    sa.Index("catalog_entries_name", "name_key"),
)
bodies = sa.Table(
    "catalog_bodies",
    _metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    # The record as the source gave it, compressed by zlib.
    sa.Column("native", sa.LargeBinary),
)
sources = sa.Table(
    "catalog_harvests",
    _metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("agency", sa.Text, nullable=False),
    sa.Column("label", sa.String(40), nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("tried", sa.String(27), nullable=False, default=""),
    sa.Column("succeeded", sa.String(27), nullable=False, default=""),
    sa.Column("failing_since", sa.String(27), nullable=False, default=""),
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    sa.Column("resting_until", sa.String(27), nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("records", sa.Integer, nullable=False, default=0),
    sa.Column("rejected", sa.Integer, nullable=False, default=0),
    sa.Column("full_at", sa.String(27), nullable=False, default=""),
    sa.Column("digest", sa.String(64), nullable=False, default=""),
    # What the source wants back at the next harvest, and of which section it was.
    sa.Column("state", sa.JSON, nullable=False, default=dict),
    sa.Column("fingerprint", sa.String(64), nullable=False, default=""),
    # The harvest that is open, or was last; `open` is its progress as JSON, null where it has come to its end.
    sa.Column("run", sa.BigInteger, nullable=False, default=0),
    sa.Column("open", sa.JSON(none_as_null=True)),
)
rejected = sa.Table(
    "catalog_refused",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(120), nullable=False, index=True),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("native", sa.Text, nullable=False, default=""),
)
layout = sa.Table(
    "catalog_layout",
    _metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, nullable=False),
    # Tells an index of this catalog from one of another.
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),
)

_OLD = sa.MetaData()
old_datasets = sa.Table(
    "catalog_datasets", _OLD, sa.Column("id"), sa.Column("source"), sa.Column("body", sa.Text)
)
old_sources = sa.Table(
    "catalog_sources",
    _OLD,
    *(
        sa.Column(name)
        for name in (
            "name",
            "title",
            "agency",
            "label",
            "succeeded",
            "failing_since",
            "reason",
            "records",
            "rejected",
        )
    ),
    sa.Column("groups", sa.JSON),
)
_FORMER = ("catalog_datasets", "catalog_sources", "catalog_rejected", "catalog_version")


def prepare(engine: sa.Engine) -> bool:
    """Make the tables where they are missing; return whether there are tables of the first layout to bring over."""
    # Two processes may start at once: the second finds the tables made, or fails to make them and finds them then.
    for attempt in (1, 2, 3):
        try:
            with engine.begin() as connection:
                _metadata.create_all(connection, checkfirst=True)
                if connection.scalar(sa.select(layout.c.number)) is None:
                    first = {"one": 1, "number": LAYOUT, "name": secrets.token_hex(8), "change": 1}
                    connection.execute(sa.insert(layout).values(first))
                return sa.inspect(connection).has_table("catalog_datasets")
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError):
            if attempt == 3:
                raise
    raise AssertionError("not reached")


def drop_former(connection: sa.Connection) -> None:
    """Remove the tables of the first layout."""
    for name in _FORMER:
        sa.Table(name, sa.MetaData()).drop(connection, checkfirst=True)
