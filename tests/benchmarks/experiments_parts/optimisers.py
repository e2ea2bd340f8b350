"""The optimisers that are compared: each is asked for points of the unit cube and told values to minimise, None for a failure."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Point = list[float]


class Optimiser(Protocol):
    """One run over one problem."""

    def ask(self, count: int) -> list[Point]:
        """Return the next points."""

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        """Take what came of them, in their order."""


def names(d: int) -> list[str]:
    return [f"x{i}" for i in range(d)]


class Ours:
    """A proposer of the workbench, asked as the loop asks it: with the description and all trials."""

    def __init__(self, d: int, seed: int, budget: int, proposer: str = "gp") -> None:
        from genesis_workbench.core import plugins
        from genesis_workbench.experiments import Budget, Hypothesis, Objective, Real, Threshold
        from genesis_workbench.experiments.spec import ExperimentSpec

        self._proposer = plugins.load("proposers", proposer)()
        self._trials: list[Any] = []
        self._spec = ExperimentSpec(
            title="Benchmark",
            hypothesis=Hypothesis(statement="It comes down", rule=Threshold(metric="y", at_most=0)),
            space=tuple(Real(name, 0, 1) for name in names(d)),
            objective=Objective("y", maximize=False),
            executor="none",
            proposer=proposer,
            budget=Budget(trials=budget),
            seed=seed,
        )

    def ask(self, count: int) -> list[Point]:
        return [
            [point[p.name] for p in self._spec.space]
            for point in self._proposer.propose(self._spec, self._trials, count)
        ]

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        from genesis_workbench.experiments.state import Trial

        for point, value in zip(points, values, strict=True):
            number = len(self._trials) + 1
            trial = Trial(number, dict(zip(names(len(point)), point, strict=True)), "", str(number), "")
            trial.state = "failed" if value is None else "observed"
            trial.values = {} if value is None else {"y": {"value": value, "unit": ""}}
            self._trials.append(trial)


class Random:
    """Uniform points."""

    def __init__(self, d: int, seed: int, budget: int) -> None:
        self._d, self._rng = d, np.random.default_rng(seed)

    def ask(self, count: int) -> list[Point]:
        return self._rng.random((count, self._d)).tolist()

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        """Learn nothing."""


class Ax:
    """Ax alone, by its own client, with what it chooses."""

    def __init__(self, d: int, seed: int, budget: int) -> None:
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig

        logging.getLogger("ax").setLevel(logging.ERROR)
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(
            parameters=[
                RangeParameterConfig(name=n, parameter_type="float", bounds=(0.0, 1.0)) for n in names(d)
            ]
        )
        self._client.configure_optimization(objective="-y")

    def ask(self, count: int) -> list[Point]:
        self._asked: list[int] = []
        points = []
        while len(points) < count:  # it gives fewer at once while it begins
            for number, parameters in self._client.get_next_trials(max_trials=count - len(points)).items():
                self._asked.append(number)
                points.append([float(parameters[name]) for name in names(len(parameters))])
        return points

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        for number, value in zip(self._asked, values, strict=True):
            if value is None:
                self._client.mark_trial_failed(number)
            else:
                self._client.complete_trial(number, raw_data={"y": value})


class BayBE:
    """BayBE's campaign, with what it recommends by default."""

    def __init__(self, d: int, seed: int, budget: int) -> None:
        import torch
        from baybe import Campaign
        from baybe.parameters import NumericalContinuousParameter
        from baybe.searchspace import SearchSpace
        from baybe.targets import NumericalTarget

        torch.manual_seed(seed)
        np.random.seed(seed)  # BayBE draws from it
        space = SearchSpace.from_product([NumericalContinuousParameter(n, (0, 1)) for n in names(d)])
        self._campaign = Campaign(space, NumericalTarget("y", minimize=True).to_objective())

    def ask(self, count: int) -> list[Point]:
        found = self._campaign.recommend(batch_size=count)
        return found[names(found.shape[1])].to_numpy().tolist()

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        import pandas as pd

        rows = [[*p, v] for p, v in zip(points, values, strict=True) if v is not None]
        if rows:
            self._campaign.add_measurements(pd.DataFrame(rows, columns=[*names(len(points[0])), "y"]))


class Optuna:
    """A study of Optuna's, with the sampler's defaults."""

    def __init__(self, d: int, seed: int, budget: int, sampler: str = "gp") -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kind = optuna.samplers.GPSampler if sampler == "gp" else optuna.samplers.TPESampler
        self._study = optuna.create_study(sampler=kind(seed=seed))
        self._d = d

    def ask(self, count: int) -> list[Point]:
        self._asked = [self._study.ask() for _ in range(count)]
        return [[trial.suggest_float(name, 0, 1) for name in names(self._d)] for trial in self._asked]

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        import optuna

        for trial, value in zip(self._asked, values, strict=True):
            state = optuna.trial.TrialState.FAIL if value is None else None
            self._study.tell(trial, value, state=state)


class BoFire:
    """BoFire's single-objective strategy with its default model, after a Sobol design of max(5, d + 2) points."""

    def __init__(self, d: int, seed: int, budget: int) -> None:
        import bofire.strategies.api as strategies
        from bofire.data_models.domain.api import Domain
        from bofire.data_models.enum import SamplingMethodEnum
        from bofire.data_models.features.api import ContinuousInput, ContinuousOutput
        from bofire.data_models.objectives.api import MinimizeObjective
        from bofire.data_models.strategies.api import SoboStrategy

        domain = Domain.from_lists(
            [ContinuousInput(key=name, bounds=(0, 1)) for name in names(d)],
            [ContinuousOutput(key="y", objective=MinimizeObjective(w=1.0))],
        )
        self._strategy = strategies.map(SoboStrategy(domain=domain, seed=seed))
        self._first = domain.inputs.sample(
            max(5, d + 2), method=SamplingMethodEnum.SOBOL, seed=seed
        ).to_numpy()
        self._d, self._asked, self._known = d, 0, 0

    def ask(self, count: int) -> list[Point]:
        found: list[Point] = self._first[self._asked : self._asked + count].tolist()
        if len(found) < count and self._known < 2:
            found += np.random.default_rng(self._asked).random((count - len(found), self._d)).tolist()
        elif len(found) < count:
            found += self._strategy.ask(count - len(found))[names(self._d)].to_numpy().tolist()
        self._asked += count
        return found

    def tell(self, points: Sequence[Point], values: Sequence[float | None]) -> None:
        import pandas as pd

        rows = [[*p, v, 1] for p, v in zip(points, values, strict=True) if v is not None]
        self._known += len(rows)
        if rows:
            self._strategy.tell(pd.DataFrame(rows, columns=[*names(self._d), "y", "valid_y"]))


OPTIMISERS: dict[str, Callable[[int, int, int], Optimiser]] = {
    "ours": Ours,
    "random": Random,
    "optuna_tpe": lambda d, seed, budget: Optuna(d, seed, budget, "tpe"),
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
