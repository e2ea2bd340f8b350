"""Optuna's samplers: tree-structured Parzen estimators (TPE), or its Gaussian process.

Source: Akiba et al. (2019), "Optuna: a next-generation hyperparameter optimization framework"; Bergstra et al. (2011)
for TPE. Each call makes a study in memory out of the trials that there are, and asks it: no storage of Optuna's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.experiments.parameters import AnyParameter, Categorical, Integer, Ordinal
from genesis_workbench.experiments.proposers._base import (
    CannotPropose,
    arguments,
    improved,
    margins,
    measured,
    needs,
    points_so_far,
    seed_of,
    unable,
)
from genesis_workbench.experiments.proposers._tried import fresh
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial as Asked

_ARGUMENTS = {"sampler": ("tpe", "gp")}


class OptunaProposer:
    """Arguments: `sampler`, ``tpe`` (the default: parameters that are not always active, many choices) or ``gp``."""

    name: ClassVar[str] = "optuna"

    def check(self, spec: ExperimentSpec) -> None:
        """Refuse what Optuna cannot honour. See :func:`~._base.check`."""
        sampler = arguments(spec, self.name, _ARGUMENTS)["sampler"]
        needs(self.name, "optuna", *(["torch"] if sampler == "gp" else []))
        unable(self.name, spec, (), "gp, which proposes only what fits")
        conditional = next((each.name for each in spec.space if each.when is not None), None)
        if sampler == "gp" and conditional:
            raise CannotPropose(
                f"Optuna's Gaussian process does not model {conditional!r}, which is not always active. "
                'Use proposer_arguments={"sampler": "tpe"}.'
            )

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points; those under way count as asked for and not answered. See :class:`Proposer`."""
        import optuna

        self.check(spec)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        first = points_so_far(trials)
        study = optuna.create_study(
            directions=["maximize"] * len(spec.objectives), sampler=_sampler(spec, self.name, first)
        )
        _tell(study, spec, trials)
        tried = [trial.parameters for trial in trials]
        for _ in range(count):
            tried.append(fresh(lambda: _asked(spec, study.ask()), tried))
        return tried[len(trials) :]


def _sampler(spec: ExperimentSpec, name: str, number: int) -> BaseSampler:
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import GPSampler, TPESampler

    seed = seed_of(spec, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate, group: since 2020
        if arguments(spec, name, _ARGUMENTS)["sampler"] == "gp":
            return GPSampler(seed=seed)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _tell(study: Study, spec: ExperimentSpec, trials: Sequence[Trial]) -> None:
    from optuna.trial import TrialState, create_trial

    complete = {id(trial) for trial in measured(spec, trials)}
    for trial in trials:
        active = [each for each in spec.space if each.name in trial.parameters]
        here: dict[str, Any] = {
            "params": {each.name: _inward(each, trial.parameters[each.name]) for each in active},
            "distributions": {each.name: _distribution(each) for each in active},
        }
        if id(trial) in complete:
            kept = {str(place): -margin for place, margin in enumerate(margins(spec, trial))}
            study.add_trial(create_trial(values=improved(spec, trial), constraints=kept, **here))
        else:
            state = TrialState.RUNNING if trial.open else TrialState.FAIL
            study.add_trial(create_trial(state=state, **here))


def _asked(spec: ExperimentSpec, asked: Asked) -> dict[str, Any]:
    """Return the values that a trial of Optuna suggests, of the parameters that are active."""
    values: dict[str, Any] = {}
    for parameter in spec.space:
        if parameter.when is None or parameter.when.holds(values):
            values[parameter.name] = _outward(parameter, _suggested(asked, parameter))
    return values


def _suggested(asked: Asked, parameter: AnyParameter) -> Any:
    if isinstance(parameter, Categorical):
        return asked.suggest_categorical(parameter.name, parameter.choices)
    if isinstance(parameter, Ordinal):
        return asked.suggest_int(parameter.name, 0, len(parameter.choices) - 1)
    if isinstance(parameter, Integer):
        return asked.suggest_int(parameter.name, parameter.low, parameter.high, log=parameter.log)
    return asked.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)


def _distribution(parameter: AnyParameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Categorical):
        return CategoricalDistribution(parameter.choices)
    if isinstance(parameter, Ordinal):
        return IntDistribution(0, len(parameter.choices) - 1)
    if isinstance(parameter, Integer):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _inward(parameter: AnyParameter, value: Any) -> Any:
    """Return a value as Optuna has it: an ordered choice is a whole number there."""
    return parameter.choices.index(value) if isinstance(parameter, Ordinal) else value


def _outward(parameter: AnyParameter, value: Any) -> Any:
    return parameter.choices[value] if isinstance(parameter, Ordinal) else value
