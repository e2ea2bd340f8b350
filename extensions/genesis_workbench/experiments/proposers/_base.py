"""The contract of a proposer, and what several of them need."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import space
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.parameters import Value
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

_AT_ONCE = 256


class CannotPropose(InvalidInput):
    """A proposer does not know how to honour this description; the loop takes sobol instead and says why."""

    code = "cannot-propose"


class Proposer(Protocol):
    """Proposes parameters. Keeps nothing between calls: the same trials give the same proposals."""

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
