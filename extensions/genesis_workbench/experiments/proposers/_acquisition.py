"""Where a model expects the most: the logarithm of expected improvement, and its optimum within what fits.

Source: Ament et al. (2023), "Unexpected improvements to expected improvement for Bayesian optimization".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.constraints import Mixture
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.proposers._gaussian import GaussianProcess
from genesis_workbench.experiments.proposers._tried import Tried, everything

Array = NDArray[np.float64]
_CONSTRAINED = 256
_STARTS = 3
_LAST = 1e6
_FAR = -1e4  # standard deviations below which limits are taken instead of differences
_NOTHING = -100.0  # logarithm of an improvement that is none, where values spread over some units


class Acquisition:
    """The logarithm of the expected improvement over `best`, times the probabilities that limits are kept.

    Parameters
    ----------
    model : GaussianProcess
        Of what is improved, more being better.
    best : float or None
        The best so far; None where nothing keeps the limits yet, and only their probability counts.
    limits : sequence of (GaussianProcess, float)
        Processes of margins, and where zero lies on the scale of each (Gardner et al., 2014).
    """

    def __init__(
        self, model: GaussianProcess, best: float | None, limits: Sequence[tuple[GaussianProcess, float]] = ()
    ) -> None:
        self._model, self._best, self._limits = model, best, limits

    def __call__(self, points: Array) -> Array:
        """Return values at points, shape (m, d)."""
        from scipy.special import log_ndtr

        total = np.zeros(len(points))
        if self._best is not None:
            total = log_expected_improvement(*self._model.predict(points), self._best)
        for process, zero in self._limits:
            mean, deviation = process.predict(points)
            total = total + log_ndtr((mean - zero) / deviation)
        return total

    def worth(self, value: float) -> bool:
        """Whether an expected improvement is one; where limits make it small, it is."""
        return self._best is None or bool(self._limits) or value > _NOTHING

    def doubt(self, points: Array) -> Array:
        """Return how uncertain the objective is at points, shape (m, d): a logarithm, with the same probabilities.

        Points that promise less than the half of what was seen come after all others: an experiment goes on to improve.
        """
        mean, deviation = self._model.predict(points)
        poor = mean < np.median(self._model.y)
        result: Array = (
            np.log(deviation) + Acquisition(self._model, None, self._limits)(points) - _LAST * poor
        )
        return result

    def slope(self, point: Array) -> tuple[float, Array]:
        """Return the value at one point, shape (d,), and its gradient."""
        from scipy.special import log_ndtr

        value, gradient = 0.0, np.zeros(len(point))
        if self._best is not None:
            mean, deviation, dmean, ddeviation = self._model.slopes(point)
            z = (mean - self._best) / deviation
            log_h = float(_log_h(np.array([z]))[0])
            density, share = z * z, -z  # what the quotients below tend to
            if z > _FAR:
                density = np.exp(-0.5 * z * z - 0.5 * np.log(2 * np.pi) - log_h)
                share = np.exp(float(log_ndtr(z)) - log_h)
            value = log_h + np.log(deviation)
            gradient = (share * dmean + density * ddeviation) / deviation
        for process, zero in self._limits:
            mean, deviation, dmean, ddeviation = process.slopes(point)
            z = (mean - zero) / deviation
            log_p = float(log_ndtr(z))
            value += log_p
            ratio = np.exp(-0.5 * z * z - 0.5 * np.log(2 * np.pi) - log_p) if z > _FAR else -z
            gradient = gradient + ratio * (dmean - z * ddeviation) / deviation
        return value, gradient


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the expected improvement over `best`, finite far below it too."""
    result: Array = _log_h((mean - best) / deviation) + np.log(deviation)
    return result


def _log_h(z: Array) -> Array:
    """Return the logarithm of density + z times distribution of the standard normal (Ament et al., appendix A)."""
    from scipy.special import erfcx, ndtr

    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    with np.errstate(all="ignore"):
        direct = np.log(np.exp(log_density) + z * ndtr(z))
        # 1 + z * Mills ratio; far out the difference is lost to rounding, and -2 log(-z) is its limit.
        tail = log_density + np.log1p(np.maximum(z * erfcx(-z / np.sqrt(2)) * np.sqrt(np.pi / 2), -1 + 1e-15))
        far = log_density - 2 * np.log(-z)
    result: Array = np.where(z > -1, direct, np.where(z > _FAR, tail, far))
    return result


def optimum(
    fits: Domain, acquisition: Acquisition, candidates: Array, tried: Tried, box: Array | None = None
) -> Array:
    """Return the point, shape (d,), with the largest value: the best candidates, climbed on from.

    `box`, shape (d, 2), keeps the climb within; a gradient knows nothing of a mixture's sum, so those are not climbed.
    Where that point was tried, or is sure to be no better than the best, nothing is left to gain by the model: it learns where it
    knows least instead.
    """
    from scipy.optimize import minimize

    values = acquisition(candidates)
    starts = candidates[np.argsort(-values)[:_STARTS]]
    if any(isinstance(each, Mixture) for each in fits.constraints):
        return tried.instead(starts[0], candidates, values, acquisition.doubt)
    bounds = np.tile([0.0, 1.0], (fits.width, 1)) if box is None else box

    def loss(point: Array) -> tuple[float, Array]:
        value, gradient = acquisition.slope(point)
        return -value, -gradient

    ends = [
        minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 40}).x
        for start in starts
    ]
    both = np.vstack([starts, *fitting(fits, np.clip(ends, 0, 1))])
    expected = acquisition(both)
    best: Array = both[np.argmax(expected)]
    worth = acquisition.worth(float(expected.max()))
    return tried.instead(best, candidates, values, acquisition.doubt, worth=worth)


def candidates(fits: Domain, best: Array, rng: np.random.Generator, box: Array | None = None) -> Array:
    """Return points that fit, shape (n, d): all of a small finite space; else some from everywhere in the box, some around the best one."""
    known = everything(fits)
    if known is not None:
        return known
    d = fits.width
    low, high = (np.zeros(d), np.ones(d)) if box is None else (box[:, 0], box[:, 1])
    if not fits.constraints:
        steps = np.repeat([0.003, 0.02, 0.1], 64)[:, None] * (high - low)
        around = best + rng.normal(size=(192, d)) * steps
        anywhere = low + rng.random((512, d)) * (high - low)
        return _snapped(fits, np.clip(np.vstack([anywhere, around]), low, high))
    wide = [space.encode(fits.space, each) for each in fits.first(lambda: rng.random((64, d)), _CONSTRAINED)]
    # On the way from the best point to another that fits, sums and linear bounds hold.
    steps = np.repeat([0.02, 0.1, 0.3], -(-_CONSTRAINED // 3))[:_CONSTRAINED, None]
    return np.vstack([wide, *fitting(fits, best + steps * (np.array(wide) - best))])


def fitting(fits: Domain, points: Array) -> list[Array]:
    """Return those of the points that fit, moved to the nearest that stand for values."""
    if not fits.constraints:
        return list(_snapped(fits, points))
    snapped = space.snap(fits.space, points)
    return [point for point in snapped if fits.holds(space.decode(fits.space, point))]


def _snapped(fits: Domain, points: Array) -> Array:
    if all(isinstance(each, space.Real) and each.when is None for each in fits.space):
        return points  # any point stands for values
    return space.snap(fits.space, points)
