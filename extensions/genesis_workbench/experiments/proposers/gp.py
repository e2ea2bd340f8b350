"""Bayesian optimisation with a small Gaussian process: the light default, without torch.

A Matérn-5/2 kernel with a length scale for each coordinate and the prior of Hvarfner, Hellsten and Nardi (2024,
"Vanilla Bayesian optimization performs great in high dimensions"), mean and scale profiled out, and the logarithm of
expected improvement of Ament et al. (2023, "Unexpected improvements to expected improvement") as acquisition.
Trials under way count at their posterior mean, so that parallel proposals differ (Ginsbourger et al., 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space
from genesis_workbench.experiments.constraints import Mixture
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.outcomes import Limit, value_of
from genesis_workbench.experiments.proposers._base import domain, points_so_far, sobol_values
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

Array = NDArray[np.float64]
_JITTER = 1e-9
_CONSTRAINED = 256


class GaussianProcessProposer:
    """First a Sobol sequence, then the point with the largest expected improvement."""

    name: ClassVar[str] = "gp"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points, one after the other. See :class:`Proposer`."""
        d = space.width(spec.space)
        first = max(5, d + 2)
        wanted = {each.name for each in spec.objectives} | {each.metric for each in spec.outcome_constraints}
        done = [trial for trial in trials if trial.state == "observed" and wanted <= set(trial.values)]
        points: list[dict[str, Any]] = []
        pending = [space.encode(spec.space, trial.parameters) for trial in trials if trial.open]
        for _ in range(count):
            number = points_so_far(trials) + len(points)
            if number < first or len(done) < 3:
                points += sobol_values(spec, number, 1)
            else:
                x = np.array([space.encode(spec.space, trial.parameters) for trial in done])
                at = _next(spec, x, done, np.array(pending).reshape(-1, d), number)
                points.append(space.decode(spec.space, at))
            pending.append(space.encode(spec.space, points[-1]))
        return points


def _next(spec: ExperimentSpec, x: Array, done: Sequence[Trial], pending: Array, number: int) -> Array:
    """Return the point of the unit cube, shape (d,), with the largest log expected improvement.

    With limits on outcomes, the logarithm of the probability that they are kept is added (Gardner et al., 2014).
    """
    from scipy.special import log_ndtr

    rng = np.random.default_rng([spec.seed, number])
    y = _goal(spec, done, number)
    y = (y - y.mean()) / (y.std() or 1.0)
    model = GaussianProcess.fit(x, y)
    limits = [_limited(limit, x, done) for limit in spec.outcome_constraints]
    if len(pending):
        believed = model.predict(pending)[0]
        model = GaussianProcess(np.vstack([x, pending]), np.concatenate([y, believed]), model.theta)
    kept = np.all([margin >= 0 for _, _, margin in limits], axis=0) if limits else np.ones(len(y), dtype=bool)
    best = model.predict(x[kept])[0].max() if kept.any() else None

    def loss(points: Array) -> Array:
        gain = np.zeros(len(points))
        if best is not None:
            gain = log_expected_improvement(*model.predict(points), best)
        for process, at_zero, _ in limits:
            mean, deviation = process.predict(points)
            gain = gain + log_ndtr((mean - at_zero) / deviation)
        return -gain

    candidates = _candidates(domain(spec), x[np.argmax(np.where(kept, y, y.min() - 1))], rng)
    starts = candidates[np.argsort(loss(candidates))[:4]]
    refined = np.vstack([starts, *_polished(domain(spec), starts, loss)])
    best_point: Array = refined[np.argmin(loss(refined))]
    return best_point


def _goal(spec: ExperimentSpec, done: Sequence[Trial], number: int) -> Array:
    """Return what is improved, more being better, shape (n,).

    Several objectives are made into one with other weights for each point: the augmented Chebyshev sum of ParEGO
    (Knowles, 2006), which reaches the whole Pareto front, the parts that bend inwards too.
    """
    signed = np.array(
        [
            [_seen(trial, each.name, each.unit) * (1 if each.maximize else -1) for each in spec.objectives]
            for trial in done
        ]
    )
    if signed.shape[1] == 1:
        only: Array = signed[:, 0]
        return only
    spread = np.ptp(signed, axis=0)
    lack = (signed.max(axis=0) - signed) / np.where(spread > 0, spread, 1.0)
    weighted = lack * np.random.default_rng([spec.seed, number, 1]).dirichlet(np.ones(signed.shape[1]))
    goal: Array = -(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))
    return goal


def _limited(limit: Limit, x: Array, done: Sequence[Trial]) -> tuple[GaussianProcess, float, Array]:
    """Return a process of how far a limit is kept, where its zero lies on its scale, and the observed margins."""
    margin = np.array([limit.sign * (_seen(trial, limit.metric, limit.unit) - limit.bound) for trial in done])
    mean, deviation = float(margin.mean()), float(margin.std()) or 1.0
    return GaussianProcess.fit(x, (margin - mean) / deviation), -mean / deviation, margin


def _seen(trial: Trial, metric: str, unit: str) -> float:
    value = value_of(trial, metric, unit)
    assert value is not None  # noqa: S101 - only trials that measured it are asked
    return value


def _candidates(fits: Domain, best: Array, rng: np.random.Generator) -> Array:
    """Return points that fit, shape (n, d): some from everywhere, some around the best one."""
    d = fits.width
    if not fits.constraints:
        around = best + rng.normal(size=(256, d)) * np.repeat([0.02, 0.1], 128)[:, None]
        return space.snap(fits.space, np.clip(np.vstack([rng.random((1024, d)), around]), 0, 1))
    anywhere = [
        space.encode(fits.space, each) for each in fits.first(lambda: rng.random((64, d)), _CONSTRAINED)
    ]
    # On the way from the best point to another that fits, sums and linear bounds hold.
    steps = np.repeat([0.02, 0.1, 0.3], -(-_CONSTRAINED // 3))[:_CONSTRAINED, None]
    between = _fitting(fits, best + steps * (np.array(anywhere) - best))
    return np.vstack([anywhere, *between])


def _polished(fits: Domain, starts: Array, loss: Callable[[Array], Array]) -> list[Array]:
    """Return the local optima near `starts` that fit; a gradient knows nothing of a mixture's sum."""
    from scipy.optimize import minimize

    if any(isinstance(each, Mixture) for each in fits.constraints):
        return []
    bounds = [(0, 1)] * fits.width
    ends = [
        minimize(lambda at: float(loss(at[None])[0]), start, method="L-BFGS-B", bounds=bounds).x
        for start in starts
    ]
    return _fitting(fits, np.clip(ends, 0, 1))


def _fitting(fits: Domain, points: Array) -> list[Array]:
    snapped = space.snap(fits.space, points)
    return [point for point in snapped if fits.holds(space.decode(fits.space, point))]


class GaussianProcess:
    """A zero-mean process on standardised values.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        Points in the unit cube.
    y : ndarray, shape (n,)
        Values with mean 0 and standard deviation 1.
    theta : ndarray, shape (d + 1,)
        Logarithms of the length scales and of the noise's variance relative to the signal's.
    """

    def __init__(self, x: Array, y: Array, theta: Array) -> None:
        from scipy.linalg import cho_solve, cholesky

        self.x, self.theta = x, theta
        k = _matern(x, x, np.exp(theta[:-1]))
        k[np.diag_indices_from(k)] += np.exp(theta[-1]) + _JITTER
        self._l = cholesky(k, lower=True)
        ones = cho_solve((self._l, True), np.ones(len(x)))
        self._mean = float(ones @ y / ones.sum())
        self._alpha = cho_solve((self._l, True), y - self._mean)
        self._scale = max(float((y - self._mean) @ self._alpha) / len(y), 1e-12)

    @classmethod
    def fit(cls, x: Array, y: Array) -> GaussianProcess:
        """Choose `theta` by its maximum a posteriori, from three starts."""
        from scipy.optimize import minimize

        d = x.shape[1]
        centre = np.sqrt(2) + 0.5 * np.log(d)  # Hvarfner et al. (2024), equation 5

        def loss(theta: Array) -> float:
            try:
                process = cls(x, y, theta)
            except np.linalg.LinAlgError:
                return 1e6
            evidence = len(y) * np.log(process._scale) / 2 + np.log(np.diag(process._l)).sum()
            lengths = ((theta[:-1] - centre) ** 2).sum() / (2 * 3)
            noise = (theta[-1] - np.log(1e-4)) ** 2 / (2 * 9)
            return float(evidence + lengths + noise)

        bounds = [(np.log(0.02), np.log(100.0))] * d + [(np.log(1e-8), np.log(0.5))]
        starts = [np.array([scale] * d + [np.log(1e-4)]) for scale in (centre, np.log(0.3), np.log(1.0))]
        found = [minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
        return cls(x, y, min(found, key=lambda each: float(each.fun)).x)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return posterior mean and standard deviation at points of shape (m, d)."""
        from scipy.linalg import solve_triangular

        k = _matern(points, self.x, np.exp(self.theta[:-1]))
        mean = self._mean + k @ self._alpha
        v = solve_triangular(self._l, k.T, lower=True)
        variance = np.maximum(1 - (v**2).sum(axis=0), 1e-12)
        return mean, np.sqrt(self._scale * variance)


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the expected improvement over `best`, finite far below it too."""
    from scipy.special import erfcx, log_ndtr

    z = (mean - best) / deviation
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = z > -1
    with np.errstate(all="ignore"):
        direct = np.log(np.exp(log_density) + z * np.exp(log_ndtr(z)))
        # 1 + z * Mills ratio, from Ament et al. (2023), appendix A
        tail = log_density + np.log1p(np.maximum(z * erfcx(-z / np.sqrt(2)) * np.sqrt(np.pi / 2), -1 + 1e-15))
    result: Array = np.where(near, direct, tail) + np.log(deviation)
    return result


def _matern(a: Array, b: Array, lengths: Array) -> Array:
    """Return the Matérn-5/2 kernel of points (n, d) and (m, d), shape (n, m)."""
    r = np.sqrt(5 * np.maximum((((a[:, None] - b[None]) / lengths) ** 2).sum(axis=-1), 0))
    kernel: Array = (1 + r + r**2 / 3) * np.exp(-r)
    return kernel
