"""Leases: who may advance a thing now, with a token that shuts out whoever was there before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

# Made by the ledger's migrations: an append checks its lease in the ledger's own transaction.
_table = sa.Table(
    "leases",
    sa.MetaData(),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
_TOKENS = (
    sa.select(_table.c.name, _table.c.token)
    .where(_table.c.name.in_(sa.bindparam("names", expanding=True)))
    .order_by(_table.c.name)
    .with_for_update()
)


@dataclass(frozen=True)
class Lease:
    """A right to act on `name`, until it runs out or is taken over. `token` grows at each change of holder."""

    name: str
    holder: str
    token: int


class Leases:
    """Leases in the ledger's database. The clock is the database host's as the processes see it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._reader = engine, engine.execution_options(reading=True)

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Take the lease on `name` for `ttl_s` seconds; None while somebody else holds it."""
        now = time.time()
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(_table).where(_table.c.name == name).with_for_update()).first()
            if row is None:
                try:
                    with connection.begin_nested():
                        connection.execute(
                            sa.insert(_table).values(name=name, holder=holder, token=1, expires=now + ttl_s)
                        )
                except sa.exc.IntegrityError:
                    return None  # another process was first
                return Lease(name, holder, 1)
            if row.expires > now and row.holder != holder:
                return None
            token = row.token if row.holder == holder and row.expires > now else row.token + 1
            connection.execute(
                sa.update(_table)
                .where(_table.c.name == name)
                .values(holder=holder, token=token, expires=now + ttl_s)
            )
            return Lease(name, holder, token)

    def acquire_all(self, names: Sequence[str], holder: str, ttl_s: float) -> dict[str, Lease]:
        """Take the leases on many names in one transaction; those that somebody else holds are left out."""
        if not names:
            return {}
        now = time.time()
        query = sa.select(_table).where(_table.c.name.in_(names)).order_by(_table.c.name).with_for_update()
        with self._engine.begin() as connection:
            rows = {row.name: row for row in connection.execute(query)}
            found: dict[str, Lease] = {}
            for name, row in rows.items():
                mine = row.holder == holder and row.expires > now
                if mine or row.expires <= now:
                    found[name] = Lease(name, holder, row.token if mine else row.token + 1)
            if found:
                connection.execute(
                    sa.update(_table)
                    .where(_table.c.name == sa.bindparam("of"))
                    .values(holder=holder, token=sa.bindparam("next"), expires=now + ttl_s),
                    [{"of": lease.name, "next": lease.token} for lease in found.values()],
                )
        # New names one by one: another process may insert the same at this moment.
        for name in names:
            if name not in rows and (lease := self.acquire(name, holder, ttl_s)):
                found[name] = lease
        return found

    def renew(self, lease: Lease, ttl_s: float) -> bool:
        """Hold on for `ttl_s` seconds more; False where it was taken over meanwhile."""
        with self._engine.begin() as connection:
            done = connection.execute(
                sa.update(_table)
                .where(
                    _table.c.name == lease.name,
                    _table.c.token == lease.token,
                    _table.c.holder == lease.holder,
                )
                .values(expires=time.time() + ttl_s)
            )
            return done.rowcount == 1

    def holder(self, name: str) -> str | None:
        """Return who holds the lease on `name` now."""
        with self._reader.connect() as connection:
            row = connection.execute(sa.select(_table).where(_table.c.name == name)).first()
        return row.holder if row is not None and row.expires > time.time() else None

    def holders(self) -> list[str]:
        """Return everybody who holds a lease now."""
        query = sa.select(_table.c.holder).where(_table.c.expires > time.time()).distinct()
        with self._reader.connect() as connection:
            return list(connection.execute(query).scalars())

    def let_go(self, holder: str) -> None:
        """End all leases of a holder that is known to be dead."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(_table).where(_table.c.holder == holder).values(expires=0.0))

    def release(self, lease: Lease) -> None:
        """Let go, so that another may take it at once."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(_table)
                .where(_table.c.name == lease.name, _table.c.token == lease.token)
                .values(expires=0.0)
            )


def first_lost(connection: sa.Connection, leases: Sequence[Lease]) -> Lease | None:
    """Return the first lease that is no longer the current one, asked within the transaction that depends on them.

    An expired lease that nobody took over still counts: the token is what keeps two holders apart.
    """
    if not leases:
        return None
    names = sorted(
        {lease.name for lease in leases}
    )  # in one order, so that two transactions never wait in a circle
    tokens = {row.name: row.token for row in connection.execute(_TOKENS, {"names": names})}
    return next((lease for lease in leases if tokens.get(lease.name) != lease.token), None)
