"""Which process fits what was seen: on the values or on their logarithms, with a constant mean or a quadratic trend.

The one that predicts best what is left out, each value in turn, is taken (Sundararajan and Keerthi, 2001, "Predictive
approaches for choosing hyperparameters in Gaussian processes"); densities of logarithms are put on the values' own scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from genesis_workbench.experiments.proposers._gaussian import Array, GaussianProcess, terms

_LOG_OFFSETS = (0.05,)
_TREND_POINTS = 1.5  # points for each term of a trend, at least


def chosen(x: Array, y: Array, *, plain: bool = False) -> GaussianProcess:
    """Return the best process for values `y`, shape (n,), more being better, at points `x`, shape (n, d).

    Its own scale grows with `y`, and need not be the scale of `y`; with `plain` it is.
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
    return max(found)[2]


def _scales(y: Array) -> Iterator[tuple[Array, Array]]:
    """Iterate over scales: transformed values, and the logarithm of the transformation's slope at each."""
    yield y, np.zeros(len(y))
    gap = y.max() - y
    typical = float(np.median(gap))
    if typical > 0:
        for offset in _LOG_OFFSETS:
            values = -np.log(gap + offset * typical)
            yield values, values
