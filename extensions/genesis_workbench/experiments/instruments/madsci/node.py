"""A MADSci node. Settings: `url`, `actions` (a file, see actions.py), `folder` for intentions, `simulated`.

A node recognises no keys: it makes an identifier for each action, a request that is sent twice runs twice, and its history
dies with its process. But it creates an action first and starts it by a second request, and starts one that it created at
most once. So the identifier is on disk, under the key, before the request to start goes out. Where there is none, the
action certainly never began; where there is one, the node is asked what became of it; where the node has never heard of
it, nobody knows.

A stop is the node's own `safety_stop`, then a lock for all its clients; a node without one is not started.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, GenesisError, InvalidInput, Unavailable
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.storage import write_whole
from genesis_workbench.experiments.instruments._base import (
    DeviceState,
    Failed,
    NeverStarted,
    Outcome,
    Reading,
    Running,
    Unknown,
    Value,
    simulated_setting,
)
from genesis_workbench.experiments.instruments.madsci.actions import read_actions
from genesis_workbench.experiments.instruments.madsci.rest import Rest
from genesis_workbench.experiments.instruments.madsci.result import forgotten, measured, words_of

_SETTINGS = {"url", "actions", "folder", "simulated"}
_STOP_S, _PAUSE_S = 10.0, 0.1
_ASK_EVERY_S = (
    1.0  # a node serves 100 requests a minute unless it is told otherwise, and a stop must get through
)
_UNDER_WAY = frozenset({"not_started", "running", "paused"})


class MadsciNode:
    """Has a node do what the laboratory's file says that it can do."""

    name: ClassVar[str] = "madsci"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if set(settings) != _SETTINGS:
            raise InvalidInput(f"A MADSci node has the settings {', '.join(sorted(_SETTINGS))}.")
        self.simulated = simulated_setting(settings)
        self.actions = read_actions(Path(settings["actions"]))
        self._rest, self._folder = Rest(str(settings["url"])), Path(settings["folder"])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._under_way: dict[
            str, tuple[str, float]
        ] = {}  # action to its key, and when the node was asked of it

    def state(self) -> DeviceState:
        """Ask the node how it is. See :class:`Instrument`."""
        status, readings = self._status(), self._readings()
        running = sorted(map(str, status.get("running_actions") or ()))
        if running or status.get("busy"):
            keys = [self._under_way[each][0] for each in running if each in self._under_way]
            return DeviceState("busy", readings, keys[0] if keys else "")
        if status.get("stopped") or status.get("locked"):
            return DeviceState("stopped", readings)
        if not status.get("ready"):
            return DeviceState("fault", readings, "", str(status.get("description") or "It is not ready."))
        return DeviceState("idle", readings)

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Create the action, write its identifier down, and start it. See :class:`Instrument`."""
        if action not in self.actions:
            raise InvalidInput(f"This node has no action {action!r}.")
        with self._lock:
            if self._path(key).exists():
                return
            state = self.state()
            if state.status != "idle":
                raise Conflict(f"The node is {state.status}. {state.reason}".strip())
            self._check(action, arguments)
            made = self._rest.post(f"action/{action}", {"args": dict(arguments)})
            identifier = str(made.get("action_id"))
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identifier):
                raise Unavailable(f"The node created an action {identifier!r:.80}, which is no identifier.")
            self._keep(key, {"action": identifier})
            self._under_way[identifier] = (key, 0.0)
            try:
                answer = self._rest.post(f"action/{action}/{identifier}/start")
            except Conflict as error:
                self._keep(key, {"failed": error.message})
                raise
            # It has forgotten what it has just created, or took something else in between: neither has begun.
            if answer.get("status") == "not_ready" or forgotten(answer):
                self._keep(key, {"failed": words_of(answer)})
                raise Conflict(f"The node did not start it: {words_of(answer)}")

    def outcome(self, key: str) -> Outcome:
        """Ask the node by the action's identifier. See :class:`Instrument`."""
        path = self._path(key)
        if not path.exists():
            return NeverStarted()
        kept = json.loads(path.read_bytes())
        if not {"failed", "result"} & set(kept):
            found = self._found(key, kept["action"])
            if isinstance(found, Outcome):
                return found
            kept = found
        if "failed" in kept:
            return Failed(kept["failed"])
        files = self._files(key)
        return measured(kept["result"], files.read_bytes() if files.exists() else b"")

    def _found(self, key: str, action: str) -> Outcome | dict[str, Any]:
        """Return what the node says of an action: what is final as it is kept, the rest as an outcome."""
        asked = self._under_way.get(action, (key, 0.0))[1]
        if time.monotonic() - asked < _ASK_EVERY_S:
            return Running()
        result = self._rest.get(f"action/{action}/result")
        status = str(result.get("status"))
        if status in _UNDER_WAY:
            self._under_way[action] = (key, time.monotonic())
            return Running()
        if status == "succeeded":
            if result.get("files"):
                write_whole(self._files(key), self._rest.file(f"action/{action}/download"))
            kept = {"action": action, "result": result.get("json_result")}
        elif status in ("failed", "cancelled", "not_ready"):
            kept = {"action": action, "failed": f"The node says {status}: {words_of(result)}"[:2000]}
        else:
            return Unknown(
                f"The node says {status!r:.40} of the action that was sent to it: {words_of(result)}. It may have run."
            )
        self._keep(key, kept)
        self._under_way.pop(action, None)
        return kept

    def stop(self) -> None:
        """Stop it by its own `safety_stop`, lock it, and see that nothing runs. See :class:`Instrument`."""
        stopped = self._command("safety_stop")
        locked = self._command("lock")
        if not stopped.get("success"):
            raise Conflict(f"The node did not stop: {words_of(stopped)}")
        self._until(
            lambda status: not status.get("running_actions") and not status.get("busy"), "end its action"
        )
        if not locked.get("success"):
            raise Conflict(f"What ran is stopped, but the node could not be locked: {words_of(locked)}")

    def release(self) -> None:
        """Reset the node, which ends stop and lock, and wait until it is ready. See :class:`Instrument`."""
        answer = self._command("reset")
        if not answer.get("success"):
            raise Conflict(f"The node could not be reset: {words_of(answer)}")
        self._until(lambda status: bool(status.get("ready")), "become ready")

    def close(self) -> None:
        """Close the connections. See :class:`Instrument`."""
        self._rest.close()

    def _check(self, action: str, arguments: Mapping[str, Value]) -> None:
        """Refuse what the node would not understand, and a node that could not be stopped."""
        info = self._rest.get("info")
        known = (info.get("actions") or {}).get(action)
        if known is None:
            raise Conflict(f"The node has no action {action!r}; the laboratory's file says that it has.")
        takes = set(known.get("args") or ())
        if not set(arguments) <= takes and not known.get("accepts_var_kwargs"):
            raise Conflict(f"The node's {action!r} takes {', '.join(sorted(takes)) or 'nothing'}.")
        commands = (info.get("capabilities") or {}).get("admin_commands") or ()
        if "safety_stop" not in commands:
            raise Conflict("The node has no `safety_stop`, so nothing is started on it.")

    def _status(self) -> dict[str, Any]:
        status = self._rest.get("status")
        if "running_actions" not in status:
            raise Unavailable("What answers there is no MADSci node.")
        return status

    def _readings(self) -> dict[str, Reading]:
        found = self._rest.get("state")
        said = found.get("simulated") is True  # a real node knows of no such word
        if said != self.simulated:
            raise Conflict(
                f"The site says simulated = {str(self.simulated).lower()} of this node, and it says that it is "
                f"{'simulated' if said else 'not'}. Correct the site file."
            )
        return {
            str(name): value
            for name, value in found.items()
            if isinstance(value, int | float | str) and not isinstance(value, bool)
        }

    def _command(self, name: str) -> dict[str, Any]:
        """Send an administrative command, again while the node says that it was asked too often."""
        deadline = time.monotonic() + _STOP_S
        while True:
            try:
                return self._rest.post(f"admin/{name}")
            except Unavailable as error:
                if "429" not in error.message or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)

    def _until(self, true: Callable[[dict[str, Any]], bool], what: str) -> None:
        deadline, said = time.monotonic() + _STOP_S, ""
        while time.monotonic() < deadline:
            try:
                if true(status := self._status()):
                    return
                said = str(status.get("description") or "")
            except GenesisError as error:
                said = error.message
            time.sleep(_PAUSE_S)
        raise DeadlineExceeded(f"The node did not {what} within {_STOP_S:g} s. {said}".strip())

    def _path(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, 'plan')}.json"

    def _files(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, 'plan')}.zip"

    def _keep(self, key: str, kept: Mapping[str, Any]) -> None:
        write_whole(self._path(key), json.dumps(kept).encode())
