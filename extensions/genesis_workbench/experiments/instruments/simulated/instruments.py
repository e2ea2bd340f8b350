"""The adapters of the simulated devices. Setting: `folder`, where their process keeps its address."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.core.errors import Conflict, InvalidInput, Unavailable
from genesis_workbench.experiments.instruments._base import (
    Action,
    DeviceState,
    Done,
    Failed,
    Name,
    NeverStarted,
    Outcome,
    Quantity,
    Running,
    Unknown,
    Value,
)

_TIMEOUT_S = 5.0
_SAMPLE = {"sample": Name("Name of the sample")}


class SimulatedInstrument:
    """Talks to one device of a simulated laboratory."""

    name: ClassVar[str]
    simulated: ClassVar[bool] = True
    device: ClassVar[str]
    actions: ClassVar[Mapping[str, Action]]

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if set(settings) != {"folder"}:
            raise InvalidInput(
                f"A simulated device has the one setting 'folder'; it was given {sorted(settings)}."
            )
        self._address = Path(settings["folder"]) / "twin.json"
        self._session = uuid.uuid4().hex

    def state(self) -> DeviceState:
        """Ask how it is. See :class:`Instrument`."""
        return DeviceState(**self._ask("state"))

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Begin. See :class:`Instrument`."""
        self._ask("start", key=key, action=action, arguments=dict(arguments), session=self._session)

    def outcome(self, key: str) -> Outcome:
        """Ask what became of it. See :class:`Instrument`."""
        found = self._ask("outcome", key=key, session=self._session)
        match found["state"]:
            case "running":
                return Running()
            case "never":
                return NeverStarted()
            case "done":
                return Done(
                    {name: pair[0] for name, pair in found["values"].items()},
                    {name: pair[1] for name, pair in found["values"].items()},
                    {name: text.encode() for name, text in found["files"].items()},
                )
            case "failed":
                return Failed(found["reason"])
        return Unknown(found["reason"])

    def stop(self) -> None:
        """Stop at once. See :class:`Instrument`."""
        self._ask("stop")

    def release(self) -> None:
        """Let it be used again. See :class:`Instrument`."""
        self._ask("release")

    def close(self) -> None:
        """Nothing stays open between two calls. See :class:`Instrument`."""

    def _ask(self, what: str, **more: Any) -> Any:
        try:
            where = json.loads(self._address.read_bytes())
            with socket.create_connection(("127.0.0.1", where["port"]), timeout=_TIMEOUT_S) as line:
                asked = {"secret": where["secret"], "do": what, "device": self.device, **more}
                line.sendall(json.dumps(asked).encode() + b"\n")
                with line.makefile("rb") as answers:
                    answer = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"The simulated {self.device} does not answer. Start its process: workbench laboratory --simulated.",
                detail=str(error),
            ) from error
        if "refused" in answer:
            raise Conflict(answer["refused"])
        return answer["answer"]


class SimulatedHandler(SimulatedInstrument):
    """A liquid handler that mixes two precursor solutions."""

    name: ClassVar[str] = "simulated_handler"
    device: ClassVar[str] = "handler"
    actions: ClassVar[Mapping[str, Action]] = {
        "mix": Action(
            "Mix two precursor solutions and spin a film of it.",
            {
                **_SAMPLE,
                "iodide": Quantity("uL", 0, 200, "Volume of the iodide precursor"),
                "bromide": Quantity("uL", 0, 200, "Volume of the bromide precursor"),
            },
            {"dispensed_iodide": "uL", "dispensed_bromide": "uL"},
            longest_s=3600,
        )
    }


class SimulatedFurnace(SimulatedInstrument):
    """A furnace with a door and room for one sample."""

    name: ClassVar[str] = "simulated_furnace"
    device: ClassVar[str] = "furnace"
    actions: ClassVar[Mapping[str, Action]] = {
        "load": Action(
            "Open, put a sample in, close.", _SAMPLE, interlock='sample == "" and temperature < 60'
        ),
        "anneal": Action(
            "Heat, hold and cool down.",
            {
                "temperature": Quantity("degC", 25, 350, "Temperature of the plateau"),
                "duration": Quantity("s", 1, 86400, "Time on the plateau"),
            },
            {"plateau": "degC"},
            interlock='door == "closed" and sample != ""',
        ),
        "unload": Action("Wait until it is cool, open, take the sample out if there is one, close."),
        "open_door": Action("Open the door.", interlock="temperature < 60"),
        "close_door": Action("Close the door."),
    }


class SimulatedSpectrometer(SimulatedInstrument):
    """A spectrometer that measures the photoluminescence of a film; the spectrum is kept as a file."""

    name: ClassVar[str] = "simulated_spectrometer"
    device: ClassVar[str] = "spectrometer"
    actions: ClassVar[Mapping[str, Action]] = {
        "measure": Action(
            "Measure the spectrum of a sample in the rack, and fit its line.",
            {**_SAMPLE, "integration": Quantity("s", 0.1, 600, "Integration time")},
            {"peak_energy": "eV", "peak_intensity": "1/s", "linewidth": "eV"},
            longest_s=3600,
        )
    }
