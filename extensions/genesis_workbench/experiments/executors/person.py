"""Trials that a person carries out: they wait, as long as it takes, until somebody enters what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.units import check_unit
from genesis_workbench.experiments.executors._base import Outcome, Place, Signature


class PersonExecutor:
    """Does nothing itself: what a person enters goes into the ledger under their own name.

    Arguments: ``outcomes`` (name to unit of what is entered), ``asks`` (what the person is told to do), ``parameters`` (name
    to unit; all where left out) and ``simulated`` (False where left out).
    """

    name: ClassVar[str] = "person"

    def __init__(self, place: Place) -> None:
        pass

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse what asks for nothing. See :class:`Executor`."""
        odd = sorted(set(arguments) - {"outcomes", "asks", "parameters", "simulated"})
        if odd:
            raise InvalidInput(f"The executor 'person' has no argument {odd[0]!r}.")
        units = arguments.get("outcomes")
        if not isinstance(units, Mapping) or not units:
            raise InvalidInput("Say what the person enters: arguments={'outcomes': {'yield': 'percent'}}.")
        for unit in [*units.values(), *(arguments.get("parameters") or {}).values()]:
            check_unit(unit)

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        return Signature(
            arguments.get("parameters"),
            arguments["outcomes"],
            simulated=bool(arguments.get("simulated", False)),
        )

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Nothing: the event that it has started is what the person sees. See :class:`Executor`."""

    def observe(self, key: str) -> Outcome | None:
        """Nothing is known here: the person's own word ends it. See :class:`Executor`."""
        return None

    def cancel(self, key: str) -> None:
        """Nothing: an experiment that has ended asks nobody any more. See :class:`Executor`."""
