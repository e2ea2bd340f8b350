"""The whole description of an experiment, as it travels and as the ledger keeps it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.experiments.approval import Approval
from genesis_workbench.experiments.budget import Budget, Cost, Costs
from genesis_workbench.experiments.constraints import Constraint
from genesis_workbench.experiments.constraints import check as check_space
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.parameters import Parameter
from genesis_workbench.experiments.record import Name, Record, Unit, about, given
from genesis_workbench.experiments.steps import ONLY, Fidelity, Step, check_graph
from genesis_workbench.experiments.trial import MAIN

__all__ = ["Arm", "Budget", "Cost", "ExperimentSpec", "Objective", "Origin"]

PERSON = "person"
"""Instead of a proposer: only points that people add are tried, and the experiment waits for them."""


class Objective(Record):
    """The outcome that the proposer improves."""

    name: Name
    unit: Unit = ""
    maximize: bool = True

    def __init__(self, name: Any = ..., unit: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, unit=unit), **more)


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


class Origin(Record):
    """The experiment from which one was made.

    Attributes
    ----------
    experiment : str
        Its identifier.
    how : str
        ``fork``: its description, changed. ``replay``: its trials, run again.
    head : str
        Hash of its last event at that moment.
    """

    experiment: str = Field(max_length=60)
    how: Literal["fork", "replay"]
    head: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")


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
    executor: str = Field("", description="Name of the plug-in that executes a trial; or `steps`.")
    executor_arguments: dict[str, Any] = Field(
        default_factory=dict, description="What stays the same over all trials."
    )
    steps: tuple[Step, ...] = Field(
        (), max_length=50, description="Steps of each trial, instead of one `executor`."
    )
    fidelity: Fidelity | None = Field(
        None, description="The parameter that says how true to life a trial is."
    )
    proposer: str = Field(
        "gp", description="Name of the plug-in that proposes parameters; or `person`: points that people add."
    )
    proposer_arguments: dict[str, Any] = Field(
        default_factory=dict, description="Options of the proposer, such as the sampler of `optuna`."
    )
    fall_back: str = Field("sobol", description="The plug-in that proposes where the other one cannot.")
    proposer_limit_s: float = Field(
        120, gt=0, le=86_400, description="Seconds after which a proposer that has not answered is stopped."
    )
    budget: Budget
    cost: Costs = Field(default_factory=dict, description="What one trial costs, by amount of the budget.")
    approval: Approval = Field(
        default_factory=Approval, description="Which trials wait for a person's approval."
    )
    parallel: int = Field(2, gt=0, le=10_000, description="Trials under way at once.")
    seed: int = Field(0, ge=0, lt=2**31)
    repeats: int = Field(
        1, gt=0, le=1000, description="Trials of each point that is proposed, to measure the noise."
    )
    groups: tuple[str, ...] = Field((), description="Groups that may look at it.")
    model_references: tuple[str, ...] = Field((), description="Models it builds on, such as name@1.")
    dataset_references: tuple[str, ...] = Field((), description="Datasets it builds on.")
    warm_start: tuple[str, ...] = Field(
        (), max_length=100, description="Earlier experiments from whose trials the proposer learns."
    )
    origin: Origin | None = Field(None, description="The experiment from which this one was made.")

    @field_validator("groups")
    @classmethod
    def _groups(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({check_slug(group, "group") for group in groups}))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_space(self.space, self.constraints)
        self._check_objectives()
        self._check_arms()
        self._check_steps()
        self._check_costs()
        return self

    def _check_objectives(self) -> None:
        names = [objective.name for objective in self.objectives]
        for place, name in enumerate(names[1:]):
            if name in names[: place + 1]:
                raise InvalidInput(
                    f"an objective is named twice: {name!r}; leave one of the two out",
                    where=f"further_objectives.{place}.name",
                )

    def _check_arms(self) -> None:
        names = [MAIN, *(arm.name for arm in self.arms)]
        for place, arm in enumerate(self.arms):
            if arm.name in names[: place + 1]:
                used = "is the proposer's own" if arm.name == MAIN else "is there already"
                raise InvalidInput(
                    f"an arm is named twice: {arm.name!r} {used}; give it another name",
                    where=f"arms.{place}.name",
                )
        odd = sorted(set(self.hypothesis.rule.arms) - set(names))
        if odd:
            raise InvalidInput(
                f"the rule looks at the arm {odd[0]!r}, but the experiment has only {', '.join(names)}",
                where="hypothesis.rule",
            )
        for place, arm in enumerate(self.arms):
            if arm.parameters is not None:
                with about(f"arms.{place}.parameters"):
                    Domain(self.space, self.constraints).check(arm.parameters)

    def _check_steps(self) -> None:
        if bool(self.executor) == bool(self.steps):
            raise InvalidInput(
                f"an experiment has either an executor or steps; {'leave one of them out' if self.steps else 'choose one'}",
                where="executor",
            )
        if self.steps and self.executor_arguments:
            raise InvalidInput(
                "each step has its own arguments; executor_arguments goes with executor",
                where="executor_arguments",
            )
        check_graph(self.steps)
        names = {parameter.name: parameter for parameter in self.space}
        for place, step in enumerate(self.steps):
            named = [("takes", source) for source in step.takes.values() if "." not in source]
            named += [("when.parameter", step.when.parameter)] if step.when else []
            for field, name in named:
                if name not in names:
                    raise InvalidInput(
                        f"the step {step.name!r} names {name!r}, which is no parameter of the space",
                        where=f"steps.{place}.{field}",
                    )
        if self.fidelity is not None:
            parameter = names.get(self.fidelity.parameter)
            if parameter is None:
                raise InvalidInput(
                    f"the fidelity {self.fidelity.parameter!r} is no parameter of the space",
                    where="fidelity.parameter",
                )
            with about("fidelity.target"):
                parameter.encode(self.fidelity.target)

    def _check_costs(self) -> None:
        places = {"cost": self.cost} | {
            f"steps.{place}.cost": step.cost for place, step in enumerate(self.steps)
        }
        for where, costs in places.items():
            for name, cost in costs.items():
                with about(f"{where}.{name}"):
                    cost.check_names(parameter.name for parameter in self.space)
        planned = {str(name) for costs in places.values() for name in costs}
        for limited in self.budget.limits:
            if limited != "trials" and limited not in planned:
                words = limited.replace("_", " ")
                raise InvalidInput(
                    f"the budget limits {words}, but nothing says how much one trial needs: say what one trial "
                    "costs, or leave the limit out",
                    where=f"cost.{limited}",
                )
        for place, step in enumerate(self.steps):
            both = set(step.cost) & set(self.cost)
            if both:
                raise InvalidInput(
                    f"{min(both).replace('_', ' ')} is planned for the whole trial and for the step {step.name!r} too; leave "
                    "one of them out",
                    where=f"steps.{place}.cost.{min(both)}",
                )

    @cached_property
    def graph(self) -> tuple[Step, ...]:
        """The steps of a trial; the one that there is, where the description names none."""
        return self.steps or (Step(ONLY, self.executor, arguments=self.executor_arguments),)

    @cached_property
    def measured_costs(self) -> frozenset[str]:
        """The outcomes that say what a trial has really cost."""
        costs = (cost for some in (self.cost, *(step.cost for step in self.steps)) for cost in some.values())
        return frozenset(cost.actual for cost in costs if cost.actual)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the first one first."""
        return (self.objective, *self.further_objectives)

    def arm(self, point: int) -> Arm | None:
        """Return the arm to which a point belongs; None where it is the proposer's."""
        return next((arm for arm in self.arms if point % arm.every == 0), None)
