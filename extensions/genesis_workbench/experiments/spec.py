"""The whole description of an experiment, as it travels and as the ledger keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.expression import Expression, Undefined
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.experiments.constraints import Constraint
from genesis_workbench.experiments.constraints import check as check_space
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.parameters import AnyParameter, Parameter
from genesis_workbench.experiments.record import Name, Record, Unit, given
from genesis_workbench.experiments.trial import MAIN


class Objective(Record):
    """The outcome that the proposer improves."""

    name: Name
    unit: Unit = ""
    maximize: bool = True

    def __init__(self, name: Any = ..., unit: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, unit=unit), **more)


class Cost(Record):
    """What all trials together may cost.

    Attributes
    ----------
    limit : float
        In `unit`.
    expression : str, optional
        What one trial costs, over the names of its parameters, such as ``0.5 * nodes``: known before it starts, so
        that the limit is never passed; an inactive parameter counts as 0. A trial that fails costs the same.
    metric : str, optional
        Instead: the outcome that says what a trial has cost. Nothing is proposed once the limit is reached; trials
        under way then are finished.
    """

    limit: float = Field(gt=0)
    unit: Unit = ""
    expression: str | None = Field(None, max_length=500)
    metric: Name | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.expression is None) == (self.metric is None):
            raise ValueError("a cost has either an expression or a metric")
        if self.expression is not None:
            Expression(self.expression, condition=False)
        return self

    def planned(self, space: Sequence[AnyParameter], parameters: Mapping[str, Any]) -> float | None:
        """Return what a trial will cost; None where only its outcome says so.

        Raises
        ------
        InvalidInput
            If that is no number from 0 on.
        """
        if self.expression is None:
            return None
        try:
            cost = float(
                Expression(self.expression, condition=False)(
                    {**{each.name: 0 for each in space}, **parameters}
                )
            )
        except (Undefined, ValueError) as error:
            raise InvalidInput(
                f"The cost {self.expression!r} has no value for {dict(parameters)}: {error}."
            ) from error
        if cost < 0:
            raise InvalidInput(f"The cost {self.expression!r} is {cost:g} for {dict(parameters)}, below 0.")
        return cost


class Budget(Record):
    """What the experiment may cost."""

    trials: int = Field(
        gt=0, le=100_000, description="Trials that are proposed at most; those that fail count."
    )
    cost: Cost | None = Field(None, description="What all trials together may cost besides.")


class Arm(Record):
    """Trials to compare with: every n-th point is not the proposer's but random, or one that is given.

    Attributes
    ----------
    name : str
        What rules call it. The proposer's own trials are the arm ``main``.
    every : int
        2 makes every second point one of this arm.
    parameters : dict, optional
        The point; random ones where it is left out.
    """

    name: Name
    every: int = Field(2, ge=2, le=1000)
    parameters: dict[str, Any] | None = None

    def __init__(self, name: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name), **more)


class ExperimentSpec(Record):
    """An experiment as JSON."""

    title: str = Field(min_length=1, max_length=200)
    hypothesis: Hypothesis
    space: tuple[Parameter, ...] = Field(min_length=1, max_length=100)
    constraints: tuple[Constraint, ...] = Field(
        (), max_length=100, description="What parameters must satisfy together."
    )
    objective: Objective
    further_objectives: tuple[Objective, ...] = Field(
        (), max_length=10, description="More of them: the experiment then looks for the Pareto front."
    )
    outcome_constraints: tuple[Limit, ...] = Field(
        (), max_length=20, description="Limits that outcomes must keep to count as good."
    )
    arms: tuple[Arm, ...] = Field((), max_length=10, description="Trials to compare with.")
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
        names = [objective.name for objective in self.objectives]
        if len(set(names)) < len(names):
            raise ValueError(f"an objective is named twice: {names}")
        arms = [MAIN, *(arm.name for arm in self.arms)]
        if len(set(arms)) < len(arms):
            raise ValueError(f"an arm is named twice: {arms}")
        odd = sorted(set(self.hypothesis.rule.arms) - set(arms))
        if odd:
            raise ValueError(
                f"the rule looks at the arm {odd[0]!r}, but the experiment has only {', '.join(arms)}"
            )
        for arm in self.arms:
            if arm.parameters is not None:
                Domain(self.space, self.constraints).check(arm.parameters)
        if self.budget.cost is not None and self.budget.cost.expression is not None:
            Expression(self.budget.cost.expression, condition=False).check_names(
                [parameter.name for parameter in self.space]
            )
        return self

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the first one first."""
        return (self.objective, *self.further_objectives)

    def arm(self, point: int) -> Arm | None:
        """Return the arm to which a point belongs; None where it is the proposer's."""
        return next((arm for arm in self.arms if point % arm.every == 0), None)
