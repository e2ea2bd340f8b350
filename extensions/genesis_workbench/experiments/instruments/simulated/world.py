"""What is in the simulated laboratory and what was done there, kept in one file so that it outlives its process.

Time runs `time_scale` times as fast as the clock on the wall. Nothing waits here: a run's end is written down when
somebody looks after it has passed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from genesis_workbench.core.errors import Conflict
from genesis_workbench.experiments.instruments.simulated import devices, physics

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, device TEXT NOT NULL, key TEXT NOT NULL, action TEXT NOT NULL, arguments TEXT NOT NULL,
    session TEXT NOT NULL, began REAL NOT NULL, lasts_s REAL NOT NULL, outcome TEXT
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class World:
    """The laboratory.

    Parameters
    ----------
    folder : Path
        Where its file is.
    seed : int
        Of all noise and failures.
    time_scale : float
        Simulated seconds in a second.
    failure_rate : float
        Probability that an action fails for a reason of the device's own.
    forgetful : bool
        Devices know what they do now, but not for whom, like a motor on a field bus: they recognise no key.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        time_scale: float = 60.0,
        failure_rate: float = 0.02,
        forgetful: bool = False,
    ) -> None:
        self._seed, self._scale, self._failures, self.forgetful = seed, time_scale, failure_rate, forgetful
        self._lock = threading.RLock()
        self._file = sqlite3.connect(folder / "world.sqlite", check_same_thread=False, isolation_level=None)
        self._file.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)
        row = self._file.execute("SELECT value FROM facts WHERE name = 'facts'").fetchone()
        self._facts: devices.Facts = (
            json.loads(row[0]) if row else json.loads(json.dumps(devices.FIRST_FACTS))
        )
        self._stopped: set[str] = set()
        self._after_power_loss()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def state(self, device: str) -> dict[str, Any]:
        """Return how a device is: status, readings, and the key of what it does, where it knows."""
        with self._lock:
            run = self._current(device)
            readings = devices.readings(device, self._facts)
            if run is not None and device == "furnace" and run["action"] == "anneal":
                arguments = json.loads(run["arguments"])
                at = (time.time() - run["began"]) * self._scale
                readings["temperature"] = physics.furnace_temperature(
                    self._facts["furnace_c"], arguments["temperature"], arguments["duration"], at
                )
            status = "busy" if run is not None else "stopped" if device in self._stopped else "idle"
            running = run["key"] if run is not None and not self.forgetful else ""
            return {"status": status, "readings": readings, "running": running}

    def start(self, device: str, key: str, action: str, arguments: dict[str, Any], session: str) -> None:
        """Begin a run. A device that remembers keys runs each once; a forgetful one does what it is told."""
        with self._lock:
            busy = self._current(device)
            if not self.forgetful and self._run(device, key) is not None:
                return
            if device in self._stopped:
                raise Conflict(f"The {device} is stopped; it has to be released first.")
            if busy is not None:
                raise Conflict(f"The {device} is busy.")
            lasts_s = devices.begin(device, action, self._facts, arguments)
            self._file.execute(
                "INSERT INTO runs (device, key, action, arguments, session, began, lasts_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (device, key, action, json.dumps(arguments), session, time.time(), lasts_s),
            )

    def outcome(self, device: str, key: str, session: str) -> dict[str, Any]:
        """Return what became of a key: ``{"state": ...}``, with the result where it is done."""
        with self._lock:
            self._current(device)
            run = self._run(device, key)
            if self.forgetful and (run is None or run["session"] != session):
                return {"state": "unknown", "reason": f"The {device} does not remember for whom it did what."}
            if run is None:
                return {"state": "never"}
            if run["outcome"] is None:
                return {"state": "running"}
            found: dict[str, Any] = json.loads(run["outcome"])
            return found

    def stop(self, device: str) -> None:
        """Stop: what runs ends here, and nothing begins until it is released."""
        with self._lock:
            self._stopped.add(device)
            run = self._current(device)
            if run is not None:
                elapsed = (time.time() - run["began"]) * self._scale
                self._end(run, elapsed, f"It was stopped after {elapsed:.0f} of {run['lasts_s']:.0f} s.")

    def release(self, device: str) -> None:
        """Let it begin again."""
        with self._lock:
            self._stopped.discard(device)

    def history(self) -> list[dict[str, Any]]:
        """Return every run that ever began, in order."""
        with self._lock:
            return self._runs("SELECT * FROM runs ORDER BY number")

    def _current(self, device: str) -> dict[str, Any] | None:
        """Return what the device does at this moment, and write down the end of what has ended."""
        runs = self._runs("SELECT * FROM runs WHERE device = ? AND outcome IS NULL", device)
        for run in runs:
            if (time.time() - run["began"]) * self._scale < run["lasts_s"]:
                return run
            self._end(run, run["lasts_s"])
        return None

    def _run(self, device: str, key: str) -> dict[str, Any] | None:
        found = self._runs(
            "SELECT * FROM runs WHERE device = ? AND key = ? ORDER BY number DESC", device, key
        )
        return found[0] if found else None

    def _runs(self, query: str, *values: str) -> list[dict[str, Any]]:
        cursor = self._file.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _end(self, run: dict[str, Any], elapsed_s: float, stopped: str = "") -> None:
        hashed = hashlib.sha256(f"{run['device']}/{run['key']}".encode()).digest()
        noise = np.random.default_rng([self._seed, int.from_bytes(hashed[:8], "big")])
        fails = noise.random() < self._failures
        result = devices.end(
            run["device"], run["action"], self._facts, json.loads(run["arguments"]), noise, elapsed_s
        )
        file = result.pop("file", None)
        found: dict[str, Any]
        if stopped or fails:
            found = {
                "state": "failed",
                "reason": stopped or f"The {run['device']} reported an error of its own.",
            }
        elif "failed" in result:
            found = {"state": "failed", "reason": result["failed"]}
        else:
            found = {"state": "done", "values": result, "files": {"spectrum.csv": file} if file else {}}
        self._settle(run["number"], found)

    def _settle(self, number: int, outcome: dict[str, Any]) -> None:
        self._file.execute("BEGIN")
        self._file.execute("UPDATE runs SET outcome = ? WHERE number = ?", (json.dumps(outcome), number))
        self._file.execute("INSERT OR REPLACE INTO facts VALUES ('facts', ?)", (json.dumps(self._facts),))
        self._file.execute("COMMIT")

    def _after_power_loss(self) -> None:
        for run in self._runs("SELECT * FROM runs WHERE outcome IS NULL"):
            self._facts["furnace_c"] = physics.ROOM_C
            reason = f"The {run['device']} lost its power while it ran, and cannot say how far it came."
            self._settle(run["number"], {"state": "unknown", "reason": reason})
