"""A simulated furnace with a worker of its own: a durable queue, and runs of which nobody knows after a crash.

Its law as a task of Dask, too.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import psutil

from genesis_workbench.experiments.executors._base import Observation, Unknown

TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, x REAL, state TEXT, worker INTEGER, y REAL)"


def law(x: float) -> float:
    """What it gives: exact in every process, so that runs can be compared."""
    return round(1 - (x - 0.4) ** 2, 12)


def write(log: Path, line: str) -> None:
    """Append one line to a log in one system call: what happened in the world, whoever is killed afterwards."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (line + "\n").encode())
    os.close(handle)


class Queue:
    """The furnace's queue in a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "furnace.sqlite"
        with self._open() as connection:
            connection.execute(TABLE)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=30)

    def do(self, statement: str, *values) -> list:
        """Run one statement in a transaction of its own."""
        connection = self._open()
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


class FurnaceExecutor:
    """Puts runs into the queue and reads them back."""

    name, simulated, laboratory = "furnace", True, True
    parameters, outcomes = {"x": ""}, {"y": ""}

    def __init__(self, folder: Path) -> None:
        self._queue = Queue(folder)

    def check(self, arguments):
        """Nothing to refuse."""

    def submit(self, key, parameters, arguments):
        """Ask for a run unless its key is known."""
        self._queue.do("INSERT OR IGNORE INTO runs VALUES (?, ?, 'asked', 0, NULL)", key, parameters["x"])

    def observe(self, key):
        """Return the outcome; where the worker died over it, nobody knows."""
        [(state, worker, y)] = self._queue.do("SELECT state, worker, y FROM runs WHERE key = ?", key)
        if state == "done":
            return Observation({"y": (y, "", None)})
        if state == "begun" and not psutil.pid_exists(worker):
            # It may have ended in the moment between: look once more.
            [(state, _, y)] = self._queue.do("SELECT state, worker, y FROM runs WHERE key = ?", key)
            if state == "done":
                return Observation({"y": (y, "", None)})
            return Unknown("The worker died while the furnace was on.")
        return None

    def cancel(self, key):
        """Take a run that has not begun from the queue."""
        self._queue.do("DELETE FROM runs WHERE key = ? AND state = 'asked'", key)


def task(x: float, log: str) -> float:
    """Be a task on a worker of Dask, which must not run twice."""
    from distributed import get_worker

    key = get_worker().get_current_task().rpartition("-")[0]
    write(Path(log), f"begin {key}")
    time.sleep(0.05)
    write(Path(log), f"end {key}")
    return law(x)


def work(folder: Path) -> None:
    """Do what is asked, for ever."""
    queue, me = Queue(folder), os.getpid()
    while True:
        asked = queue.do("SELECT key, x FROM runs WHERE state = 'asked' LIMIT 1")
        if not asked:
            time.sleep(0.02)
            continue
        key, x = asked[0]
        queue.do("UPDATE runs SET state = 'begun', worker = ? WHERE key = ? AND state = 'asked'", me, key)
        write(folder / "world.log", f"begin {key}")
        time.sleep(0.02)
        write(folder / "world.log", f"end {key}")
        queue.do("UPDATE runs SET state = 'done', y = ? WHERE key = ?", law(x), key)
