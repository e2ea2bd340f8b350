"""One device as its gateway knows it: the instrument, the site's narrower limits, interlocks, reservation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.expression import Expression, Undefined
from genesis_workbench.core.site import DeviceSection
from genesis_workbench.experiments.instruments._base import Action, Instrument, Quantity, Reading, Value


class Device:
    """A device of a laboratory.

    Raises
    ------
    InvalidInput
        If the site's limits or interlocks name what the instrument does not have, or would widen its limits.
    """

    def __init__(self, section: DeviceSection) -> None:
        self.name = section.name
        self.instrument: Instrument = plugins.load("instruments", section.instrument)(dict(section.settings))
        self.actions: dict[str, Action] = dict(self.instrument.actions)
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

    def names_elsewhere(self, action: str) -> bool:
        """Whether its interlocks may name readings of other devices."""
        return any("_" in name for each in self._interlocks.get(action, ()) for name in each.names)

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
