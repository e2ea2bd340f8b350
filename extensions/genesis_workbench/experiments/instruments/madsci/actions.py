"""What a node can do, in units and with limits: a node names arguments and types, the laboratory's file says the rest.

    {"heat": {"description": "Hold a temperature.",
              "parameters": {"temperature": {"unit": "kelvin", "low": 290, "high": 370}, "sample": {}},
              "outcomes": {"mean_temperature": "kelvin"}, "longest_s": 7200}}

A parameter without a unit is a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.units import check_unit
from genesis_workbench.experiments.instruments._base import Action, Name, Quantity


class _Parameter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit: str | None = None
    low: float = 0.0
    high: float = 0.0
    description: str = ""

    def made(self) -> Quantity | Name:
        if self.unit is None:
            return Name(self.description)
        check_unit(self.unit)
        if not self.low < self.high:
            raise InvalidInput(f"its limits are {self.low:g} to {self.high:g}; give `low` and `high`")
        return Quantity(self.unit, self.low, self.high, self.description)


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: str = Field(min_length=1)
    parameters: dict[str, _Parameter] = Field(default_factory=dict)
    outcomes: dict[str, str] = Field(default_factory=dict)
    interlock: str = ""
    longest_s: float = Field(24 * 3600.0, gt=0)

    def made(self) -> Action:
        for unit in self.outcomes.values():
            check_unit(unit)
        parameters = {name: each.made() for name, each in self.parameters.items()}
        return Action(self.description, parameters, self.outcomes, self.interlock, self.longest_s)


def read_actions(path: Path) -> Mapping[str, Action]:
    """Return the actions that a file describes.

    Raises
    ------
    InvalidInput
        If it cannot be read, or describes none.
    """
    try:
        found = TypeAdapter(dict[str, _Action]).validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The actions of a node cannot be read at {path}: {error.strerror}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise InvalidInput(f"{path} describes no actions: {where}: {fault['msg']}.") from error
    if not found:
        raise InvalidInput(f"{path} describes no actions.")
    return {name: _made(path, name, each) for name, each in found.items()}


def _made(path: Path, name: str, described: _Action) -> Action:
    try:
        return described.made()
    except InvalidInput as error:
        raise InvalidInput(f"{path}, action {name!r}: {error.message}") from error
