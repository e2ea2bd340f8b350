"""The whole description of an experiment, as it travels and as the ledger keeps it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.experiments.constraints import Constraint
from genesis_workbench.experiments.constraints import check as check_space
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.record import Name, Record, Unit, given
from genesis_workbench.experiments.space import Parameter


class Objective(Record):
    """The outcome that the proposer improves."""

    name: Name
    unit: Unit = ""
    maximize: bool = True

    def __init__(self, name: Any = ..., unit: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, unit=unit), **more)


class Budget(Record):
    """What the experiment may cost."""

    trials: int = Field(
        gt=0, le=100_000, description="Trials that are proposed at most; those that fail count."
    )


class ExperimentSpec(Record):
    """An experiment as JSON."""

    title: str = Field(min_length=1, max_length=200)
    hypothesis: Hypothesis
    space: tuple[Parameter, ...] = Field(min_length=1, max_length=100)
    constraints: tuple[Constraint, ...] = Field(
        (), max_length=100, description="What parameters must satisfy together."
    )
    objective: Objective
    executor: str = Field(description="Name of the plug-in that executes a trial.")
    executor_arguments: dict[str, Any] = Field(
        default_factory=dict, description="What stays the same over all trials."
    )
    proposer: str = Field("gp", description="Name of the plug-in that proposes parameters.")
    budget: Budget
    parallel: int = Field(2, gt=0, le=1000, description="Trials under way at once.")
    seed: int = Field(0, ge=0, lt=2**31)
    repeats: int = Field(
        1, gt=0, le=1000, description="Trials of each point that is proposed, to measure the noise."
    )
    groups: tuple[str, ...] = Field((), description="Groups that may look at it.")
    model_references: tuple[str, ...] = Field((), description="Models it builds on, such as name@1.")
    dataset_references: tuple[str, ...] = Field((), description="Datasets it builds on.")

    @field_validator("groups")
    @classmethod
    def _groups(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({check_slug(group, "group") for group in groups}))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_space(self.space, self.constraints)
        return self
