"""The same records and the same questions in SQLite FTS5 and in PostgreSQL full text search.

A question is answered as ours is: the first 20 by rank, the exact count, and counts by facet, among what the asker may see,
in a bounding box.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any, Protocol

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.science import fields_of

_ONE = ("agency", "licence", "label", "year")


class Peer(Protocol):
    """A search engine that can be asked."""

    name: str

    def load(self, batches: Iterable[list[Dataset]]) -> None:
        """Take all records."""
        ...

    def ask(self, word: str, box: tuple[float, float, float, float], group: str) -> int:
        """Answer one question and return the count."""
        ...

    def again(self) -> Peer:
        """Return the same engine by another connection, for a thread of its own."""
        ...


class Fts5:
    """SQLite: an FTS5 table with Porter's stemmer, ranked by bm25."""

    name = "sqlite_fts5"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "fts5.sqlite"
        self._base = sqlite3.connect(self._file)
        self._base.executescript("""
            PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000; PRAGMA temp_store=MEMORY;
            CREATE TABLE records (n INTEGER PRIMARY KEY, id TEXT, may TEXT, agency TEXT, licence TEXT, label TEXT,
                year INTEGER, west REAL, south REAL, east REAL, north REAL);
            CREATE TABLE formats (n INTEGER, value TEXT);
            CREATE TABLE fields (n INTEGER, value TEXT);
            CREATE VIRTUAL TABLE words USING fts5(title, keywords, description, agency, content='',
                tokenize='porter unicode61');
        """)

    def again(self) -> Fts5:
        """Return the same file by another connection."""
        other = copy(self)
        other._base = sqlite3.connect(self._file, check_same_thread=False)
        other._base.executescript("PRAGMA cache_size=-40000; PRAGMA temp_store=MEMORY;")
        return other

    def load(self, batches: Iterable[list[Dataset]]) -> None:
        """Take all records."""
        number = 0
        for batch in batches:
            rows, texts, formats, fields = [], [], [], []
            for each in batch:
                number += 1
                rows.append(
                    (
                        number,
                        each.id,
                        _may(each),
                        each.agency,
                        each.licence,
                        each.label,
                        each.year,
                        *_box(each),
                    )
                )
                texts.append((number, each.title, " ".join(each.keywords), each.description, each.agency))
                formats += [(number, value) for value in each.formats]
                fields += [(number, value) for value in fields_of(each)]
            self._base.executemany(f"INSERT INTO records VALUES ({','.join('?' * 11)})", rows)  # noqa: S608
            self._base.executemany(
                "INSERT INTO words (rowid, title, keywords, description, agency) VALUES (?,?,?,?,?)", texts
            )
            self._base.executemany("INSERT INTO formats VALUES (?,?)", formats)
            self._base.executemany("INSERT INTO fields VALUES (?,?)", fields)
        self._base.executescript(
            "INSERT INTO words(words) VALUES ('optimize'); CREATE INDEX f ON formats(n); CREATE INDEX g ON fields(n); "
            "ANALYZE;"
        )
        self._base.commit()

    def ask(self, word: str, box: tuple[float, float, float, float], group: str) -> int:
        """Answer one question."""
        west, south, east, north = box
        bound = (f'"{word}"', group, east, west, north, south)
        among = (
            "FROM words JOIN records ON records.n = words.rowid WHERE words MATCH ? AND may IN ('public', ?) "
            "AND west <= ? AND east >= ? AND south <= ? AND north >= ?"
        )
        self._base.execute(f"SELECT id {among} ORDER BY bm25(words, 3, 2, 1, 1) LIMIT 20", bound).fetchall()
        return _total(self._base.execute(_counting(f"SELECT records.* {among}", "n"), bound).fetchall())


class Postgres:
    """PostgreSQL: a tsvector with weights and a GIN index, ranked by ts_rank, with its parallel workers."""

    name = "postgresql_full_text"

    def __init__(self, url: str) -> None:
        import psycopg

        self._url = url
        self._base = psycopg.connect(url, autocommit=True)
        self._base.execute("""
            CREATE TABLE records (n INTEGER, id TEXT, may TEXT, agency TEXT, licence TEXT, label TEXT, year INTEGER,
                west REAL, south REAL, east REAL, north REAL, words TSVECTOR, formats TEXT[], fields TEXT[])
        """)

    def again(self) -> Postgres:
        """Return the same server by another connection."""
        import psycopg

        other = copy(self)
        other._base = psycopg.connect(self._url, autocommit=True)
        return other

    def load(self, batches: Iterable[list[Dataset]]) -> None:
        """Take all records."""
        number = 0
        self._base.execute(
            "CREATE UNLOGGED TABLE raw (n INTEGER, id TEXT, may TEXT, agency TEXT, licence TEXT, label TEXT, year INTEGER, "
            "west REAL, south REAL, east REAL, north REAL, title TEXT, keywords TEXT, description TEXT, formats TEXT[], "
            "fields TEXT[])"
        )
        with self._base.cursor() as cursor, cursor.copy("COPY raw FROM STDIN") as copy:
            for batch in batches:
                for each in batch:
                    number += 1
                    copy.write_row(
                        (number, each.id, _may(each), each.agency, each.licence, each.label, each.year, *_box(each),
                         each.title, " ".join(each.keywords), each.description, each.formats, fields_of(each))
                    )  # fmt: skip
        self._base.execute("""
            INSERT INTO records SELECT n, id, may, agency, licence, label, year, west, south, east, north,
                setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', keywords), 'B')
                || setweight(to_tsvector('english', description), 'C') || setweight(to_tsvector('english', agency), 'D'),
                formats, fields FROM raw
        """)
        self._base.execute("DROP TABLE raw")
        self._base.execute("CREATE INDEX ON records USING gin (words) WITH (fastupdate = off)")
        self._base.execute("CREATE INDEX ON records USING gist (box(point(west, south), point(east, north)))")
        self._base.execute("VACUUM ANALYZE records")

    def ask(self, word: str, box: tuple[float, float, float, float], group: str) -> int:
        """Answer one question."""
        west, south, east, north = box
        bound = {"w": word, "g": group, "west": west, "south": south, "east": east, "north": north}
        among = (
            "FROM records, plainto_tsquery('english', %(w)s) q WHERE words @@ q AND may IN ('public', %(g)s) "
            "AND box(point(west, south), point(east, north)) && box(point(%(west)s, %(south)s), point(%(east)s, %(north)s))"
        )
        self._base.execute(f"SELECT id {among} ORDER BY ts_rank(words, q) DESC LIMIT 20", bound).fetchall()  # type: ignore[arg-type]
        wanted = f"SELECT n, agency, licence, label, year, formats, fields {among}"
        return _total(self._base.execute(_counting(wanted, ""), bound).fetchall())  # type: ignore[arg-type]


def _counting(wanted: str, joined: str) -> str:
    """Return one statement that counts all and by facet."""
    parts = [f"SELECT '{name}', CAST({name} AS TEXT), count(*) FROM hits GROUP BY 2" for name in _ONE]  # noqa: S608
    for table in ("formats", "fields"):
        parts.append(
            f"SELECT '{table}', value, count(*) FROM hits JOIN {table} USING ({joined}) GROUP BY 2"  # noqa: S608
            if joined
            else f"SELECT '{table}', value, count(*) FROM hits, unnest({table}) value GROUP BY 2"  # noqa: S608
        )
    counted = " UNION ALL ".join(["SELECT 'total', '', count(*) FROM hits", *parts])
    return f"WITH hits AS MATERIALIZED ({wanted}) {counted}"


def _total(rows: list[Any]) -> int:
    return next(int(row[2]) for row in rows if row[0] == "total")


def _may(record: Dataset) -> str:
    return "public" if record.label == "public" else record.groups[0]


def _box(record: Dataset) -> tuple[float, float, float, float]:
    assert record.spatial is not None
    return record.spatial


def together(
    peer: Peer, questions: list[tuple[str, tuple[float, float, float, float]]], group: str, clients: int
) -> list[float]:
    """Return the seconds of each question, asked by `clients` at once."""
    with ThreadPoolExecutor(clients) as pool:
        parts = [questions[at::clients] for at in range(clients)]
        return [
            each for part in pool.map(lambda part: timed(peer.again(), part, group), parts) for each in part
        ]


def timed(
    peer: Peer, questions: list[tuple[str, tuple[float, float, float, float]]], group: str
) -> list[float]:
    """Return the seconds of each question."""
    taken = []
    for word, box in questions:
        begun = time.perf_counter()
        peer.ask(word, box, group)
        taken.append(time.perf_counter() - begun)
    return taken
