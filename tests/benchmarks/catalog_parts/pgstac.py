"""The same records as STAC items in pgSTAC, asked by bounding box and time: the first 20, and how many there are.

Run as a program, in the environment that the tests make for pgSTAC, it loads items from standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

COLLECTION = "bench"
Box = tuple[float, float, float, float]
Period = tuple[str, str]


class PgStac:
    """pgSTAC in the database at `url`, which has PostGIS."""

    name = "pgstac"

    def __init__(self, url: str, python: Path) -> None:
        self._url, self._python = url, python

    def load(self, batches: Iterable[list[Any]]) -> None:
        """Take all records."""
        with subprocess.Popen(
            [str(self._python), __file__],
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "PGSTAC_URL": self._url},
        ) as loading:
            assert loading.stdin is not None
            for batch in batches:
                loading.stdin.write("".join(json.dumps(item(each)) + "\n" for each in batch))
            loading.stdin.close()
        if loading.returncode:
            sys.exit("pgSTAC did not take the records.")

    def timed(self, questions: list[tuple[Box, Period]], *, counted: bool) -> list[float]:
        """Return the seconds of each question; with `counted`, how many items there are is part of the answer."""
        import psycopg

        taken = []
        with psycopg.connect(self._url, autocommit=True) as base:
            base.execute("SET search_path TO pgstac, public")
            for box, period in questions:
                asked = {
                    "bbox": list(box),
                    "datetime": "/".join(f"{day}T00:00:00Z" for day in period),
                    "collections": [COLLECTION],
                    "limit": 20,
                    "conf": {"context": "on" if counted else "off"},
                }
                begun = time.perf_counter()
                row = base.execute("SELECT search(%s::jsonb)", [json.dumps(asked)]).fetchone()
                taken.append(time.perf_counter() - begun)
                assert row is not None
                assert row[0]["features"], "a question of the benchmark finds nothing"
        return taken


def item(record: Any) -> dict[str, Any]:
    """Return a record as a STAC item."""
    west, south, east, north = record.spatial
    start, end = (f"{day}T00:00:00Z" for day in record.temporal)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": record.id,
        "collection": COLLECTION,
        "bbox": [west, south, east, north],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "properties": {
            "title": record.title,
            "datetime": start,
            "start_datetime": start,
            "end_datetime": end,
        },
        "links": [],
        "assets": {},
    }


def _load() -> None:
    from pypgstac.db import PgstacDB
    from pypgstac.load import Loader, Methods
    from pypgstac.migrate import Migrate

    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": COLLECTION,
        "description": "Records of the benchmark",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }
    with PgstacDB(dsn=os.environ["PGSTAC_URL"]) as database:
        Migrate(database).run_migration()
        loader = Loader(db=database)
        loader.load_collections(iter([collection]), Methods.insert)
        for some in _parts(50_000):
            loader.load_items(iter(some), Methods.insert)
        database.query_one("SELECT 1")


def _parts(size: int) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for line in sys.stdin:
        some.append(json.loads(line))
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


if __name__ == "__main__":
    _load()
