"""The contract of a proposer, and what several of them need."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import space
from genesis_workbench.experiments.constraints import AnyConstraint
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.outcomes import value_of
from genesis_workbench.experiments.parameters import Value
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

_AT_ONCE = 256


class CannotPropose(InvalidInput):
    """A proposer does not know how to honour this description; the loop takes sobol instead and says why."""

    code = "cannot-propose"


class Advised(list[dict[str, Any]]):
    """Points from somebody outside who answers differently each time: what was asked and answered becomes an event.

    Attributes
    ----------
    record : dict
        JSON values: ``why``, a text for each point; ``cost``, amounts of the budget; and what else shows what was asked.
    """

    def __init__(self, points: Iterable[dict[str, Any]], record: dict[str, Any]) -> None:
        super().__init__(points)
        self.record = record


class NoAdvice(InvalidInput):
    """Whoever was asked outside gave nothing that can be used; what it cost all the same is in `record`."""

    code = "no-advice"

    def __init__(self, message: str, record: dict[str, Any]) -> None:
        super().__init__(message)
        self.record = record


class Proposer(Protocol):
    """Proposes parameters. Keeps nothing between calls: the same trials give the same proposals.

    It may also have ``check(spec)``, which is asked before an experiment is launched: see :func:`check`. One that asks
    somebody outside returns :class:`Advised`, and is not asked again for what is in the ledger. Where that costs something it
    has ``at_most(spec, trials, count)``, the amounts that asking may cost.
    """

    name: ClassVar[str]

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` sets of parameters within the space of `spec`.

        Parameters
        ----------
        trials : sequence of Trial
            All trials so far, those under way included.

        Raises
        ------
        CannotPropose
            If it does not know what to do with something in `spec`, with what that is.
        """
        ...


def check(name: str, spec: ExperimentSpec) -> None:
    """Refuse a description that the proposer `name` could never honour, before anything is launched.

    Raises
    ------
    NotFound, MissingDependency
        If there is no such proposer, or a package that it needs is not installed.
    CannotPropose
        Naming what it cannot do, and what would do.
    InvalidInput
        If it is given an argument that it does not know.
    """
    proposer = plugins.load("proposers", name)()
    asked = getattr(proposer, "check", None)
    if asked is not None:
        asked(spec)
    elif name == spec.proposer:
        arguments(spec, name, {})


def needs(name: str, *packages: str) -> None:
    """Raise MissingDependency where a package of the proposer `name` is not installed, without importing any."""
    for package in packages:
        if find_spec(package) is None:
            raise plugins.missing("proposers", name, ModuleNotFoundError(package, name=package))


def arguments(spec: ExperimentSpec, name: str, known: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Return the arguments of the proposer `name`: each one of its `known` values, the first where it is left out."""
    given = spec.proposer_arguments if spec.proposer == name else {}  # the fall-back has none
    for argument, value in given.items():
        if argument not in known:
            has = ", ".join(known) or "none"
            raise InvalidInput(f"The proposer {name!r} has no argument {argument!r}; it has {has}.")
        if value not in known[argument]:
            choices = ", ".join(map(repr, known[argument]))
            raise InvalidInput(f"{argument} of the proposer {name!r} is {value!r}; it is one of {choices}.")
    return {argument: given.get(argument, values[0]) for argument, values in known.items()}


def unable(name: str, spec: ExperimentSpec, kinds: Iterable[type[AnyConstraint]], instead: str) -> None:
    """Raise CannotPropose where a constraint is none of the `kinds` that the proposer `name` keeps."""
    for constraint in spec.constraints:
        if not isinstance(constraint, tuple(kinds)):
            raise CannotPropose(
                f"The proposer {name!r} does not know how to keep {str(constraint)!r}. Use {instead}."
            )


def always(name: str, spec: ExperimentSpec, instead: str) -> None:
    """Raise CannotPropose where a parameter is not always active, for a proposer `name` that cannot have that."""
    conditional = next((each.name for each in spec.space if each.when is not None), None)
    if conditional:
        raise CannotPropose(
            f"The proposer {name!r} knows no parameters that are not always active, such as {conditional!r}. "
            f"Use {instead}."
        )


def measured(spec: ExperimentSpec, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that measured all objectives and everything that is limited."""
    wanted = {each.name for each in spec.objectives} | {each.metric for each in spec.outcome_constraints}
    return [trial for trial in trials if trial.state == "observed" and wanted <= set(trial.values)]


def improved(spec: ExperimentSpec, trial: Trial) -> list[float]:
    """Return what a measured trial reached in each objective, each so that more is better."""
    return [_seen(trial, each.name, each.unit) * (1 if each.maximize else -1) for each in spec.objectives]


def margins(spec: ExperimentSpec, trial: Trial) -> list[float]:
    """Return by how much a measured trial keeps each limit on outcomes, in the limit's unit; below 0 where it does not."""
    return [
        each.sign * (_seen(trial, each.metric, each.unit) - each.bound) for each in spec.outcome_constraints
    ]


def _seen(trial: Trial, metric: str, unit: str) -> float:
    value = value_of(trial, metric, unit)
    assert value is not None  # noqa: S101 - only trials that measured it are asked
    return value


def seed_of(spec: ExperimentSpec, number: int) -> int:
    """Return the seed of what is proposed as point `number`, for libraries that take one of 32 bits."""
    return int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0])


def uncompiled() -> None:
    """Keep BoTorch from compiling C++ within the first proposal of several objectives; call it before BoTorch is asked.

    That takes a minute, and a process that is stopped over it leaves a lock in the person's cache for which every later one
    waits. BoTorch's own Python does the same. To be removed once BoTorch (0.18.1) has a switch for it.
    """
    vars(import_module("botorch.acquisition.multi_objective.logei"))["_load_attempted"] = True


def domain(spec: ExperimentSpec) -> Domain:
    """Return the space of `spec` with its constraints."""
    return Domain(spec.space, spec.constraints)


def points_so_far(trials: Sequence[Trial]) -> int:
    """Return how many points were proposed: repeats of one are one."""
    return len({trial.point for trial in trials})


def sobol_points(spec: ExperimentSpec, skip: int, count: int) -> NDArray[np.float64]:
    """Return points `skip` to `skip` + `count` of the scrambled Sobol sequence of `spec`, shape (count, width).

    Source: Owen (1998), scrambling Sobol' and Niederreiter-Xing points.
    """
    from scipy.stats import qmc

    sampler = qmc.Sobol(space.width(spec.space), scramble=True, rng=np.random.default_rng(spec.seed))
    if skip:
        sampler.fast_forward(skip)
    with warnings.catch_warnings():
        # The sequence is continued over several calls: balance within each is not asked for.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")
        points: NDArray[np.float64] = sampler.random(count)
    return points


def sobol_values(spec: ExperimentSpec, skip: int, count: int) -> list[dict[str, Value]]:
    """Return those points of the sequence that fit the constraints: `skip` to `skip` + `count` of them."""
    if not spec.constraints:
        return [space.decode(spec.space, point) for point in sobol_points(spec, skip, count)]
    return [dict(point) for point in _fitting(spec.model_dump_json()).upto(skip + count)[skip:]]


class _Fitting:
    """The points of one sequence that fit, kept so that the next call need not begin at the first again."""

    def __init__(self, spec: ExperimentSpec) -> None:
        self._spec, self._domain = spec, domain(spec)
        self._found: list[dict[str, Value]] = []
        self._drawn = 0
        self._lock = threading.Lock()

    def upto(self, count: int) -> list[dict[str, Value]]:
        """Return the first `count` points that fit."""
        with self._lock:
            while len(self._found) < count:
                self._found += self._domain.first(self._one, 1)
            return self._found[:count]

    def _one(self) -> NDArray[np.float64]:
        if self._drawn % _AT_ONCE == 0:
            self._ahead = sobol_points(self._spec, self._drawn, _AT_ONCE)
        self._drawn += 1
        at = (self._drawn - 1) % _AT_ONCE
        return self._ahead[at : at + 1]


@lru_cache(maxsize=32)
def _fitting(description: str) -> _Fitting:
    return _Fitting(ExperimentSpec.model_validate_json(description))


def random_values(spec: ExperimentSpec, number: int, *stream: int) -> dict[str, Value]:
    """Return random point `number`: uniform over what fits. Another `stream` gives independent points."""
    rng = np.random.default_rng([spec.seed, number, *stream])
    if not spec.constraints:
        return space.decode(spec.space, rng.random(space.width(spec.space)))
    fits = domain(spec)
    return fits.first(lambda: rng.random((1, fits.width)))[0]
