"""What a Gaussian process makes of the observations: mean and standard deviation along each parameter at the best point.

The process is the one of the proposer `gp`, fitted to the observations of the first objective, whoever proposed them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.outcomes import points
from genesis_workbench.experiments.parameters import AnyParameter, Categorical
from genesis_workbench.experiments.proposers._gaussian import GaussianProcess, one_thread
from genesis_workbench.experiments.state import ExperimentState

FEWEST, MOST = 4, 150
"""Points below which nothing is shown, and above which only the best and the latest are taken: the fit grows with n³."""


@one_thread()
def slices(state: ExperimentState, count: int = 41) -> list[dict[str, Any]]:
    """Return one slice through the best point for each parameter; none where there is too little to say.

    Parameters
    ----------
    count : int
        Places along a parameter at most.

    Returns
    -------
    list of dict
        ``parameter`` and its ``unit``; ``at``, the values along it; ``mean`` and ``deviation`` (of the mean, without the
        noise) of the first objective in its unit; ``best``, the best point's value; ``points``, how many observations of
        how many were fitted.
    """
    objective, domain = state.spec.objective, state.spec.space
    seen = [
        (point, mean)
        for point in points(state.decisive)
        if (mean := point.mean(objective.name, objective.unit)) is not None
    ]
    best = state.best
    if len(seen) < FEWEST or best is None:
        return []
    kept = _kept(seen, maximize=objective.maximize)
    x = np.array([spaces.encode(domain, point.parameters) for point, _ in kept])
    y = np.array([mean for _, mean in kept])
    centre, scale = y.mean(), y.std() or 1.0
    try:
        model = GaussianProcess.fit(x, (y - centre) / scale)
    except np.linalg.LinAlgError:
        return []  # values of points that coincide contradict each other beyond any noise: there is no such model
    found = []
    for parameter in domain:
        if parameter.name not in best.parameters:
            continue
        places = list(_along(domain, best.parameters, parameter, count))
        at, where = [value for value, _ in places], np.array([place for _, place in places])
        believed, deviation = model.predict(where)
        found.append(
            {
                "parameter": parameter.name,
                "unit": parameter.unit,
                "at": at,
                "mean": (centre + scale * believed).tolist(),
                "deviation": (scale * deviation).tolist(),
                "best": best.parameters[parameter.name],
                "points": [len(kept), len(seen)],
            }
        )
    return found


def _along(
    domain: Sequence[AnyParameter], best: Mapping[str, Any], parameter: AnyParameter, count: int
) -> Iterator[tuple[Any, NDArray[np.float64]]]:
    """Yield values of a parameter and where they lie; without those at which another begins to count, which has no value."""
    for value in parameter.levels(len(parameter.choices) if isinstance(parameter, Categorical) else count):
        values = {**best, parameter.name: value}
        there = {each.name for each in domain if each.when is None or each.when.holds(values)}
        if there <= values.keys():
            yield value, spaces.encode(domain, spaces.active(domain, values))


def _kept(seen: list[Any], *, maximize: bool) -> list[Any]:
    if len(seen) <= MOST:
        return seen
    ordered = sorted(range(len(seen)), key=lambda place: seen[place][1], reverse=maximize)
    chosen = {*ordered[: MOST // 2], *range(len(seen) - MOST // 2, len(seen))}
    return [seen[place] for place in sorted(chosen)]
