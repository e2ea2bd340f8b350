"""Which records of several sources are the same dataset.

Records of different sources are the same where they have the same DOI; the same identifier and title; or the same title,
publisher and year. What two records of one source have in common tells nothing: they are two. Only records under the
same access rule are put together: whoever sees one of them may see all, so that counts tell nothing to others.

The first id of such records, in alphabetical order, names them all: `work`.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

import sqlalchemy as sa

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.tables import entries

_T = TypeVar("_T")
_WORD = re.compile(r"[^\W_]+")
_KEYS = ("doi_key", "identifier_key", "name_key")
_LEAST_IDENTIFIER = 8
MOST = 50
"""A key that more records than this have names no dataset: it is left alone."""


def keys(dataset: Dataset) -> dict[str, int | None]:
    """Return the columns of `entries` by which a record is recognised.

    Parameters
    ----------
    dataset : Dataset
        The record.

    Returns
    -------
    dict
        ``rule``, ``doi_key``, ``identifier_key``, ``name_key``: hashes of 63 bits; None where it has none such.
    """
    title = " ".join(_WORD.findall(dataset.title.lower()))
    local = dataset.id.removeprefix(dataset.source + ".")
    publisher = " ".join(_WORD.findall(dataset.agency.lower()))
    year = dataset.year
    return {
        "rule": _hash(dataset.label, *sorted(dataset.groups), "", dataset.owner)
        if dataset.label != "public"
        else 0,
        "doi_key": _hash(dataset.doi.lower()) if dataset.doi else None,
        "identifier_key": _hash(local, title) if len(local) >= _LEAST_IDENTIFIER and title else None,
        "name_key": _hash(title, publisher, str(year)) if title and publisher and year else None,
    }


def regroup(connection: sa.Connection, touched: Sequence[str], change: int) -> None:
    """Work out again which records belong with those that were written or removed.

    Parameters
    ----------
    connection : Connection
        A transaction that alone writes the catalog.
    touched : sequence of str
        Ids that are new, changed or removed.
    change : int
        Number given to every record whose hit changes.
    """
    known = {entry.id: entry for entry in _read(connection, entries.c.id.in_, touched)}
    works = {entry.work for entry in known.values()}
    groups = _shared(connection, known.values())
    mates = {e.id: e for e in _read(connection, entries.c.work.in_, _several(connection, works))}
    for column, values in groups.items():
        mates |= {e.id: e for e in _read(connection, entries.c[column].in_, values)}
    involved = mates.keys() | {i for i, entry in known.items() if entry.removed or entry.work != i}
    if not involved:
        return
    # What belongs with those found, too: one more round is enough for all but long chains, which later changes join.
    further = _several(connection, {entry.work for entry in mates.values()} - works)
    mates |= {e.id: e for e in _read(connection, entries.c.work.in_, further)}
    known = {i: entry for i, entry in known.items() if i in involved} | mates
    _assign(connection, list(known.values()), set(touched), change)


@dataclass(frozen=True)
class _Entry:
    id: str
    source: str
    removed: bool
    work: str
    rule: int
    doi_key: int | None
    identifier_key: int | None
    name_key: int | None

    def marks(self) -> Iterator[tuple[object, ...]]:
        """Yield what it must share with another record to be the same as it."""
        if not self.removed:
            for name in _KEYS:
                value = getattr(self, name)
                if value is not None:
                    yield name, self.rule, value


_COLUMNS = [entries.c[name] for name in _Entry.__dataclass_fields__]


def _assign(connection: sa.Connection, known: list[_Entry], touched: set[str], change: int) -> None:
    parts = _components(known)
    moved = [
        {"entry": entry.id, "to": work}
        for work, members in parts.items()
        for entry in members
        if entry.work != work
    ]
    if moved:
        connection.execute(
            sa.update(entries)
            .where(entries.c.id == sa.bindparam("entry"))
            .values(work=sa.bindparam("to"), change=change),
            moved,
        )
    # The hit of a group changes with any of its members; the hit that lost one changes too.
    again = {row["to"] for row in moved} | {entry.work for entry in known if entry.id in touched}
    again |= {entry.work for entry in known if entry.id in {row["entry"] for row in moved}}
    again |= {work for work, members in parts.items() if any(entry.id in touched for entry in members)}
    for some in _chunks(again):
        connection.execute(sa.update(entries).where(entries.c.id.in_(some)).values(change=change))


def _components(known: Iterable[_Entry]) -> dict[str, list[_Entry]]:
    """Return the records that belong together, by the first id of each."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    by_mark: dict[tuple[object, ...], list[_Entry]] = defaultdict(list)
    listed = sorted(known, key=lambda entry: entry.id)
    for entry in listed:
        for mark in entry.marks():
            by_mark[mark].append(entry)
    for sharing in by_mark.values():
        if len({entry.source for entry in sharing}) < len(sharing):
            continue  # where two records of one source have it, it does not tell which is meant
        for one, other in itertools.pairwise(sharing):
            first, second = sorted((root(one.id), root(other.id)))
            parent[second] = first
    parts: dict[str, list[_Entry]] = defaultdict(list)
    for entry in listed:
        parts[root(entry.id)].append(entry)
    return parts


def _shared(connection: sa.Connection, known: Iterable[_Entry]) -> dict[str, list[int]]:
    """Return, by column, the values that a few records have, and not one alone."""
    found: dict[str, list[int]] = {}
    listed = list(known)
    for name in _KEYS:
        column = entries.c[name]
        values = {v for entry in listed if not entry.removed and (v := getattr(entry, name)) is not None}
        found[name] = []
        for some in _chunks(values):
            query = (
                sa.select(column)
                .where(column.in_(some), ~entries.c.removed)
                .group_by(column)
                .having(sa.func.count().between(2, MOST))
            )
            found[name].extend(connection.scalars(query))
    return found


def _several(connection: sa.Connection, works: Collection[str]) -> list[str]:
    """Return those of `works` that more than one record belongs to."""
    found: list[str] = []
    for some in _chunks(works):
        query = sa.select(entries.c.work).where(entries.c.work.in_(some)).group_by(entries.c.work)
        found.extend(connection.scalars(query.having(sa.func.count() > 1)))
    return found


def _read(connection: sa.Connection, among: object, values: Collection[object]) -> Iterator[_Entry]:
    for some in _chunks(values):
        for row in connection.execute(sa.select(*_COLUMNS).where(among(some))):  # type: ignore[operator]
            yield _Entry(*row)


def _chunks(values: Collection[_T]) -> Iterator[list[_T]]:
    listed = list(values)
    for start in range(0, len(listed), 500):
        yield listed[start : start + 500]


def _hash(*parts: str) -> int:
    digest = blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
