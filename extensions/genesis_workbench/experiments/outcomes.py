"""What observed trials say together: means over repeats, what keeps the limits, the best point, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from genesis_workbench.core.units import convert
from genesis_workbench.experiments.record import Name, Record, Unit
from genesis_workbench.experiments.trial import Trial

if TYPE_CHECKING:
    from genesis_workbench.experiments.spec import ExperimentSpec, Objective


class Limit(Record):
    """A bound on an outcome.

    Attributes
    ----------
    metric : str
        Outcome of the executor that is compared.
    at_least, at_most : float
        The bound, in `unit`; one of the two.
    """

    metric: Name
    at_least: float | None = None
    at_most: float | None = None
    unit: Unit = ""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a bound is either at_least or at_most")
        return self

    @property
    def bound(self) -> float:
        """The bound, in `unit`."""
        return float(self.at_most if self.at_least is None else self.at_least)  # type: ignore[arg-type]

    @property
    def sign(self) -> int:
        """1 where more is wanted, -1 where less."""
        return -1 if self.at_least is None else 1

    def reached(self, value: float, unit: str) -> bool:
        """Whether an observed value, given in `unit`, keeps the bound."""
        return self.sign * in_unit(value, unit, self.unit) >= self.sign * self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'≥' if self.sign > 0 else '≤'} {self.bound:g} {self.unit}".rstrip()


def in_unit(value: float, unit: str, to: str) -> float:
    """Convert a value; a value that has the unit already stays exactly what it is."""
    return value if unit == to else convert(value, unit, to)


def value_of(trial: Trial, metric: str, unit: str) -> float | None:
    """Return what a trial measured, in `unit`; None where it did not measure that."""
    seen = trial.values.get(metric) if trial.state == "observed" else None
    return None if seen is None else in_unit(float(seen["value"]), seen["unit"], unit)


@dataclass(frozen=True)
class Point:
    """What was measured at one set of parameters, by all its repeats together."""

    number: int
    parameters: dict[str, Any]
    trials: tuple[Trial, ...]

    def mean(self, metric: str, unit: str) -> float | None:
        """Return the mean over the repeats that measured it."""
        seen = self._seen(metric, unit)
        return math.fsum(seen) / len(seen) if seen else None

    def standard_error(self, metric: str, unit: str) -> float | None:
        """Return the standard error of the mean; None below two measurements."""
        seen = self._seen(metric, unit)
        if len(seen) < 2:
            return None
        mean = math.fsum(seen) / len(seen)
        return math.sqrt(math.fsum((each - mean) ** 2 for each in seen) / (len(seen) - 1) / len(seen))

    def keeps(self, limits: Iterable[Limit]) -> bool:
        """Whether its means keep all limits; one that was not measured is not kept."""
        for limit in limits:
            mean = self.mean(limit.metric, limit.unit)
            if mean is None or not limit.reached(mean, limit.unit):
                return False
        return True

    def described(self, objectives: Sequence[Objective]) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {}
        for objective in objectives:
            error = self.standard_error(objective.name, objective.unit)
            values[objective.name] = {
                "value": self.mean(objective.name, objective.unit),
                "unit": objective.unit,
                **({"standard_error": error} if error is not None else {}),
            }
        trials = [trial.number for trial in self.trials]
        return {"trial": trials[0], "trials": trials, "parameters": self.parameters, "values": values}

    def _seen(self, metric: str, unit: str) -> list[float]:
        values = (value_of(trial, metric, unit) for trial in self.trials)
        return [value for value in values if value is not None]


def points(trials: Iterable[Trial]) -> list[Point]:
    """Return the points of which something was observed, in the order in which they were proposed."""
    together: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.state == "observed":
            together.setdefault(trial.point, []).append(trial)
    return [Point(number, each[0].parameters, tuple(each)) for number, each in sorted(together.items())]


def candidates(spec: ExperimentSpec, trials: Iterable[Trial]) -> list[Point]:
    """Return the points that measured all objectives and keep the limits on outcomes."""
    return [
        point
        for point in points(trials)
        if point.keeps(spec.outcome_constraints)
        and all(point.mean(each.name, each.unit) is not None for each in spec.objectives)
    ]


def best(spec: ExperimentSpec, trials: Iterable[Trial]) -> Point | None:
    """Return the candidate with the best mean of the first objective."""
    return max(candidates(spec, trials), key=lambda point: _signed(spec, point)[0], default=None)


def front(spec: ExperimentSpec, trials: Iterable[Trial]) -> list[Point]:
    """Return the candidates that no other is better than in one objective and as good in the rest (Pareto)."""
    kept: list[tuple[Point, list[float]]] = []
    for point in candidates(spec, trials):
        values = _signed(spec, point)
        if not any(_dominates(other, values) for _, other in kept):
            kept = [each for each in kept if not _dominates(values, each[1])] + [(point, values)]
    return [point for point, _ in kept]


def _signed(spec: ExperimentSpec, point: Point) -> list[float]:
    """Return its means, each so that more is better."""
    means = [(each.maximize, point.mean(each.name, each.unit)) for each in spec.objectives]
    return [mean if maximize else -mean for maximize, mean in means if mean is not None]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other
