"""What openers of tables share: provenance on Dask DataFrames, and DuckDB relations that see one file and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import InvalidInput

ENGINES = ("dask", "duckdb")


class Relation:
    """A DuckDB relation with the attributes that opened data carry. Whatever a relation can do, this can.

    Attributes
    ----------
    relation : duckdb.DuckDBPyRelation
        Lazy: it is computed by ``df()``, ``arrow()`` or ``fetchall()``.
    attrs : dict
        Where the data are from.
    """

    def __init__(self, relation: Any, connection: Any) -> None:
        self.relation = relation
        self.attrs: dict[str, Any] = {}
        self._connection = connection  # a relation does not outlive it

    def __getattr__(self, name: str) -> Any:
        return getattr(self.relation, name)

    def __repr__(self) -> str:
        return f"{self.relation!r}"

    def query(self, sql: str) -> Any:
        """Run a query over ``data``, the name of this table in it."""
        return self.relation.query("data", sql)


def relation(path: Path, reader: str) -> Relation:
    """Return a relation on one file. The connection reads no other file, no URL, and loads no extension."""
    import duckdb

    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute(
        "SET allowed_paths = [$path]".replace("$path", "'" + str(path).replace("'", "''") + "'")
    )
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    try:
        return Relation(getattr(connection, reader)(str(path)), connection)
    except duckdb.Error as error:
        raise InvalidInput(
            f"DuckDB cannot read {path.name!r}: {' '.join(str(error).split())[:300]}", detail=repr(error)
        ) from error


def check_engine(engine: str) -> None:
    """Refuse an engine that there is not."""
    if engine not in ENGINES:
        raise InvalidInput(f"There is no engine {engine!r} for tables. Use one of: {', '.join(ENGINES)}.")
