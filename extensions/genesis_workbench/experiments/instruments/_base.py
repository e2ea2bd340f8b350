"""The contract of an instrument: a device with named actions, limits in units, and an answer to "what became of it?".

An instrument class is an adapter in the gateway's process; the device itself lives elsewhere and outlives it. Its
settings come from the site file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.units import convert

Value = float | str
Reading = float | str


def finite(value: Any) -> bool:
    """Whether it is a number that a float can hold, and neither a bool nor infinite."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def simulated_setting(settings: Mapping[str, Any]) -> bool:
    """Return what the site says of a device: whether it is simulated.

    Raises
    ------
    InvalidInput
        If it is not true or false; the text "false" would count as true.
    """
    value = settings["simulated"]
    if not isinstance(value, bool):
        raise InvalidInput(
            f"`simulated` is {value!r:.40}; write simulated = true or simulated = false, without quotes."
        )
    return value


@dataclass(frozen=True)
class Quantity:
    """A number that an action takes, in `unit`, from `low` to `high`, both included."""

    unit: str
    low: float
    high: float
    description: str = ""

    def accept(self, name: str, given: Any) -> float:
        """Return what was given in this quantity's unit.

        Parameters
        ----------
        given : mapping
            ``{"value": 100, "unit": "degC"}``.

        Raises
        ------
        InvalidInput
            If it is no number, its unit does not fit, or it lies outside the limits.
        """
        if not isinstance(given, Mapping) or set(given) != {"value", "unit"}:
            raise InvalidInput(f'{name} is {given!r:.80}; write {{"value": 1, "unit": "{self.unit}"}}.')
        number = given["value"]
        if not finite(number):
            raise InvalidInput(f"{name} is {number!r:.80}; it must be a finite number.")
        value = convert(number, str(given["unit"]), self.unit)
        # A conversion may end a rounding error above the limit that it states.
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if (
            not self.low - slack <= value <= self.high + slack
        ):  # also refuses NaN, which a conversion may give
            raise InvalidInput(
                f"{name} is {value:g} {self.unit}; the limits are {self.low:g} to {self.high:g} {self.unit}."
            )
        return min(max(value, self.low), self.high)

    def narrowed(self, low: float, high: float, unit: str) -> Quantity:
        """Return this quantity with limits that are at most as wide as both."""
        if not (finite(low) and finite(high)):
            raise InvalidInput(f"The limits {low:g} to {high:g} {unit} must be finite numbers.")
        low, high = convert(low, unit, self.unit), convert(high, unit, self.unit)
        if not max(self.low, low) <= min(self.high, high):
            raise InvalidInput(
                f"The limits {low:g} to {high:g} {self.unit} leave nothing of the device's own, {self.low:g} to "
                f"{self.high:g} {self.unit}."
            )
        return Quantity(self.unit, max(self.low, low), min(self.high, high), self.description)


@dataclass(frozen=True)
class Name:
    """A short name that an action takes, such as that of a sample."""

    description: str = ""

    def accept(self, name: str, given: Any) -> str:
        """Return what was given, if it is a name."""
        if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", given):
            raise InvalidInput(
                f"{name} is {given!r:.80}; it must be a name of 1 to 64 letters, digits, '.', '_' and '-'."
            )
        return given


@dataclass(frozen=True)
class Action:
    """What a device can do.

    Attributes
    ----------
    parameters : mapping
        What it takes; all of it has to be given.
    outcomes : mapping of str to str
        Name and unit of what it measures.
    interlock : str
        A condition on readings that must hold when it starts, such as ``door == "closed"``; readings of other devices
        are named ``device_reading``. See `experiments/expression.py`.
    longest_s : float
        Seconds after which the gateway no longer waits for it.
    """

    description: str
    parameters: Mapping[str, Quantity | Name] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    interlock: str = ""
    longest_s: float = 24 * 3600.0

    def accept(self, arguments: Mapping[str, Any]) -> dict[str, Value]:
        """Return arguments in this action's units; InvalidInput where one is missing, unknown or beyond its limits."""
        if set(arguments) != set(self.parameters):
            raise InvalidInput(
                f"It takes {', '.join(self.parameters) or 'no arguments'}; it was given "
                f"{', '.join(sorted(map(str, arguments))) or 'none'}."
            )
        return {name: kind.accept(name, arguments[name]) for name, kind in self.parameters.items()}


@dataclass(frozen=True)
class DeviceState:
    """What a device says of itself now.

    `running` is the key of what it does, where it knows; `readings` are numbers and words by name. The gateway fills in
    `unreadable`: names of readings that are neither, such as NaN and None, for which no interlock holds.
    """

    status: Literal["idle", "busy", "stopped", "fault"]
    readings: Mapping[str, Reading] = field(default_factory=dict)
    running: str = ""
    reason: str = ""
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """It is under way."""


@dataclass(frozen=True)
class NeverStarted:
    """The device is sure that it never began.

    Whoever answers this promises too that the same key, sent again, runs once however often it arrives: a request may
    still be on its way.
    """


@dataclass(frozen=True)
class Done:
    """It ended: values in the action's units, standard uncertainties, and files by name."""

    values: Mapping[str, float]
    uncertainties: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """It ended without result, or was refused, and why."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """The device cannot say whether it ran."""

    reason: str


Outcome = Running | NeverStarted | Done | Failed | Unknown


class Instrument(Protocol):
    """Talks to one device. Methods may be called from several threads at once.

    All raise Unavailable or DeadlineExceeded, within seconds, where the device does not answer.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]
    actions: ClassVar[Mapping[str, Action]]

    def state(self) -> DeviceState:
        """Ask the device how it is."""
        ...

    def start(self, key: str, action: str, arguments: Mapping[str, Value]) -> None:
        """Begin, and return without waiting for the end. `arguments` are in the action's units and within its limits.

        Raises
        ------
        Conflict, InvalidInput
            If the device refuses; it has then certainly not begun.
        """
        ...

    def outcome(self, key: str) -> Outcome:
        """Ask the device what became of `key`, after a crash of either side too. A final answer stays the same."""
        ...

    def stop(self) -> None:
        """Bring the device into its safe state at once, whatever it does. May be called at any time, and again."""
        ...

    def release(self) -> None:
        """Let it be used again after a stop."""
        ...

    def close(self) -> None:
        """Let go of connections; the device goes on."""
        ...
