"""Trials that a person carries out: they wait, as long as it takes, until somebody enters what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.experiments.executors._base import Outcome, Place, Signature
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit


class PersonArguments(Record):
    """What a person is asked for."""

    outcomes: dict[str, Unit] = Field(min_length=1, description="What is entered: name to unit.")
    asks: str = Field("", max_length=2000, description="What the person is told to do.")
    parameters: dict[str, Unit] | None = Field(
        None, description="What may be varied: name to unit; all of the space where left out."
    )
    simulated: bool = Field(False, description="Whether what is entered comes from a simulator.")


class PersonExecutor:
    """Does nothing itself: what a person enters goes into the ledger under their own name."""

    name: ClassVar[str] = "person"
    settings: ClassVar[type[Record]] = PersonArguments

    def __init__(self, place: Place) -> None:
        pass

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse what asks for nothing. See :class:`Executor`."""
        read(PersonArguments, self.name, arguments)

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        given = read(PersonArguments, self.name, arguments)
        return Signature(given.parameters, given.outcomes, simulated=given.simulated)

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Nothing: the event that it has started is what the person sees. See :class:`Executor`."""

    def observe(self, key: str) -> Outcome | None:
        """Nothing is known here: the person's own word ends it. See :class:`Executor`."""
        return None

    def cancel(self, key: str) -> None:
        """Nothing: an experiment that has ended asks nobody any more. See :class:`Executor`."""
