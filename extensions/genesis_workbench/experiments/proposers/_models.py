"""Which process fits what was seen: on the values or on their logarithms, with a constant mean or a quadratic trend.

The one that predicts best what is left out, each value in turn, is taken (Sundararajan and Keerthi, 2001, "Predictive
approaches for choosing hyperparameters in Gaussian processes"); densities of logarithms are put on the values' own scale.

How bad the bad values are says nothing of where the good ones lie, but would set length scales and the signal's variance.
So a process on the values with a constant mean is fitted to winsorised ones: what lies farther below the median than the best
lies above it counts as lying so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from genesis_workbench.experiments.proposers._gaussian import Array, GaussianProcess, standardised, terms

_LOG_OFFSETS = (0.05,)
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
            mean, deviation = model.left_out()
            fit = -0.5 * ((model.y - mean) / deviation) ** 2 - np.log(deviation) - np.log(spread) + log_slope
            found.append((float(fit.sum()), len(found), model))
    _, place, model = max(found)
    least = 2 * np.median(y) - y.max()
    if place == 0 and winsorised and (y < least).any():
        return GaussianProcess.fit(x, standardised(np.maximum(y, least)))
    return model


def _scales(y: Array) -> Iterator[tuple[Array, Array]]:
    """Iterate over scales: transformed values, and the logarithm of the transformation's slope at each."""
    yield y, np.zeros(len(y))
    gap = y.max() - y
    typical = float(np.median(gap))
    if typical > 0:
        for offset in _LOG_OFFSETS:
            values = -np.log(gap + offset * typical)
            yield values, values
