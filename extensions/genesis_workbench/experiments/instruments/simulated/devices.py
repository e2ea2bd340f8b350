"""The three devices: what each refuses, how long it takes, and what it does to the samples and measures.

Each is a pair of functions over the laboratory's facts, a dictionary of JSON values. `elapsed_s` is less than the whole
duration where the emergency stop came in between. Noise comes from the run's own generator, so the same key gives the
same noise; drift comes from how much the device was used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from genesis_workbench.core.errors import Conflict
from genesis_workbench.experiments.instruments.simulated import physics

Facts = dict[str, Any]
Arguments = Mapping[str, Any]
Result = dict[str, Any]

FIRST_FACTS: Facts = {
    "samples": {},
    "used": {"handler": 0, "furnace": 0, "spectrometer": 0},
    "door": "closed",
    "inside": "",
    "furnace_c": physics.ROOM_C,
}


def begin(device: str, action: str, facts: Facts, arguments: Arguments) -> float:
    """Return how many seconds an action takes; Conflict where the device itself refuses it."""
    return _BEGIN[device, action](facts, arguments)


def end(
    device: str, action: str, facts: Facts, arguments: Arguments, noise: np.random.Generator, elapsed_s: float
) -> Result:
    """Do to the laboratory what the action does, and return what is measured, or ``{"failed": why}``."""
    facts["used"][device] += 1
    return _END[device, action](facts, arguments, noise, elapsed_s)


def readings(device: str, facts: Facts) -> dict[str, float | str]:
    """Return what a device at rest shows."""
    if device == "furnace":
        return {"temperature": facts["furnace_c"], "door": facts["door"], "sample": facts["inside"]}
    return {"operations": float(facts["used"][device])}


def _mix(facts: Facts, arguments: Arguments) -> float:
    if arguments["sample"] in facts["samples"]:
        raise Conflict(f"There is a sample {arguments['sample']!r} already.")
    if arguments["iodide"] + arguments["bromide"] < 20:
        raise Conflict("A film needs at least 20 uL in all.")
    return 30.0 + 0.5 * float(arguments["iodide"] + arguments["bromide"])


def _mixed(facts: Facts, arguments: Arguments, noise: np.random.Generator, _elapsed_s: float) -> Result:
    # Random error 1 % and 0.3 uL, as ISO 8655-2 allows; the calibration drifts by 0.01 % with each use, up to 2 %.
    drift = 1 + min(1e-4 * facts["used"]["handler"], 0.02)
    iodide, bromide = (
        max(0.0, float(arguments[name]) * drift * (1 + 0.01 * noise.normal()) + 0.3 * noise.normal())
        if arguments[name] > 0
        else 0.0
        for name in ("iodide", "bromide")
    )
    x = bromide / (iodide + bromide)
    facts["samples"][arguments["sample"]] = {"bromide": x, "grown": 0.0, "lost": 0.0, "place": "rack"}
    # The balance under the vial reads to 0.2 uL.
    return {
        "dispensed_iodide": [iodide + 0.2 * float(noise.normal()), 0.2],
        "dispensed_bromide": [bromide + 0.2 * float(noise.normal()), 0.2],
    }


def _load(facts: Facts, arguments: Arguments) -> float:
    sample = facts["samples"].get(arguments["sample"])
    if sample is None or sample["place"] != "rack":
        raise Conflict(f"The sample {arguments['sample']!r} is not in the rack.")
    if facts["inside"]:
        raise Conflict(f"The furnace holds the sample {facts['inside']!r}.")
    return 20.0


def _loaded(facts: Facts, arguments: Arguments, _noise: np.random.Generator, _elapsed_s: float) -> Result:
    facts["samples"][arguments["sample"]]["place"] = "furnace"
    facts["inside"], facts["door"] = arguments["sample"], "closed"
    return {}


def _anneal(facts: Facts, arguments: Arguments) -> float:
    if facts["door"] != "closed" or not facts["inside"]:
        raise Conflict("The furnace's own interlock: it heats only with the door closed and a sample inside.")
    return physics.anneal_duration(facts["furnace_c"], arguments["temperature"], arguments["duration"])


def _annealed(facts: Facts, arguments: Arguments, noise: np.random.Generator, elapsed_s: float) -> Result:
    # The thermocouple drifts by 0.02 K with each use, up to 3 K: the film is hotter than the controller thinks.
    offset = min(0.02 * facts["used"]["furnace"], 3.0) + 0.5 * float(noise.normal())
    target, hold = arguments["temperature"] + offset, arguments["duration"]
    grown, lost = physics.annealed(facts["furnace_c"], target, hold, elapsed_s)
    sample = facts["samples"][facts["inside"]]
    sample["grown"] += grown
    sample["lost"] += lost
    facts["furnace_c"] = physics.furnace_temperature(facts["furnace_c"], target, hold, elapsed_s)
    return {"plateau": [target - offset + 0.3 * float(noise.normal()), 0.5]}


def _unload(facts: Facts, _arguments: Arguments) -> float:
    return 20.0 + _cooling(facts)


def _unloaded(facts: Facts, _arguments: Arguments, _noise: np.random.Generator, _elapsed_s: float) -> Result:
    facts["furnace_c"] = min(facts["furnace_c"], 40.0)
    if facts["inside"]:
        facts["samples"][facts["inside"]]["place"] = "rack"
    facts["inside"], facts["door"] = "", "closed"
    return {}


def _cooling(facts: Facts) -> float:
    return (
        physics.anneal_duration(facts["furnace_c"], facts["furnace_c"], 0.0)
        if facts["furnace_c"] > 40
        else 0.0
    )


def _door(_facts: Facts, _arguments: Arguments) -> float:
    return 2.0


def _door_is(state: str) -> Callable[[Facts, Arguments, np.random.Generator, float], Result]:
    def moved(facts: Facts, _arguments: Arguments, _noise: np.random.Generator, _elapsed_s: float) -> Result:
        facts["door"] = state
        return {}

    return moved


def _measure(facts: Facts, arguments: Arguments) -> float:
    sample = facts["samples"].get(arguments["sample"])
    if sample is None or sample["place"] != "rack":
        raise Conflict(f"The sample {arguments['sample']!r} is not in the rack.")
    return 10.0 + float(arguments["integration"])


def _measured(facts: Facts, arguments: Arguments, noise: np.random.Generator, _elapsed_s: float) -> Result:
    sample, used = facts["samples"][arguments["sample"]], facts["used"]["spectrometer"]
    lamp = math.exp(-5e-4 * used)  # the lamp fades
    shift = 2e-4 * math.sin(used / 40)  # and the grating moves with the room's temperature
    intact = physics.quality(sample["grown"], sample["lost"])
    rate = physics.emission(sample["bromide"], intact, lamp, shift)
    seconds = float(arguments["integration"])
    # Shot noise of light and dark counts, and 3 counts of read noise in each channel.
    counts = noise.poisson(rate * seconds) + 3.0 * noise.normal(size=rate.shape)
    lines = [f"{energy:.4f},{count:.1f}" for energy, count in zip(physics.GRID_EV, counts, strict=True)]
    spectrum = "energy_eV,counts\n" + "\n".join(lines) + "\n"
    found = physics.fit_peak(np.asarray(counts), seconds)
    if found is None:
        return {
            "failed": "The spectrum has no line: the film is not crystalline, or has decomposed.",
            "file": spectrum,
        }
    return {**{name: list(pair) for name, pair in found.items()}, "file": spectrum}


_BEGIN: dict[tuple[str, str], Callable[[Facts, Arguments], float]] = {
    ("handler", "mix"): _mix,
    ("furnace", "load"): _load,
    ("furnace", "anneal"): _anneal,
    ("furnace", "unload"): _unload,
    ("furnace", "open_door"): _door,
    ("furnace", "close_door"): _door,
    ("spectrometer", "measure"): _measure,
}
_END: dict[tuple[str, str], Callable[[Facts, Arguments, np.random.Generator, float], Result]] = {
    ("handler", "mix"): _mixed,
    ("furnace", "load"): _loaded,
    ("furnace", "anneal"): _annealed,
    ("furnace", "unload"): _unloaded,
    ("furnace", "open_door"): _door_is("open"),
    ("furnace", "close_door"): _door_is("closed"),
    ("spectrometer", "measure"): _measured,
}
