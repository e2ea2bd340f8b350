"""The optimisers that are compared: each is asked for points of the unit cube and told what came of them, None for a failure.

What came is a value to minimise and, behind it, what must not be below 0. Those that model no limits (BayBE; BoFire as it is
used here) are told a value that grows with what is lacking. Ours alone knows of fidelities; the others' points are real trials.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from experiments_parts.problems import CHEAPEST

Point = list[float]
Outcomes = list[float]


@dataclass(frozen=True)
class Task:
    """What an optimiser is told before it begins.

    Attributes
    ----------
    levels : tuple of float
        Fidelities, 1 being real; empty where there are none.
    spread : float
        How far values of random points lie apart.
    budget : int
        Real trials that are paid for.
    """

    d: int
    limits: int
    levels: tuple[float, ...]
    spread: float
    seed: int
    budget: int


class Optimiser(Protocol):
    """One run over one problem."""

    def ask(self, count: int) -> list[Point]:
        """Return the next points."""

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        """Take what came of them, in their order."""


def names(d: int) -> list[str]:
    return [f"x{i}" for i in range(d)]


def penalised(outcomes: Outcomes, spread: float) -> float:
    """Return one value for those that model no limits: it grows by the spread for each standard deviation that is lacking."""
    value, *margins = outcomes
    return value + spread * sum(max(0.0, -margin) for margin in margins)


class Ours:
    """A proposer of the workbench, asked as the loop asks it: with the description and all trials."""

    def __init__(self, task: Task, proposer: str = "gp") -> None:
        from genesis_workbench.core import plugins
        from genesis_workbench.experiments import (
            Budget,
            Fidelity,
            Hypothesis,
            Limit,
            Objective,
            Ordinal,
            Real,
            Threshold,
        )
        from genesis_workbench.experiments.spec import ExperimentSpec

        self._proposer = plugins.load("proposers", proposer)()
        self._trials: list[Any] = []
        changes: dict[str, Any] = {}
        levels = [Ordinal("level", list(task.levels))] if task.levels else []
        trials = task.budget
        if levels:
            changes = {
                "fidelity": Fidelity("level", 1.0),
                "cost": {"money": f"{CHEAPEST} + {1 - CHEAPEST} * level"},
            }
            trials = int(task.budget / CHEAPEST)
        self._spec = ExperimentSpec(
            title="Benchmark",
            hypothesis=Hypothesis(statement="It comes down", rule=Threshold(metric="y", at_most=0)),
            space=(*(Real(name, 0, 1) for name in names(task.d)), *levels),
            objective=Objective("y", maximize=False),
            outcome_constraints=tuple(Limit(metric=f"m{i}", at_least=0) for i in range(task.limits)),
            executor="none",
            proposer=proposer,
            budget=Budget(trials=trials, money=task.budget if levels else None),
            seed=task.seed,
            **changes,
        )

    def ask(self, count: int) -> list[Point]:
        return [
            [point[p.name] for p in self._spec.space]
            for point in self._proposer.propose(self._spec, self._trials, count)
        ]

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        from genesis_workbench.experiments.state import Trial

        metrics = ["y", *(each.metric for each in self._spec.outcome_constraints)]
        for point, seen in zip(points, outcomes, strict=True):
            number = len(self._trials) + 1
            parameters = dict(zip((each.name for each in self._spec.space), point, strict=True))
            trial = Trial(number, parameters, "", str(number), "", "failed" if seen is None else "observed")
            trial.values = {
                name: {"value": v, "unit": ""} for name, v in zip(metrics, seen or (), strict=False)
            }
            self._trials.append(trial)


class Random:
    """Uniform points."""

    def __init__(self, task: Task) -> None:
        self._d, self._rng = task.d, np.random.default_rng(task.seed)

    def ask(self, count: int) -> list[Point]:
        return self._rng.random((count, self._d)).tolist()

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        """Learn nothing."""


class Ax:
    """Ax alone, by its own client, with what it chooses."""

    def __init__(self, task: Task) -> None:
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig

        logging.getLogger("ax").setLevel(logging.ERROR)
        self._client = Client(random_seed=task.seed)
        self._client.configure_experiment(
            parameters=[
                RangeParameterConfig(name=n, parameter_type="float", bounds=(0.0, 1.0)) for n in names(task.d)
            ]
        )
        limits = [f"m{i} >= 0" for i in range(task.limits)]
        self._client.configure_optimization(objective="-y", outcome_constraints=limits)

    def ask(self, count: int) -> list[Point]:
        self._asked: list[int] = []
        points = []
        while len(points) < count:  # it gives fewer at once while it begins
            for number, parameters in self._client.get_next_trials(max_trials=count - len(points)).items():
                self._asked.append(number)
                points.append([float(parameters[name]) for name in names(len(parameters))])
        return points

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        for number, seen in zip(self._asked, outcomes, strict=True):
            if seen is None:
                self._client.mark_trial_failed(number)
            else:
                data = {"y": seen[0], **{f"m{i}": margin for i, margin in enumerate(seen[1:])}}
                self._client.complete_trial(number, raw_data=data)


class BayBE:
    """BayBE's campaign, with what it recommends by default; random points where it raises instead.

    That comes of a gradient that is no number (botorch's OptimizationGradientError), in batches and once nothing is left to gain.
    """

    def __init__(self, task: Task) -> None:
        import torch
        from baybe import Campaign
        from baybe.parameters import NumericalContinuousParameter
        from baybe.searchspace import SearchSpace
        from baybe.targets import NumericalTarget

        self._d, self._spread, self._rng = task.d, task.spread, np.random.default_rng(task.seed)
        torch.manual_seed(task.seed)
        np.random.seed(task.seed)  # BayBE draws from it
        space = SearchSpace.from_product([NumericalContinuousParameter(n, (0, 1)) for n in names(task.d)])
        self._campaign = Campaign(space, NumericalTarget("y", minimize=True).to_objective())

    def ask(self, count: int) -> list[Point]:
        from botorch.exceptions.errors import OptimizationGradientError

        try:
            found = self._campaign.recommend(batch_size=count)
        except OptimizationGradientError:
            return self._rng.random((count, self._d)).tolist()
        return found[names(self._d)].to_numpy().tolist()

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        import pandas as pd

        rows = [
            [*p, penalised(o, self._spread)] for p, o in zip(points, outcomes, strict=True) if o is not None
        ]
        if rows:
            self._campaign.add_measurements(pd.DataFrame(rows, columns=[*names(len(points[0])), "y"]))


class Optuna:
    """A study of Optuna's, with the sampler's defaults."""

    def __init__(self, task: Task, sampler: str = "gp") -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kind = optuna.samplers.GPSampler if sampler == "gp" else optuna.samplers.TPESampler
        self._study = optuna.create_study(sampler=kind(seed=task.seed))
        self._d = task.d

    def ask(self, count: int) -> list[Point]:
        self._asked = [self._study.ask() for _ in range(count)]
        return [[trial.suggest_float(name, 0, 1) for name in names(self._d)] for trial in self._asked]

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        import optuna

        for trial, seen in zip(self._asked, outcomes, strict=True):
            if seen is None:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            for place, margin in enumerate(seen[1:]):
                trial.set_constraint(str(place), -margin)
            self._study.tell(trial, seen[0])


class BoFire:
    """BoFire's single-objective strategy with its default model, after a Sobol design of max(5, d + 2) points.

    Where it raises as :class:`BayBE` does, random points.
    """

    def __init__(self, task: Task) -> None:
        import bofire.strategies.api as strategies
        from bofire.data_models.domain.api import Domain
        from bofire.data_models.enum import SamplingMethodEnum
        from bofire.data_models.features.api import ContinuousInput, ContinuousOutput
        from bofire.data_models.objectives.api import MinimizeObjective
        from bofire.data_models.strategies.api import SoboStrategy

        domain = Domain.from_lists(
            [ContinuousInput(key=name, bounds=(0, 1)) for name in names(task.d)],
            [ContinuousOutput(key="y", objective=MinimizeObjective(w=1.0))],
        )
        self._strategy = strategies.map(SoboStrategy(domain=domain, seed=task.seed))
        self._first = domain.inputs.sample(
            max(5, task.d + 2), method=SamplingMethodEnum.SOBOL, seed=task.seed
        ).to_numpy()
        self._d, self._spread, self._asked, self._known = task.d, task.spread, 0, 0

    def ask(self, count: int) -> list[Point]:
        from botorch.exceptions.errors import OptimizationGradientError

        found: list[Point] = self._first[self._asked : self._asked + count].tolist()
        lacking = count - len(found)
        rng = np.random.default_rng(self._asked)
        self._asked += count
        if not lacking:
            return found
        if self._known < 2:
            return found + rng.random((lacking, self._d)).tolist()
        try:
            return found + self._strategy.ask(lacking)[names(self._d)].to_numpy().tolist()
        except OptimizationGradientError:
            return found + rng.random((lacking, self._d)).tolist()

    def tell(self, points: Sequence[Point], outcomes: Sequence[Outcomes | None]) -> None:
        import pandas as pd

        pairs = zip(points, outcomes, strict=True)
        rows = [[*p, penalised(o, self._spread), 1] for p, o in pairs if o is not None]
        self._known += len(rows)
        if rows:
            self._strategy.tell(pd.DataFrame(rows, columns=[*names(self._d), "y", "valid_y"]))


OPTIMISERS: dict[str, Callable[[Task], Optimiser]] = {
    "ours": Ours,
    "random": Random,
    "optuna_tpe": lambda task: Optuna(task, "tpe"),
    "optuna_gp": Optuna,
    "ax": Ax,
    "baybe": BayBE,
    "bofire": BoFire,
}
GAUSSIAN = ("optuna_gp", "ax", "baybe", "bofire")


def quiet() -> None:
    """Let no library fill the screen, and none use more than one thread."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
