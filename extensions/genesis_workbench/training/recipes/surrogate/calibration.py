"""Whether an uncertainty is right: how often the truth lies where it says (Kuleshov et al. 2018, section 3)."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


def coverage(mean: np.ndarray, spread: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Return the share of truths within the central interval that should hold `level` of them, of a normal distribution."""
    half = _NORMAL.inv_cdf(0.5 + level / 2) * spread
    return float(np.mean(np.abs(truth - mean) <= half))


def factor(mean: np.ndarray, spread: np.ndarray, truth: np.ndarray, level: float = 0.9) -> float:
    """Return by what the spread must be multiplied, so that the interval of `level` holds that share of these truths."""
    ratio = np.abs(truth - mean) / np.maximum(spread, np.finfo("float32").tiny)
    return float(np.quantile(ratio, level) / _NORMAL.inv_cdf(0.5 + level / 2))
