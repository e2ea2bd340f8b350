"""Which process fits what was seen: on the values or on logarithms, with a constant mean or a quadratic trend.

The one that predicts best what is left out, each value in turn, is taken (Sundararajan and Keerthi, 2001, "Predictive
approaches for choosing hyperparameters in Gaussian processes"); densities of logarithms are put on the values' own scale.

How bad the bad values are says nothing of where the good ones lie, but would set length scales and the signal's variance.
So a process on the values with a constant mean is fitted to winsorised ones: what lies farther below the median than the best
lies above it counts as lying so far. In the same way a limit that is broken by orders of magnitude hides where it is just kept; its
logarithms are about zero, on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from genesis_workbench.experiments.proposers._gaussian import Array, GaussianProcess, standardised, terms

_LOG_OFFSETS = (0.05,)
_LIMIT_OFFSET = 0.1  # of what a limit is typically kept or broken by: so much is stretched least
_TREND_POINTS = 1.5  # points for each term of a trend, at least


def chosen(x: Array, y: Array, *, plain: bool = False, winsorised: bool = True) -> GaussianProcess:
    """Return the best process for values `y`, shape (n,), more being better, at points `x`, shape (n, d).

    Its own scale grows with `y`, and need not be the scale of `y`; with `plain` it is, but for bad values.

    Parameters
    ----------
    winsorised : bool
        Whether bad values may count as less bad: not where limits say what is good, and the best that keeps them may be among them.
    """
    found: list[tuple[float, int, GaussianProcess]] = []
    degrees = (0, 2) if len(y) >= _TREND_POINTS * terms(x.shape[1], 2) else (0,)
    for values, log_slope in islice(_scales(y), 1 if plain else None):
        spread = values.std() or 1.0
        for degree in degrees:
            model = GaussianProcess.fit(x, (values - values.mean()) / spread, degree)
            found.append((_evidence(model, spread, log_slope), len(found), model))
    _, place, model = max(found)
    least = 2 * np.median(y) - y.max()
    if place == 0 and winsorised and (y < least).any():
        return GaussianProcess.fit(x, standardised(np.maximum(y, least)))
    return model


def limit(x: Array, margin: Array) -> tuple[GaussianProcess, float]:
    """Return the best process for margins of a limit, shape (n,), and where zero lies on its scale."""
    typical = _LIMIT_OFFSET * float(np.median(np.abs(margin)))
    scales = [(margin, np.zeros(len(margin)))]
    if typical > 0 and np.ptp(np.abs(margin)) > 0:
        stretched = np.sign(margin) * np.log1p(np.abs(margin) / typical)
        scales.append((stretched, -np.log(typical + np.abs(margin))))
    found: list[tuple[float, GaussianProcess, float]] = []
    for values, log_slope in scales:
        spread = float(values.std()) or 1.0
        model = GaussianProcess.fit(x, standardised(values))
        found.append((_evidence(model, spread, log_slope), model, -float(values.mean()) / spread))
    _, model, zero = max(found, key=lambda each: each[0])
    return model, zero


def _evidence(model: GaussianProcess, spread: float, log_slope: Array) -> float:
    """Return the logarithm of the density of what was seen, each value left out in turn, on the values' own scale.

    Parameters
    ----------
    spread : float
        What the process's values were divided by.
    log_slope : ndarray, shape (n,)
        Logarithm of the slope at each value of what was done to it before.
    """
    mean, deviation = model.left_out()
    fit = -0.5 * ((model.y - mean) / deviation) ** 2 - np.log(deviation) - np.log(spread) + log_slope
    return float(fit.sum())


def _scales(y: Array) -> Iterator[tuple[Array, Array]]:
    """Iterate over scales: transformed values, and the logarithm of the transformation's slope at each."""
    yield y, np.zeros(len(y))
    gap = y.max() - y
    typical = float(np.median(gap))
    if typical > 0:
        for offset in _LOG_OFFSETS:
            values = -np.log(gap + offset * typical)
            yield values, values
