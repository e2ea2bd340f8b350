"""Bluesky plans as an instrument. Settings: `prefix` of the process variables, `folder` for documents, `simulated`.

A device on EPICS recognises no keys, but here the plan runs in the gateway's own process: its Bluesky documents are a
file of the key's name that is on disk before anything moves. No file: it never began. A file with a stop document:
what it says. A file without one: the process died in between, and nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import bluesky.plans as bp
import numpy as np
from bluesky.run_engine import RunEngine, call_in_bluesky_event_loop
from bluesky.utils import TransitionError  # type: ignore[attr-defined] # it is imported there, and not exported

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.storage import write_whole
from genesis_workbench.experiments.instruments._base import (
    Action,
    DeviceState,
    Failed,
    NeverStarted,
    Outcome,
    Quantity,
    Running,
    Unknown,
    Value,
    simulated_setting,
)
from genesis_workbench.experiments.instruments._line import line_centre
from genesis_workbench.experiments.instruments.epics.stage import Stage

_TIMEOUT_S = 5.0
log = logging.getLogger(__name__)


class StageScan:
    """Scans a stage over a line and says where it is. Its documents are kept as a file, one JSON document a line."""

    name: ClassVar[str] = "bluesky"
    actions: ClassVar[Mapping[str, Action]] = {
        "scan": Action(
            "Move over a range in steps of equal length, and count at each.",
            {
                "start": Quantity("mm", -50, 50, "First position"),
                "stop": Quantity("mm", -50, 50, "Last position"),
                "points": Quantity("", 5, 1000, "How many positions"),
            },
            {"centre": "mm", "highest": ""},
            longest_s=3600,
        )
    }

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if set(settings) != {"prefix", "folder", "simulated"}:
            raise InvalidInput(
                "A stage on EPICS has the settings 'prefix', 'folder' and 'simulated' (true or false)."
            )
        self.simulated = simulated_setting(settings)
        self._prefix, self._folder = str(settings["prefix"]), Path(settings["folder"])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Off the main thread: signals of the process are the gateway's.
        self._engine = RunEngine({}, loop=_loop(), context_managers=[])
        self._stage: Stage | None = None
        self._connecting = threading.Lock()
        self._lock, self._thread, self._running = threading.RLock(), threading.Thread(), ""

    def state(self) -> DeviceState:
        """Ask the stage how it is. See :class:`Instrument`."""
        stage = self._checked()
        readback, halted, moving = self._do(_read, stage)
        busy = self._thread.is_alive() or bool(moving)
        running = self._running if self._thread.is_alive() else ""
        return DeviceState(
            "busy" if busy else "stopped" if halted else "idle", {"position": readback}, running
        )

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Run the plan in a thread. See :class:`Instrument`."""
        if action not in self.actions:
            raise InvalidInput(f"A stage cannot {action!r}.")
        path = self._path(key)
        with self._lock:
            if path.exists():
                return
            if self._thread.is_alive():
                raise Conflict("The stage is busy.")
            stage = self._checked()
            if self._do(_read, stage)[1]:
                raise Conflict("The stage is stopped; it has to be released first.")
            documents = _Documents(path)
            plan = bp.scan(
                [stage],
                stage,
                float(arguments["start"]),
                float(arguments["stop"]),
                round(float(arguments["points"])),
            )
            self._running = key
            self._thread = threading.Thread(target=self._run, args=(plan, documents), daemon=True)
            self._thread.start()

    def outcome(self, key: str) -> Outcome:
        """Read the documents. See :class:`Instrument`."""
        path = self._path(key)
        with self._lock:
            if self._running == key and self._thread.is_alive():
                return Running()
        if not path.exists():
            return NeverStarted()
        data = path.read_bytes()
        documents = [json.loads(line) for line in data.splitlines() if line.endswith(b"]")]
        stops = [document for kind, document in documents if kind == "stop"]
        points = [document["data"] for kind, document in documents if kind == "event"]
        if not stops:
            return Unknown(
                f"The plan was broken off after {len(points)} points, and its documents do not say how."
            )
        if stops[0]["exit_status"] != "success":
            return Failed(
                f"The plan ended as {stops[0]['exit_status']}: {stops[0].get('reason') or 'no reason given'}"
            )
        return line_centre(data)

    def stop(self) -> None:
        """Halt the stage past the plan, and break the plan off whether that was heard or not. See :class:`Instrument`."""
        try:
            self._do(Stage.halt, self._connected(), 1)
        finally:
            self._break_off("emergency stop")

    def release(self) -> None:
        """Let it move again. See :class:`Instrument`."""
        self._do(Stage.halt, self._connected(), 0)

    def close(self) -> None:
        """Break off what runs, which cannot outlive this process. See :class:`Instrument`."""
        self._break_off("the gateway ended")

    def _break_off(self, why: str) -> None:
        with contextlib.suppress(TransitionError):  # it has ended by itself
            if self._thread.is_alive() and self._engine.state != "idle":
                self._engine.abort(why)
        if self._thread.ident is not None:
            self._thread.join(_TIMEOUT_S)
        if self._thread.is_alive():
            raise DeadlineExceeded(f"The plan on {self._prefix} did not end within {_TIMEOUT_S:g} s.")

    def _run(self, plan: Any, documents: _Documents) -> None:
        try:
            self._engine(plan, documents)
        except Exception as error:  # its stop document says so too, unless it failed before it opened a run
            log.exception("a plan ended with an error")
            documents.failed(str(error) or type(error).__name__)
        finally:
            documents.close()

    def _checked(self) -> Stage:
        """Return the stage, if it is what the site says. A stop does not ask.

        It is asked each time: another device may have taken the names of the one before.
        """
        stage = self._connected()
        said = self._do(_simulated, stage)
        if said != self.simulated:
            raise Conflict(
                f"The site says simulated = {str(self.simulated).lower()} of {self._prefix}, the device says "
                f"{str(said).lower()}. Correct the site file."
            )
        return stage

    def _connected(self) -> Stage:
        if self._stage is None:
            with self._connecting:
                if self._stage is None:
                    stage = Stage(self._prefix, name="stage")
                    self._do(_connect, stage)
                    self._stage = stage
        return self._stage

    def _do(self, what: Callable[..., Any], *arguments: Any) -> Any:
        async def within() -> Any:
            # Caught here already: errors of aioca are false (CANothing), and a future of `concurrent` takes a false error for
            # none (CPython 3.11): a stop that the device refused would have answered None.
            try:
                return await asyncio.wait_for(what(*arguments), _TIMEOUT_S)
            except Exception as error:  # ophyd-async and aioca raise many kinds for a device that is silent
                raise self._silent(error) from error

        try:
            return call_in_bluesky_event_loop(within(), timeout=_TIMEOUT_S + 2)
        except Unavailable:
            raise
        except Exception as error:  # the loop itself does not answer
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(f"The device {self._prefix} does not answer on EPICS.", detail=str(error))

    def _path(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, 'plan')}.jsonl"


class _Documents:
    """The file of one plan: on disk before the plan begins."""

    def __init__(self, path: Path) -> None:
        write_whole(path, b"")
        self._file = path.open("a", encoding="utf-8")
        self._stopped = False

    def __call__(self, kind: str, document: Mapping[str, Any]) -> None:
        """Write one document down."""
        if kind == "stop" and document["exit_status"] == "abort":
            document = {**document, "reason": document.get("reason") or "it was stopped"}
        self._stopped = self._stopped or kind == "stop"
        self._file.write(json.dumps([kind, document], default=_plain) + "\n")
        self._file.flush()
        if kind in ("start", "stop"):
            os.fsync(self._file.fileno())

    def failed(self, reason: str) -> None:
        """Say why there is no stop document: the plan failed before it opened a run."""
        if not self._stopped:
            self("stop", {"exit_status": "fail", "reason": reason})

    def close(self) -> None:
        self._file.close()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    # One for the process, never closed: channel access calls back into it as long as a channel is known.
    return asyncio.new_event_loop()


async def _connect(stage: Stage) -> None:
    await stage.connect(timeout=_TIMEOUT_S / 2)


async def _read(stage: Stage) -> tuple[float, int, int]:
    return await stage.readback.get_value(), await stage.halted.get_value(), await stage.moving.get_value()


async def _simulated(stage: Stage) -> bool:
    return bool(await stage.simulated.get_value())
