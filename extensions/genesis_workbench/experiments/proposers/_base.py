"""The contract of a proposer, and what several of them need."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial


class Proposer(Protocol):
    """Proposes parameters. Keeps nothing between calls: the same trials give the same proposals."""

    name: ClassVar[str]

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` sets of parameters within the space of `spec`.

        Parameters
        ----------
        trials : sequence of Trial
            All trials so far, those under way included.
        """
        ...


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
