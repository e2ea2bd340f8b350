"""Bayesian optimisation with a small Gaussian process: the light default, without torch.

After the middle of the space and a Sobol sequence, each point is where the model expects the largest improvement
(:mod:`._acquisition`). The model is chosen anew for each proposal (:mod:`._models`). In the last third of the budget
every second point is looked for near the best one only: a trust region (Eriksson et al., 2019, "Scalable global
optimization via local Bayesian optimization"). Trials under way count at their posterior mean, so that parallel proposals
differ (Ginsbourger et al., 2010). What was tried is not tried again while there is something else, unless it is noisy
(:mod:`._tried`). Where trials fail is modelled like a limit on outcomes. A parameter that is not active counts as at its
middle. Where fidelities differ, the point is looked for at the target's (:mod:`._fidelity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.proposers._acquisition import Acquisition, candidates, fitting, optimum
from genesis_workbench.experiments.proposers._base import (
    domain,
    improved,
    margins,
    measured,
    points_so_far,
    sobol_values,
)
from genesis_workbench.experiments.proposers._fidelity import Fidelities
from genesis_workbench.experiments.proposers._gaussian import Array, GaussianProcess, one_thread
from genesis_workbench.experiments.proposers._models import chosen, limit
from genesis_workbench.experiments.proposers._tried import Tried, everything
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial
from genesis_workbench.experiments.trial import MAIN

_NEAR_FROM = 2 / 3  # of the budget
_NEAR = 0.1  # half a side of the box around the best point, in the unit cube
# Variance of the noise, relative to the signal's, from which a measured point may be measured again: so much is expected
# before anything is seen. An optimum in a corner is then made sure of, where noise would hide it.
_NOISY = 1e-4
_OFTEN = 4  # as well known as by so many measurements, it need not be
_LATER = 64  # points of the sequence that are looked at for one that is new


class GaussianProcessProposer:
    """First the middle and a Sobol sequence, then the point with the largest expected improvement."""

    name: ClassVar[str] = "gp"

    @one_thread()
    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points, one after the other. See :class:`Proposer`."""
        first = max(5, space.width(spec.space) + 2)
        done = measured(spec, trials)
        seen = None
        points: list[dict[str, Any]] = []
        unseen = [_at(spec, trial.parameters) for trial in trials if trial.open]
        # Earlier experiments' points and those of comparison count for neither the finding nor the best: they may come again.
        own = [trial for trial in trials if trial.number > 0 and trial.arm == MAIN and not trial.open]
        for _ in range(count):
            number = points_so_far(trials) + len(points)
            if number < first or len(done) < 3:
                points.append(_first(spec, number, Tried(_all(spec, own), np.array(unseen))))
            else:
                seen = seen or _Seen(spec, done, [trial for trial in trials if trial.state == "failed"], own)
                points.append(space.decode(spec.space, seen.next(np.array(unseen), number)))
            unseen.append(_at(spec, points[-1]))
        return points


class _Seen:
    """What the measured trials say, modelled once for all points that are asked for together."""

    def __init__(
        self, spec: ExperimentSpec, done: Sequence[Trial], failed: Sequence[Trial], own: Sequence[Trial]
    ) -> None:
        self._spec, self._fits = spec, domain(spec)
        self._own = _all(spec, own)
        known = {id(trial) for trial in done}
        self._measured = np.array([id(trial) in known for trial in own], dtype=bool)
        self._x = np.array([_at(spec, trial.parameters) for trial in done])
        self._reached = np.array([improved(spec, trial) for trial in done])
        kept = np.array([margins(spec, trial) for trial in done])
        fidelity = spec.fidelity
        self._fidelities = None if fidelity is None else Fidelities(spec, fidelity, self._fits)
        self._kept = (kept >= 0).all(axis=1) & self._real(self._x)
        self._limits = [limit(self._x, margin) for margin in kept.T]
        if failed:
            both = np.vstack([self._x, *(_at(spec, trial.parameters) for trial in failed)])
            self._limits.append(limit(both, np.repeat([1.0, -1.0], [len(done), len(failed)])))
        self._models: dict[bool, GaussianProcess] = {}

    def next(self, unseen: Array, number: int) -> Array:
        """Return point `number`, shape (d,), with points of unknown outcome, shape (m, d), counted as expected."""
        rng = np.random.default_rng([self._spec.seed, number])
        model = self._model(number, rng)
        tried = self._tried(model, unseen)
        kept = self._kept
        best = float(model.predict(self._x[kept])[0].max()) if kept.any() else None
        top = self._x[np.argmax(np.where(kept, model.y, -np.inf) if kept.any() else model.y)]
        if len(unseen):
            believed = model.predict(unseen)[0]
            model = model.given(unseen, believed)
            believed = believed[self._real(unseen)]
            best = None if best is None else max([best, *believed.tolist()])
        near = self._near(number)
        acquisition = Acquisition(model, best, self._limits)
        if self._fidelities is None:
            box = _box(top) if near else None
            return optimum(self._fits, acquisition, candidates(self._fits, top, rng, box), tried, box)
        box = self._fidelities.within(_box(top) if near else np.tile([0.0, 1.0], (len(top), 1)))
        real = fitting(self._fits, self._fidelities.real(candidates(self._fits, top, rng, box)))
        at = optimum(self._fits, acquisition, np.array(real), tried, box) if real else top
        return at if near else self._fidelities.cheapest(model, at, tried)

    def _tried(self, model: GaussianProcess, unseen: Array) -> Tried:
        """Return what need not be measured again: where there is much noise, only what is well known in spite of it."""
        own, noise = self._own, float(np.exp(model.theta[-1]))
        if noise > _NOISY and len(own) and everything(self._fits) is None:
            own = own[~self._measured | (model.predict(own)[1] ** 2 < model.scale * noise / _OFTEN)]
        return Tried(own, unseen)

    def _model(self, number: int, rng: np.random.Generator) -> GaussianProcess:
        """Return the model for point `number`.

        Every second one is on the values themselves: logarithms stretch what is best, and a plateau there would hold all.
        """
        plain = number % 2 == 1
        winsorised = bool(self._kept.all())
        if self._reached.shape[1] > 1:
            return chosen(self._x, _scalarised(self._reached, rng), plain=plain, winsorised=winsorised)
        if plain not in self._models:
            self._models[plain] = chosen(self._x, self._reached[:, 0], plain=plain, winsorised=winsorised)
        return self._models[plain]

    def _real(self, points: Array) -> NDArray[np.bool_]:
        """Return which points, shape (n, d), count: all, or those of the target's fidelity."""
        if self._fidelities is None:
            return np.ones(len(points), dtype=bool)
        return np.asarray(np.isclose(points, self._fidelities.real(points)).all(axis=1))

    def _near(self, number: int) -> bool:
        points = self._spec.budget.trials / self._spec.repeats
        one = len(self._spec.objectives) == 1
        return one and bool(self._kept.any()) and number % 2 == 1 and number >= _NEAR_FROM * points


def _at(spec: ExperimentSpec, parameters: dict[str, Any]) -> Array:
    return space.encode(spec.space, parameters)


def _all(spec: ExperimentSpec, trials: Sequence[Trial]) -> Array:
    return np.array([_at(spec, trial.parameters) for trial in trials])


def _first(spec: ExperimentSpec, number: int, tried: Tried) -> dict[str, Any]:
    """Return the middle of the space, where it fits, then points of a Sobol sequence: in a finite space the next new one."""
    fits = domain(spec)
    middle = fits.place(np.full(fits.width, 0.5)) if number == 0 else None
    if middle is not None and tried.new(_at(spec, middle)[None])[0]:
        return middle
    found = [sobol_values(spec, number, 1)[0]]
    while not tried.new(_at(spec, found[-1])[None])[0]:
        if len(found) == _LATER:
            return found[0]
        found += sobol_values(spec, number + len(found), 1)
    return found[-1]


def _box(centre: Array) -> Array:
    return np.clip(np.stack([centre - _NEAR, centre + _NEAR], axis=1), 0, 1)


def _scalarised(reached: Array, rng: np.random.Generator) -> Array:
    """Return several objectives, shape (n, k), as one, shape (n,), with other weights for each point.

    The augmented Chebyshev sum of ParEGO (Knowles, 2006) reaches the whole Pareto front, the parts that bend inwards too.
    """
    spread = np.ptp(reached, axis=0)
    lack = (reached.max(axis=0) - reached) / np.where(spread > 0, spread, 1.0)
    weighted = lack * rng.dirichlet(np.ones(reached.shape[1]))
    goal: Array = -(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))
    return goal
