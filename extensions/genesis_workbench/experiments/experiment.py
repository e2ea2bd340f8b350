"""What a scientist writes: an Experiment, described and not yet launched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.experiments import notebook
from genesis_workbench.experiments.fields import described_by
from genesis_workbench.experiments.record import unusable
from genesis_workbench.experiments.run import Run
from genesis_workbench.experiments.spec import ExperimentSpec

if TYPE_CHECKING:
    from genesis_workbench.experiments.budget import Budget, Cost
    from genesis_workbench.experiments.constraints import AnyConstraint
    from genesis_workbench.experiments.hypothesis import Hypothesis
    from genesis_workbench.experiments.outcomes import Limit
    from genesis_workbench.experiments.parameters import AnyParameter
    from genesis_workbench.experiments.spec import Arm, Objective
    from genesis_workbench.experiments.steps import Step


class Experiment:
    """A closed loop, described and not yet launched.

    Parameters
    ----------
    title : str
        What people call it.
    hypothesis : Hypothesis
        What is claimed, and the rule that decides it.
    space : sequence of Real, Integer, Ordinal or Categorical
        What may be varied.
    constraints : sequence of Linear, Condition or Mixture
        What parameters must satisfy together. A text is read as a Condition.
    objective : Objective or sequence of Objective
        What is improved. Of several, the Pareto front is looked for; one-number summaries show the first.
    outcome_constraints : sequence of Limit
        What outcomes must keep for a point to count as good.
    arms : sequence of Arm
        Trials to compare with: random points, or one that is given, among the proposer's.
    executor : str or function
        Plug-in that executes a trial, such as ``pvlib``; or a function of this process that takes the parameters by name and
        returns the objective, or a dictionary of outcomes. It is called while this notebook waits.
    executor_arguments : dict, optional
        What stays the same over all trials.
    steps : sequence of Step
        Instead of one executor: steps of each trial, such as make, then measure, each with its own.
    fidelity : Fidelity, optional
        The parameter that says how true to life a trial is.
    proposer : str
        Plug-in that proposes: ``gp``, ``optuna``, ``cma``, ``ax``, ``baybe``, ``sobol``, ``random``, ``grid``, or
        ``person`` for points that people add.
    proposer_arguments : dict
        Options of that plug-in.
    fall_back : str
        The plug-in that proposes where that one raises, hangs, or cannot honour the description.
    budget : Budget
        How many trials, and what they may cost.
    cost : dict
        What one trial costs, by amount of the budget: a number, an expression over parameters, or a Cost.
    approval : Approval
        Which trials wait for a person's approval; where left out, those that touch the laboratory.
    warm_start : sequence of str or Run
        Earlier experiments from whose trials the proposer learns.
    parallel : int
        Trials under way at once.
    seed : int
        Seed of everything random in the proposer.
    repeats : int
        Trials of each point that is proposed, to measure the noise.
    groups : sequence of str
        Groups that may look at it; one must be in them.

    Raises
    ------
    InvalidInput
        Naming each value that cannot be used.
    """

    def __init__(
        self,
        *,
        title: str,
        hypothesis: Hypothesis,
        space: Sequence[AnyParameter],
        objective: Objective | Sequence[Objective],
        budget: Budget,
        executor: str | Callable[..., Any] = "",
        executor_arguments: Mapping[str, Any] | None = None,
        steps: Sequence[Step] = (),
        constraints: Sequence[AnyConstraint | str] | str = (),
        outcome_constraints: Sequence[Limit] = (),
        arms: Sequence[Arm] = (),
        cost: Mapping[str, float | str | Cost] | None = None,
        datasets: Sequence[str] = (),
        models: Sequence[str] = (),
        **more: Any,
    ) -> None:
        if isinstance(objective, Sequence) and not objective:
            raise InvalidInput("The experiment has no objective; give at least one.")
        self.spec = described(
            {
                "title": title,
                "hypothesis": hypothesis,
                "space": tuple(space),
                "constraints": (constraints,) if isinstance(constraints, str) else tuple(constraints),
                "objective": objective,
                "outcome_constraints": tuple(outcome_constraints),
                "arms": tuple(arms),
                "executor": executor,
                "executor_arguments": dict(executor_arguments or {}),
                "steps": tuple(steps),
                "budget": budget,
                "cost": dict(cost or {}),
                "dataset_references": tuple(datasets),
                "model_references": tuple(models),
                **more,
            }
        )

    @classmethod
    def from_spec(cls, spec: ExperimentSpec) -> Experiment:
        """Return an experiment with a whole description."""
        made = cls.__new__(cls)
        made.spec = spec
        return made

    def launch(self) -> Run:
        """Commit the hypothesis and launch.

        Inside a hub the service advances it, whether or not anybody looks; only calls of a function need this process to wait.
        Elsewhere it advances while this process waits for it (:meth:`Run.wait`).
        """
        store = notebook.store()
        return Run(store.create(self.spec, key=new_id("key")), store)


def described(fields: dict[str, Any]) -> ExperimentSpec:
    """Return a description, or say in one line what is wrong with it."""
    try:
        return described_by(fields)
    except ValidationError as error:
        raise unusable("The experiment cannot be used", error, ExperimentSpec) from None
