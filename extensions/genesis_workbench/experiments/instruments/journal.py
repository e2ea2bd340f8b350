"""What a gateway must still know after kill -9: plans and how far they came, in one SQLite file.

Every change is on disk before the call returns. `intend` is written before a device hears of a step, so a step that is
intended and has no outcome may have run.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from genesis_workbench.core.clock import now
from genesis_workbench.core.errors import Conflict, NotFound
from genesis_workbench.experiments.instruments.plan import FINAL, Plan

_TABLES = """
CREATE TABLE IF NOT EXISTS plans (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'queued',
    reason TEXT NOT NULL DEFAULT '', submitted TEXT NOT NULL, started TEXT NOT NULL DEFAULT '', ended TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS plans_by_state ON plans (state);
CREATE TABLE IF NOT EXISTS steps (
    plan TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, intended TEXT NOT NULL,
    ended TEXT NOT NULL DEFAULT '', outcome TEXT NOT NULL DEFAULT '{}', simulated INTEGER, seconds REAL, PRIMARY KEY (plan, number)
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, time TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
"""
_BUSY_MS = 1000
_CAME_LATER = {"simulated": "INTEGER", "seconds": "REAL"}  # columns of steps that a journal may not have yet


class Journal:
    """The file. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock, self._path = threading.RLock(), path
        self.trouble = ""
        """Why the last change could not be written, in a sentence; empty where it could."""
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.row_factory = sqlite3.Row
        self._file.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)
        known = {row["name"] for row in self._rows("PRAGMA table_info(steps)")}
        for name in [name for name in _CAME_LATER if name not in known]:
            self._do(f"ALTER TABLE steps ADD COLUMN {name} {_CAME_LATER[name]}")
        # Who waits keeps all others waiting: whatever is not written now is tried again.
        self._file.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def has(self, plan: Plan) -> bool:
        """Whether a plan was queued.

        Raises
        ------
        Conflict
            If the key belongs to another plan.
        """
        rows = self._rows("SELECT body FROM plans WHERE key = ?", plan.key)
        if rows and not plan.same(Plan.model_validate_json(rows[0]["body"])):
            raise Conflict("This key was used for another plan. A plan's key is its identity: use a new one.")
        return bool(rows)

    def add(self, plan: Plan) -> None:
        """Queue a plan; nothing where its key is known. Raises Conflict as :meth:`has` does."""
        body = json.dumps(plan.model_dump(mode="json"), sort_keys=True)
        self._do("INSERT OR IGNORE INTO plans (key, body, submitted) VALUES (?, ?, ?)", plan.key, body, now())
        self.has(plan)

    def plan(self, key: str) -> dict[str, Any]:
        """Return a plan with its steps' outcomes; NotFound where there is none.

        `simulated` and `seconds` of a step are None where it was written down before a journal kept them.
        """
        with self._lock:
            rows = self._rows("SELECT * FROM plans WHERE key = ?", key)
            if not rows:
                raise NotFound(f"This laboratory has no plan {key!r}.")
            steps = self._rows("SELECT * FROM steps WHERE plan = ? ORDER BY number", key)
        return {
            **{name: rows[0][name] for name in ("key", "state", "reason", "submitted", "started", "ended")},
            "plan": json.loads(rows[0]["body"]),
            "steps": [
                {
                    **{name: step[name] for name in ("number", "state", "intended", "ended", "seconds")},
                    "simulated": None if step["simulated"] is None else bool(step["simulated"]),
                    "outcome": json.loads(step["outcome"]),
                }
                for step in steps
            ],
        }

    def open_plans(self) -> list[dict[str, Any]]:
        """Return plans that have not ended, in the order of their submission."""
        marks = ", ".join("?" * len(FINAL))
        query = f"SELECT key FROM plans WHERE state NOT IN ({marks}) ORDER BY number"  # noqa: S608 - question marks
        with self._lock:
            return [self.plan(row["key"]) for row in self._rows(query, *sorted(FINAL))]

    def move(self, key: str, state: str, reason: str = "", *, expected: tuple[str, ...]) -> bool:
        """Bring a plan from one of the expected states into another; False where it is in none of them."""
        mark = {"running": ", started = ?"}.get(state, ", ended = ?" if state in FINAL else "")
        query = f"UPDATE plans SET state = ?, reason = ?{mark} WHERE key = ? AND state IN ({', '.join('?' * len(expected))})"  # noqa: S608
        values = (state, reason, *((now(),) if mark else ()), key, *expected)
        with self._lock:
            return self._do(query, *values) == 1

    def intend(self, key: str, number: int, *, simulated: bool) -> None:
        """Write down that a step is about to be started, and whether its device is simulated.

        A step that is intended again never began before: what its device is now counts.
        """
        self._do(
            "INSERT INTO steps (plan, number, state, intended, simulated, seconds) VALUES (?, ?, 'intended', ?, ?, 0) "
            "ON CONFLICT (plan, number) DO UPDATE SET simulated = excluded.simulated WHERE state = 'intended'",
            key, number, now(), simulated,
        )  # fmt: skip

    def watched(self, key: str, number: int, seconds: float) -> None:
        """Add to how long a step was seen to run; nothing where it was never intended."""
        self._do("UPDATE steps SET seconds = seconds + ? WHERE plan = ? AND number = ?", seconds, key, number)

    def settle(self, key: str, number: int, state: str, outcome: dict[str, Any]) -> None:
        """Write down what became of a step. What is settled for good stays."""
        self._do(
            "UPDATE steps SET state = ?, outcome = ?, ended = ? WHERE plan = ? AND number = ? "
            "AND state IN ('intended', 'unknown')",
            state, json.dumps(outcome), now(), key, number,
        )  # fmt: skip

    def fact(self, name: str) -> dict[str, Any]:
        """Return a fact, such as the emergency stop; empty where there is none."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        found: dict[str, Any] = json.loads(rows[0]["value"]) if rows else {}
        return found

    def keep(self, name: str, value: dict[str, Any], who: str, what: str) -> None:
        """Write a fact, and who made it so."""
        with self._lock:
            self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, json.dumps(value))
            self._do("INSERT INTO log (time, who, what) VALUES (?, ?, ?)", now(), who, what)

    def probe(self) -> None:
        """Write something small, to learn whether that is possible; `trouble` says so afterwards, and sqlite3.Error."""
        self._do("INSERT OR REPLACE INTO facts VALUES ('probe', ?)", json.dumps({"written": now()}))

    def unwritten(self, error: Exception) -> str:
        """Say that it cannot be written, and what helps."""
        helps = (
            f"end the program that has {self._path} open"
            if "locked" in str(error)
            else f"make room on {self._path.parent}"
        )
        return f"The journal cannot be written ({error}): {helps}."

    def log(self, most: int = 50) -> list[dict[str, Any]]:
        """Return what people did last, newest first."""
        return [
            dict(row)
            for row in self._rows("SELECT time, who, what FROM log ORDER BY number DESC LIMIT ?", most)
        ]

    def _do(self, query: str, *values: Any) -> int:
        with self._lock:
            try:
                changed = self._file.execute(query, values).rowcount
            except sqlite3.Error as error:
                self.trouble = self.unwritten(error)
                raise
            self.trouble = ""
            return changed

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._file.execute(query, values).fetchall()
