"""A scan by a bluesky-queueserver. Settings: `address`, `folder` for intentions, `documents` of the worker, `simulated`.

The queue server recognises no keys: the identifier of an item that a client gives is replaced, and a request that is
sent twice runs twice. What stays with an item is its `meta`, in the running item and in the history. So the intention is
on disk before the request goes out, with the key in `meta`; afterwards the manager is asked for that key. Where it has
never heard of it, the request may still be on its way, or the history may have been cleared: nobody knows.

Items are executed at once and never queued there (`queue_item_execute`): what is queued goes back to the queue when it is
aborted or its worker dies, and would run again. The laboratory's own queue is the only one.

A stop pauses and aborts what runs, and locks the manager, for everybody, until it is released.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

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
    Reading,
    Running,
    Unknown,
    Value,
    simulated_setting,
)
from genesis_workbench.experiments.instruments._line import line_centre
from genesis_workbench.experiments.instruments.queueserver.manager import ABOUT, Manager

PLAN = "stage_scan"
"""The plan that the worker has; see worker.py."""
_SETTINGS = {"address", "folder", "documents", "simulated"}
_STOP_S, _TAKEN_UP_S = 10.0, 5.0
_META = "genesis_key"
_LOCK = "genesis-workbench-stop"  # names who locked it; anybody who knows the manager can unlock it by its own means


class QueueserverScan:
    """Scans a stage over a line and says where it is, by a queue server that a beamline runs."""

    name: ClassVar[str] = "queueserver"
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
        if set(settings) != _SETTINGS:
            raise InvalidInput(f"A queue server has the settings {', '.join(sorted(_SETTINGS))}.")
        self.simulated = simulated_setting(settings)
        self._manager = Manager(str(settings["address"]))
        self._documents, self._folder = Path(settings["documents"]), Path(settings["folder"])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()

    def state(self) -> DeviceState:
        """Ask the manager how it is. See :class:`Instrument`."""
        status = self._status()
        self._check()
        manager = str(status.get("manager_state"))
        readings: dict[str, Reading] = {
            "manager": manager,
            "items in its own queue": float(status.get("items_in_queue") or 0),
        }
        if not status.get("worker_environment_exists"):
            return DeviceState("fault", readings, "", "Its worker is not there: open the environment.")
        if manager != "idle":
            return DeviceState("busy", readings, self._key_of(self._manager.do("queue_get")["running_item"]))
        locked = status.get("lock") or {}
        return DeviceState(
            "stopped" if locked.get("queue") or locked.get("environment") else "idle", readings
        )

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Have the plan executed at once. See :class:`Instrument`."""
        if action not in self.actions:
            raise InvalidInput(f"A queue server has no action {action!r}.")
        path = self._path(key)
        with self._lock:
            if path.exists():
                return
            state = self.state()
            if state.status != "idle":
                raise Conflict(f"The queue server is {state.status}. {state.reason}".strip())
            item = {
                "item_type": "plan",
                "name": PLAN,
                "kwargs": {name: float(arguments[name]) for name in ("start", "stop")}
                | {"points": round(float(arguments["points"]))},
                "meta": {_META: key},
            }
            self._keep(path, {})
            try:
                self._manager.do("queue_item_execute", item=item, user="genesis", user_group="primary")
            except Conflict as error:
                self._keep(path, {"failed": error.message})
                raise
            self._keep(path, {"accepted": time.time()})

    def outcome(self, key: str) -> Outcome:
        """Look for the key in what runs and in the history. See :class:`Instrument`."""
        path = self._path(key)
        if not path.exists():
            return NeverStarted()
        kept = json.loads(path.read_bytes())
        if not {"failed", "runs"} & set(kept):
            found = self._found(key, time.time() - float(kept.get("accepted", 0)) < _TAKEN_UP_S)
            if isinstance(found, Outcome):
                return found
            kept = found
            self._keep(path, kept)
        if "failed" in kept:
            return Failed(kept["failed"])
        return self._measured(kept["runs"])

    def _found(self, key: str, just_accepted: bool) -> Outcome | dict[str, Any]:
        """Return what the manager says of a key: what is final as it is kept, the rest as an outcome.

        Parameters
        ----------
        just_accepted : bool
            Whether the manager has said yes a moment ago: between that and the running item it shows nothing.
        """
        # The history first: an item that ends in between is in what runs, or in the next look.
        for item in reversed(self._manager.do("history_get")["items"]):
            if self._key_of(item) == key:
                result = item.get("result") or {}
                if result.get("exit_status") == "completed":
                    return {"runs": [str(uid) for uid in result.get("run_uids") or ()]}
                words = str(result.get("msg") or "").strip() or "no reason given"
                return {"failed": f"The plan ended as {result.get('exit_status')}: {words}"[:2000]}
        if self._key_of(self._manager.do("queue_get")["running_item"]) == key or just_accepted:
            return Running()
        for item in self._manager.do("history_get")["items"]:
            if self._key_of(item) == key:
                return Running()  # it has just ended: the next look finds it
        return Unknown(
            "The request was sent, and the queue server knows nothing of it now: it may have run, and may still arrive."
        )

    def stop(self) -> None:
        """Lock the manager, pause at once, and abort. See :class:`Instrument`."""
        locked = self._manager.ask(
            "lock", environment=True, queue=True, lock_key=_LOCK, user="genesis", note="emergency stop"
        )
        self._until(self._paused)
        if self._status().get("manager_state") == "paused":
            self._manager.do("re_abort", lock_key=_LOCK)
            self._until(lambda status: status["manager_state"] == "idle")
        if not locked.get("success"):
            raise Conflict(
                f"What ran is stopped, but somebody else has locked the manager: {locked.get('msg')}"
            )

    def release(self) -> None:
        """Unlock the manager. See :class:`Instrument`."""
        self._manager.do("unlock", lock_key=_LOCK)

    def close(self) -> None:
        """Nothing: each request has a connection of its own. See :class:`Instrument`."""

    def _check(self) -> None:
        """Compare what the worker says of itself with what the site says. A stop does not ask."""
        path = self._documents / ABOUT
        try:
            said = json.loads(path.read_bytes())["simulated"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Conflict(
                f"The worker has not written into {path} whether it is simulated. Start it with this version's worker.py."
            ) from error
        if said is not self.simulated:
            raise Conflict(
                f"The site says simulated = {str(self.simulated).lower()} of this queue server, its worker says "
                f"{str(said).lower():.20}. Correct the site file."
            )

    def _paused(self, status: dict[str, Any]) -> bool:
        """Whether nothing moves; asked to pause where something does. A plan that is just starting has to be asked again."""
        if status["manager_state"] in ("idle", "paused"):
            return True
        self._manager.ask("re_pause", option="immediate", lock_key=_LOCK)
        return False

    def _until(self, true: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + _STOP_S
        while not true(self._status()):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"The queue server did not stop its plan within {_STOP_S:g} s.")
            time.sleep(0.05)

    def _status(self) -> dict[str, Any]:
        status = self._manager.ask("status")
        if "manager_state" not in status:
            raise Unavailable("What answers there is no RE Manager.")
        return status

    def _measured(self, runs: list[str]) -> Outcome:
        if not runs:
            return Failed("The plan made no run, so there is nothing to read.")
        path = self._documents / f"{check_slug(runs[-1], 'run')}.jsonl"
        try:
            data = path.read_bytes()
        except OSError as error:
            return Unknown(f"The plan has run, but its documents are not at {path}: {error.strerror}.")
        return line_centre(data)

    @staticmethod
    def _key_of(item: Any) -> str:
        meta = item.get("meta") if isinstance(item, Mapping) else None
        return str(meta.get(_META, "")) if isinstance(meta, Mapping) else ""

    def _path(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, 'plan')}.json"

    @staticmethod
    def _keep(path: Path, kept: Mapping[str, Any]) -> None:
        write_whole(path, json.dumps(kept).encode())
