"""One device as its gateway knows it: the instrument, the site's narrower limits, interlocks, reservation."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.expression import Expression, Undefined
from genesis_workbench.core.site import DeviceSection
from genesis_workbench.experiments.instruments._base import (
    Action,
    DeviceState,
    Instrument,
    Outcome,
    Quantity,
    Reading,
    Value,
    finite,
)

_AGAIN_AFTER_S = 0.2
log = logging.getLogger(__name__)


class Device:
    """A device of a laboratory.

    Raises
    ------
    InvalidInput
        If the site's limits or interlocks name what the instrument does not have, or would widen its limits.
    """

    def __init__(self, section: DeviceSection) -> None:
        self.name = section.name
        make = plugins.load("instruments", section.instrument)
        try:
            self.instrument: Instrument = make(dict(section.settings))
        except GenesisError:
            raise
        except (
            Exception
        ) as error:  # a port that is a word, a folder that cannot be made, or a mistake of the adapter
            raise InvalidInput(
                f"The instrument {section.instrument!r} of {section.name} cannot be used with its settings: "
                f"{type(error).__name__}: {error!s:.300}."
            ) from error
        self.actions: dict[str, Action] = dict(self.instrument.actions)
        self._logged: set[tuple[str, type[Exception]]] = set()
        for where, (low, high, unit) in section.limits.items():
            action, _, parameter = where.partition(".")
            kind = self._action(action).parameters.get(parameter)
            if not isinstance(kind, Quantity):
                raise InvalidInput(
                    f"{section.name} has no quantity {where!r} to limit; see its instrument's actions."
                )
            narrowed = {**self.actions[action].parameters, parameter: kind.narrowed(low, high, unit)}
            self.actions[action] = dataclasses.replace(self.actions[action], parameters=narrowed)
        self._interlocks = {
            name: [Expression(action.interlock)] for name, action in self.actions.items() if action.interlock
        }
        for name, condition in section.interlocks.items():
            self._action(name)
            self._interlocks.setdefault(name, []).append(Expression(condition))

    def ask(self, what: str, *arguments: Any) -> Any:
        """Call a method of the instrument. Whatever it raises that its contract does not know counts as silence."""
        try:
            return getattr(self.instrument, what)(*arguments)
        except GenesisError:
            raise
        except Exception as error:  # an adapter's mistake must not end the threads that watch, run and stop
            if (what, type(error)) not in self._logged:
                self._logged.add((what, type(error)))
                log.exception("the adapter of %s failed in `%s`", self.name, what)
            raise Unavailable(
                f"The adapter of {self.name} failed: {type(error).__name__}: {error!s:.300}."
            ) from error

    def state(self) -> DeviceState:
        """Ask how it is. Readings are what JSON can hold; those that say nothing, such as NaN, are named `unreadable`."""
        found = self.ask("state")
        if not isinstance(found, DeviceState):
            raise Unavailable(f"The adapter of {self.name} answered {found!r:.80}, which is no state.")
        given = {str(name): value for name, value in found.readings.items()}
        readings = {
            name: value if isinstance(value, str) or finite(value) else str(value)
            for name, value in given.items()
        }
        odd = [name for name, value in given.items() if not (isinstance(value, str | bool) or finite(value))]
        return dataclasses.replace(found, readings=readings, unreadable=tuple(odd))

    def outcome(self, key: str) -> Outcome:
        """Ask what became of a key."""
        found = self.ask("outcome", key)
        if not isinstance(found, Outcome):
            raise Unavailable(f"The adapter of {self.name} answered {found!r:.80}, which is no outcome.")
        return found

    def tell(self, what: Literal["stop", "release"]) -> str:
        """Tell it to stop or that it is released, once more where it is silent; return what it did, in words."""
        for last in (False, True):
            try:
                self.ask(what)
            except GenesisError as error:
                if last:
                    return f"does not answer: {error.message}"
                time.sleep(_AGAIN_AFTER_S)
            else:
                break
        return {"stop": "stopped", "release": "released"}[what]

    def accept(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Value]:
        """Return arguments in the action's units; InvalidInput where a limit would be crossed."""
        try:
            return self._action(action).accept(arguments)
        except InvalidInput as error:
            raise InvalidInput(f"{self.name}.{action}: {error.message}") from error

    def check_interlocks(self, action: str, readings: Mapping[str, Mapping[str, Reading]]) -> None:
        """Raise Conflict where an interlock does not hold, or cannot be evaluated.

        Parameters
        ----------
        readings : mapping
            Readings of every device, by its name.
        """
        known: dict[str, Reading] = {
            f"{device}_{name}": value for device, values in readings.items() for name, value in values.items()
        }
        known |= readings.get(self.name, {})
        for condition in self._interlocks.get(action, ()):
            try:
                condition.check_names(known)
                holds = condition(known) is True
            except (Undefined, InvalidInput):
                holds = False  # what cannot be read does not hold
            if not holds:
                shown = ", ".join(
                    f"{name} = {known.get(name, 'not known')!r}" for name in sorted(condition.names)
                )
                raise Conflict(
                    f"The interlock of {self.name}.{action} does not hold: {condition.text}; {shown}."
                )

    def asked_by(self, action: str, devices: Collection[str]) -> set[str]:
        """Return which of a laboratory's devices have to be asked before an action, for its interlocks."""
        names = {name for each in self._interlocks.get(action, ()) for name in each.names}
        others = {each for each in devices if any(name.startswith(f"{each}_") for name in names)}
        return others | {self.name} if names else set()

    def misnamed(self, readings: Mapping[str, Mapping[str, Reading]], devices: Collection[str]) -> list[str]:
        """Return what is wrong with names in interlocks, by the readings of the devices that answered.

        It is said and not refused: a device may read more later. Until then the interlock does not hold.
        """
        known = {f"{device}_{name}" for device, values in readings.items() for name in values}
        known |= set(readings.get(self.name, ()))
        return [
            f"The interlock of {self.name}.{action} names {name!r}, which no device reads; {self.name} reads "
            f"{', '.join(readings.get(self.name, ())) or 'nothing'}. Until it does, the action never starts."
            for action, conditions in self._interlocks.items()
            for name in sorted({name for each in conditions for name in each.names} - known)
            if not any(
                each not in readings and (each == self.name or name.startswith(f"{each}_"))
                for each in devices
            )
        ]

    def described(self) -> dict[str, Any]:
        """Return its actions as JSON values."""
        return {
            name: {
                "description": action.description,
                "interlocks": [each.text for each in self._interlocks.get(name, ())],
                "outcomes": dict(action.outcomes),
                "parameters": {each: dataclasses.asdict(kind) for each, kind in action.parameters.items()},
            }
            for name, action in self.actions.items()
        }

    def _action(self, name: str) -> Action:
        if name not in self.actions:
            raise NotFound(f"{self.name} cannot {name!r:.60}; it can {', '.join(self.actions)}.")
        return self.actions[name]
