"""How fast the ledger takes events and verifies them, against a library of event stores (eventsourcing) in the same run.

Events are those of trials, a thousand in a transaction over 200 experiments, on SQLite and on a PostgreSQL of this run, both with their
defaults of durability. The peer, in an environment of its own, keeps the same bodies as JSON; its events are not
chained, and what stands against our verification is its reading all of them. Goals: 5,000 events a second on SQLite, 10,000 on
PostgreSQL, 50,000 verified. ``ratio`` is the worst of ours to the peer's. Run: ``python tests/benchmarks/ledger.py [--events 100000]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgresql
from genesis_workbench.core.ledger import Ledger, NewEvent
from system.peers.conftest import environment

GOALS = {
    "sqlite_appended": 5000,
    "postgresql_appended": 10_000,
    "sqlite_verified": 50_000,
    "postgresql_verified": 50_000,
}
BATCH, EXPERIMENTS, ROUNDS = 1000, 200, 3

PEER = """
import json, sys, time
from uuid import UUID
from eventsourcing.persistence import StoredEvent
kind, place, user, host, port = sys.argv[1:]
if kind == "sqlite":
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(place))
else:
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
    recorder = PostgresApplicationRecorder(PostgresDatastore(place, host, port, user, ""), events_table_name="events")
recorder.create_table()
batches = [json.loads(line) for line in sys.stdin]
began = time.perf_counter()
for batch in batches:
    recorder.insert_events([
        StoredEvent(UUID(int=stream), version, "trial.observed", json.dumps(body).encode())
        for stream, version, body in batch
    ])
appended = time.perf_counter() - began
began, read, last = time.perf_counter(), 0, 0
while found := recorder.select_notifications(last + 1, 5000):
    for each in found:
        json.loads(each.state)
    read, last = read + len(found), found[-1].id
print(json.dumps([appended, time.perf_counter() - began, read]))
"""


def batches(events: int) -> Iterator[list[tuple[int, int, dict[str, object]]]]:
    """Iterate over batches of experiment, version from 1 on, and body."""
    for first in range(0, events, BATCH):
        yield [
            (number % EXPERIMENTS, number // EXPERIMENTS + 1, body(number))
            for number in range(first, first + BATCH)
        ]


def body(number: int) -> dict[str, object]:
    values = {"y": {"value": 0.5 + number / 7, "unit": "degC", "uncertainty": 0.01}}
    parameters = {"x": 0.123456789 + number, "z": 0.987654321}
    return {"trial": number, "values": values, "parameters": parameters, "simulated": True}


def ours(url: str, events: int) -> dict[str, float]:
    """Return events appended and verified a second."""
    new = [
        [
            NewEvent(f"experiment/exp_{stream:04}", "trial.observed", body, "service:runner")
            for stream, _, body in batch
        ]
        for batch in batches(events)
    ]
    ledger = Ledger.open(url)
    began = time.perf_counter()
    for batch in new:
        ledger.append_many(batch)
    appended = time.perf_counter() - began
    began = time.perf_counter()
    found = ledger.verify()
    verified = time.perf_counter() - began
    ledger.close()
    assert found.ok
    assert found.events == events
    return {"appended": events / appended, "verified": events / verified}


def peer(kind: str, place: str, user: str, host: str, port: str, events: int) -> dict[str, float]:
    """Return events appended and read a second."""
    lines = "".join(json.dumps(batch) + "\n" for batch in batches(events))
    done = subprocess.run(
        [str(environment("eventsourcing")), "-c", PEER, kind, place, user, host, port],
        input=lines, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    appended, seconds, read = json.loads(done.stdout)
    assert read == events
    return {"appended": events / appended, "verified": events / seconds}


def one_round(events: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Iterate over database, whose figures, and figures."""
    with tempfile.TemporaryDirectory() as folder:
        yield "sqlite", "ours", ours(f"sqlite:///{folder}/ledger.sqlite", events)
        yield "sqlite", "peer", peer("sqlite", f"{folder}/peer.sqlite", "", "", "", events)
    with postgresql.server("bench") as address:
        yield "postgresql", "ours", ours(f"postgresql+psycopg://{address}", events)
        user, _, place = address.partition("@")
        host, _, rest = place.partition(":")
        port, _, database = rest.partition("/")
        yield "postgresql", "peer", peer("postgresql", database, user, host, port, events)


def main() -> None:
    """Measure both in turn and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="a multiple of 1,000")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    rounds: dict[str, dict[str, list[float]]] = {}
    for _ in range(chosen.rounds):
        for database, whose, figures in one_round(chosen.events):
            for name, value in figures.items():
                rounds.setdefault(f"{database}_{name}", {}).setdefault(whose, []).append(value)
            print(database, whose, {name: round(value) for name, value in figures.items()}, file=sys.stderr)
    rates = {
        name: {whose: statistics.median(each) for whose, each in both.items()}
        for name, both in rounds.items()
    }
    figures = {
        name: {**{whose: round(rate) for whose, rate in both.items()}, "goal": GOALS[name]}
        for name, both in rates.items()
    }
    worst = min(both["ours"] / both["peer"] for both in rates.values())
    print(json.dumps({"benchmark": "ledger", "ratio": round(worst, 3), "goal": 1.0, "figures": figures}))


if __name__ == "__main__":
    main()
