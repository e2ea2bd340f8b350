"""Chemistry: BoFire's SnAr reaction and its detergent, each as one value to minimise with limits on what else is measured.

SnAr: residence time, equivalents of pyrrolidine, concentration and temperature of a flow reactor (Hone et al., 2017; taken
from Summit by BoFire). One problem makes as much as it can in space and time with at most so much waste (E-factor), the
other wastes as little as it can and still makes so much. Detergent: five ingredients, the mean of five stains washed out;
what is left must be 60 to 80 % water, which counts as measured.

The optima were found by scipy: differential evolution with limits as penalties for the reaction, SLSQP from 60 starts for the
detergent. A trial that is better stops the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Values = list[float]
_MOST_WASTE, _LEAST_YIELD = 12.0, 4000.0  # kg of waste for each kg; kg/m³/h


@cache
def _made(name: str) -> Any:
    import bofire.benchmarks.api as benchmarks

    return getattr(benchmarks, name)()


def _of(name: str, x: np.ndarray) -> dict[str, float]:
    """Return what a benchmark of BoFire's measures at a point of the unit cube."""
    import pandas as pd

    inputs = _made(name).domain.inputs.get()
    frame = pd.DataFrame(
        [
            {
                each.key: each.bounds[0] + part * (each.bounds[1] - each.bounds[0])
                for each, part in zip(inputs, x, strict=True)
            }
        ]
    )
    return {**frame.iloc[0], **_made(name).f(frame).iloc[0]}


def snar_yield(x: np.ndarray) -> Values:
    seen = _of("SnarBenchmark", x)
    return [-seen["sty"], _MOST_WASTE - seen["e_factor"]]


def snar_waste(x: np.ndarray) -> Values:
    seen = _of("SnarBenchmark", x)
    return [seen["e_factor"], seen["sty"] - _LEAST_YIELD]


def detergent(x: np.ndarray) -> Values:
    seen = _of("Detergent", x)
    rest = 1 - sum(seen[f"x{place}"] for place in range(1, 6))
    return [-sum(seen[f"y{place}"] for place in range(1, 6)) / 5, rest - 0.6, 0.8 - rest]


CHEMISTRY: dict[str, tuple[int, float, Callable[[np.ndarray], Values]]] = {
    "snar_yield": (4, -11561.151, snar_yield),
    "snar_waste": (4, 9.486759, snar_waste),
    "detergent": (5, -1.3199817, detergent),
}
"""Of each: how many parameters, the optimum, and what is measured."""
