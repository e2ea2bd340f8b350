"""A Gaussian process in numpy: Matérn-5/2, a length scale for each coordinate, mean, trend and scale profiled out.

The prior of the length scales grows with the number of coordinates (Hvarfner, Hellsten and Nardi, 2024, "Vanilla
Bayesian optimization performs great in high dimensions"). All gradients are analytic (Rasmussen and Williams, 2006,
section 5.4): a fit to 50 points takes some 10 ms.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]
_ALONE = threading.Lock()
_JITTER = 1e-9
_NOISE = np.log(1e-4)  # centre of the prior of the noise's variance, relative to the signal's
_NOISE_SPREAD = 3.0
_LENGTH_SPREAD = np.sqrt(3.0)
_NEVER = 1e10
_ENOUGH = {"maxiter": 25, "ftol": 1e-5, "gtol": 1e-3}  # the posterior is flat near its top


class GaussianProcess:
    """A process with a polynomial trend.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        Points in the unit cube.
    y : ndarray, shape (n,)
        Values with mean 0 and standard deviation 1.
    theta : ndarray, shape (d + 1,)
        Logarithms of the length scales and of the noise's variance relative to the signal's.
    degree : int
        0 for a constant mean, 2 for a quadratic trend.
    """

    def __init__(self, x: Array, y: Array, theta: Array, degree: int = 0) -> None:
        from scipy.linalg import cho_solve, cholesky

        self.x, self.y, self.theta, self.degree = x, y, theta, degree
        k, _ = _matern(_squares(x, x), np.exp(theta[:-1]))
        k[np.diag_indices_from(k)] += np.exp(theta[-1]) + _JITTER
        self._l = cholesky(k, lower=True)
        self._inverse = cho_solve((self._l, True), np.eye(len(x)))
        self._h = _trend(x, degree)
        self._ih = self._inverse @ self._h
        self._a = np.linalg.inv(_ridged(self._h.T @ self._ih))
        self._beta = self._a @ (self._ih.T @ y)
        residual = y - self._h @ self._beta
        self._alpha = self._inverse @ residual
        self.scale = max(float(residual @ self._alpha) / len(y), 1e-12)

    @classmethod
    def fit(cls, x: Array, y: Array, degree: int = 0) -> GaussianProcess:
        """Choose `theta` by its maximum a posteriori, from the better one of two starts."""
        from scipy.optimize import minimize

        d = x.shape[1]
        given = (_squares(x, x), y, _trend(x, degree))
        bounds = [(np.log(0.02), np.log(100.0))] * d + [(np.log(1e-8), np.log(2.0))]
        starts = [np.array([scale] * d + [_NOISE]) for scale in (_centre(d) - 1, np.log(0.3))]
        start = min(starts, key=lambda each: _loss(each, *given)[0])
        found = minimize(_loss, start, given, "L-BFGS-B", jac=True, bounds=bounds, options=_ENOUGH)
        return cls(x, y, found.x, degree)

    def given(self, x: Array, y: Array) -> GaussianProcess:
        """Return the process that has seen `y` at `x` too, with the same hyperparameters."""
        return GaussianProcess(np.vstack([self.x, x]), np.concatenate([self.y, y]), self.theta, self.degree)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return posterior mean and standard deviation, without noise, at points of shape (m, d)."""
        k, _ = _matern(_squares(points, self.x), np.exp(self.theta[:-1]))
        h = _trend(points, self.degree)
        left = h - k @ self._ih
        variance = 1 - ((k @ self._inverse) * k).sum(axis=1) + ((left @ self._a) * left).sum(axis=1)
        return h @ self._beta + k @ self._alpha, np.sqrt(self.scale * np.maximum(variance, 1e-12))

    def slopes(self, point: Array) -> tuple[float, float, Array, Array]:
        """Return mean and standard deviation at one point, shape (d,), and the gradients of both."""
        lengths = np.exp(self.theta[:-1])
        k, slope = _matern(_squares(point[None], self.x), lengths)
        dk = slope[0][:, None] * (point - self.x) / lengths**2  # (n, d)
        h, dh = _trend(point[None], self.degree)[0], _trend_slopes(point, self.degree)
        ik = self._inverse @ k[0]
        left, dleft = h - self._ih.T @ k[0], dh - self._ih.T @ dk
        variance = max(float(1 - k[0] @ ik + left @ self._a @ left), 1e-12)
        dvariance = -2 * ik @ dk + 2 * (self._a @ left) @ dleft
        deviation = float(np.sqrt(self.scale * variance))
        mean = float(h @ self._beta + k[0] @ self._alpha)
        return (
            mean,
            deviation,
            self._beta @ dh + self._alpha @ dk,
            self.scale * dvariance / (2 * deviation),
        )

    def learned(self, one: Array, other: Array) -> float:
        """Return how much of the variance at `other` a measurement at `one` takes away, as a share of the process's."""
        points = np.stack([one, other])
        lengths = np.exp(self.theta[:-1])
        k, _ = _matern(_squares(points, self.x), lengths)
        left = _trend(points, self.degree) - k @ self._ih
        prior, _ = _matern(_squares(points, points), lengths)
        posterior = prior - k @ self._inverse @ k.T + left @ self._a @ left.T
        return float(posterior[0, 1] ** 2 / (max(posterior[0, 0], 0) + np.exp(self.theta[-1]) + _JITTER))

    def left_out(self) -> tuple[Array, Array]:
        """Return what each value would have been predicted as without it, and its deviation with noise (Dubrule, 1983)."""
        q = self._inverse - self._ih @ self._a @ self._ih.T
        diagonal = np.maximum(np.diag(q), 1e-12)
        return self.y - (q @ self.y) / diagonal, np.sqrt(self.scale / diagonal)


def _centre(d: int) -> float:
    return float(np.sqrt(2) + 0.5 * np.log(d))  # Hvarfner et al. (2024), equation 5


def _loss(theta: Array, squares: Array, y: Array, h: Array) -> tuple[float, Array]:
    """Return the negative logarithm of the posterior of `theta`, and its gradient."""
    from scipy.linalg import cholesky
    from scipy.linalg.lapack import dpotri

    lengths, noise, n = np.exp(theta[:-1]), np.exp(theta[-1]), len(y)
    k, slope = _matern(squares, lengths)
    k[np.diag_indices_from(k)] += noise + _JITTER
    try:
        low = cholesky(k, lower=True)
    except np.linalg.LinAlgError:
        return _NEVER, np.zeros_like(theta)
    inverse = dpotri(low, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    ih = inverse @ h
    residual = y - h @ np.linalg.solve(_ridged(h.T @ ih), ih.T @ y)
    alpha = inverse @ residual
    scale = max(float(residual @ alpha) / n, 1e-12)
    weight = 0.5 * (inverse - np.outer(alpha, alpha) / scale)
    gradient = np.append(-squares.reshape(len(lengths), -1) @ (weight * slope).ravel(), 0.0)
    gradient[:-1] /= lengths**2
    gradient[-1] = np.trace(weight) * noise
    centre = _centre(len(lengths))
    away, noisier = (theta[:-1] - centre) / _LENGTH_SPREAD**2, (theta[-1] - _NOISE) / _NOISE_SPREAD**2
    value = n * np.log(scale) / 2 + np.log(np.diag(low)).sum()
    value += 0.5 * ((theta[:-1] - centre) @ away + (theta[-1] - _NOISE) * noisier)
    gradient[:-1] += away
    gradient[-1] += noisier
    return float(value), gradient


def _ridged(a: Array) -> Array:
    """Return a matrix that can be inverted: a trend's terms are not independent where a coordinate has two levels only."""
    a[np.diag_indices_from(a)] += 1e-8 * np.trace(a) / len(a)
    return a


def _squares(a: Array, b: Array) -> Array:
    """Return squared differences of points (n, d) and (m, d) by coordinate, shape (d, n, m)."""
    squares: Array = (a.T[:, :, None] - b.T[:, None, :]) ** 2
    return squares


def _matern(squares: Array, lengths: Array) -> tuple[Array, Array]:
    """Return the Matérn-5/2 kernel, shape (n, m), and what its derivative by half a scaled square is."""
    r = np.sqrt((5 / lengths**2) @ squares.reshape(len(lengths), -1)).reshape(squares.shape[1:])
    decay = np.exp(-r)
    return (1 + r + r**2 / 3) * decay, -(5 / 3) * (1 + r) * decay


def _trend(x: Array, degree: int) -> Array:
    """Return the trend's terms at points (n, d): 1, and for degree 2 all products of up to two coordinates."""
    ones = np.ones((len(x), 1))
    if degree == 0:
        return ones
    at = 2 * x - 1
    i, j = np.triu_indices(x.shape[1])
    return np.hstack([ones, at, at[:, i] * at[:, j]])


def _trend_slopes(point: Array, degree: int) -> Array:
    """Return the gradients of the trend's terms at a point, shape (terms, d)."""
    d = len(point)
    if degree == 0:
        return np.zeros((1, d))
    at, unit = 2 * point - 1, np.eye(d)
    i, j = np.triu_indices(d)
    products = at[i][:, None] * unit[j] + at[j][:, None] * unit[i]
    return np.asarray(2 * np.vstack([np.zeros((1, d)), unit, products]))


def terms(d: int, degree: int) -> int:
    """Return how many terms a trend has."""
    return 1 if degree == 0 else 1 + d + d * (d + 1) // 2


def standardised(y: Sequence[float] | Array) -> Array:
    """Return values with mean 0 and standard deviation 1."""
    values: Array = np.asarray(y, dtype=float)
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


@cache
def _libraries() -> ThreadpoolController:
    """Return what sets the threads of linear algebra; looked for once, since that takes milliseconds."""
    import scipy.linalg  # noqa: F401 - it brings a library of its own, which is only found once it is there
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread, within whatever fits processes and asks them.

    Matrices are small. On cores that others use too, or fewer than the machine has, threads wait for one another at each
    product: a proposal took four to twelve times as long. The setting is the process's, so one at a time is within.
    """
    with _ALONE, _libraries().limit(limits=1, user_api="blas"):
        yield
