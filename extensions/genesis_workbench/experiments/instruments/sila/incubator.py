"""An incubator over SiLA 2. Settings: `address`, `port`, `certificate` (a file), `folder` for executions, `simulated`.

SiLA knows no keys: the server makes an identifier for each execution, and forgets all of them when it ends. The
intention is on disk before the request goes out, the identifier as soon as it comes back. With it the server is asked
after a crash of this side; where the request went out and no identifier came back, nobody knows.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from sila2.client.utils import call_rpc_function
from sila2.framework.errors.command_execution_not_finished import CommandExecutionNotFinished
from sila2.framework.errors.invalid_command_execution_uuid import InvalidCommandExecutionUUID

from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.storage import write_whole
from genesis_workbench.experiments.instruments._base import (
    Action,
    DeviceState,
    Done,
    Failed,
    NeverStarted,
    Outcome,
    Quantity,
    Running,
    Unknown,
    Value,
    simulated_setting,
)
from genesis_workbench.experiments.instruments.sila.line import Line

_STATES: dict[str, Literal["idle", "busy", "stopped"]] = {
    "idle": "idle",
    "busy": "busy",
    "stopped": "stopped",
}
_SETTINGS = {"address", "port", "certificate", "folder", "simulated"}


class SilaIncubator:
    """Keeps a plate at a temperature for a time."""

    name: ClassVar[str] = "sila"
    actions: ClassVar[Mapping[str, Action]] = {
        "incubate": Action(
            "Reach a temperature and hold it.",
            {
                "temperature": Quantity("kelvin", 277, 343, "Of the plate"),
                "duration": Quantity("s", 1, 7 * 86400, "Time at the temperature"),
            },
            {"mean_temperature": "kelvin"},
            longest_s=8 * 86400,
        )
    }

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if set(settings) != _SETTINGS:
            raise InvalidInput(f"An incubator over SiLA has the settings {', '.join(sorted(_SETTINGS))}.")
        self.simulated, self._folder = simulated_setting(settings), Path(settings["folder"])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A stop has a connection, threads and locks of its own: calls that hang do not keep it from leaving.
        self._line, self._stop_line = Line(settings), Line(settings)
        self._starting = threading.Lock()

    def state(self) -> DeviceState:
        """Ask how it is. See :class:`Instrument`."""
        feature = self._checked()
        said = str(self._line.do(feature.Status.get))
        status = _STATES.get(said)
        if status is None:
            return DeviceState("fault", {}, "", f"It says that it is {said!r:.40}.")
        return DeviceState(status, {"temperature": float(self._line.do(feature.PlateTemperature.get))})

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Send the command. See :class:`Instrument`."""
        if action not in self.actions:
            raise InvalidInput(f"An incubator cannot {action!r}.")
        with self._starting:
            if self._path(key).exists():
                return
            feature = self._checked()
            self._stop_line.incubator()  # nothing is started that could not be stopped
            status = str(self._line.do(feature.Status.get))
            if status != "idle":
                raise Conflict(f"The incubator is {status}.")
            self._keep(key, {})
            begun = self._line.do(feature.Incubate, arguments["temperature"], arguments["duration"])
            self._keep(key, {"execution": str(begun.execution_uuid)})
            begun.cancel_execution_info_subscription()

    def outcome(self, key: str) -> Outcome:
        """Ask the server by the execution's identifier. See :class:`Instrument`."""
        path = self._path(key)
        if not path.exists():
            return NeverStarted()
        kept = json.loads(path.read_bytes())
        if "execution" not in kept:
            return Unknown("The command was sent, and no answer came back: it may have run.")
        if "mean_temperature" not in kept and "failed" not in kept and "unknown" not in kept:
            found = self._found(kept["execution"])
            if not found:
                return Running()
            kept |= found
            self._keep(key, kept)
        if "failed" in kept:
            return Failed(kept["failed"])
        return (
            Unknown(kept["unknown"])
            if "unknown" in kept
            else Done({"mean_temperature": kept["mean_temperature"]})
        )

    def _found(self, execution: str) -> dict[str, Any]:
        """Return what the server says of an execution; nothing while it is under way."""
        try:
            return {"mean_temperature": float(self._line.do(self._responses, execution).MeanTemperature)}
        except Conflict as error:
            if isinstance(error.__cause__, CommandExecutionNotFinished):
                return {}
            if isinstance(error.__cause__, InvalidCommandExecutionUUID):
                return {"unknown": "The server was started again and knows nothing of it."}
            return {"failed": error.message}

    def stop(self) -> None:
        """Stop it by its own command; SiLA itself has none. See :class:`Instrument`."""
        self._stop_line.do(self._stop_line.incubator().Stop)

    def release(self) -> None:
        """Let it be used again. See :class:`Instrument`."""
        self._stop_line.do(self._stop_line.incubator().Release)

    def close(self) -> None:
        """Close the connection. See :class:`Instrument`."""
        self._line.close()
        self._stop_line.close()

    def _responses(self, execution: str) -> Any:
        feature = self._line.incubator()
        command = feature.Incubate._wrapped_command
        message = feature._pb2_module.SiLAFramework__pb2.CommandExecutionUUID(value=execution)
        answer = call_rpc_function(
            feature._grpc_stub.Incubate_Result,
            message,
            metadata=None,
            client=feature._parent_client,
            origin=command,
        )
        return command.responses.to_native_type(answer)

    def _checked(self) -> Any:
        """Return the server's feature, if the device is what the site says. A stop does not ask.

        It is asked each time: another device may have taken the address of the one before.
        """
        feature = self._line.incubator()
        said = bool(self._line.do(feature.Simulated.get))
        if said != self.simulated:
            raise Conflict(
                f"The site says simulated = {str(self.simulated).lower()} of the incubator, it says {str(said).lower()} "
                "itself. Correct the site file."
            )
        return feature

    def _keep(self, key: str, known: dict[str, Any]) -> None:
        write_whole(self._path(key), json.dumps(known).encode())

    def _path(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, 'plan')}.json"
