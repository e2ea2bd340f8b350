"""What rules share: observations, verdicts, moments, and the digest of a rule's own source."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.experiments import outcomes
from genesis_workbench.experiments.trial import MAIN, UNDONE, Trial

Decision = Literal["supported", "not supported", "undecided"]
Confidence = Annotated[float, Field(gt=0.5, lt=1, description="One minus the error rate of each side.")]
By = Annotated[
    Literal["point", "trial"],
    Field(
        description="What counts as one independent observation: a point's mean over its repeats, or each trial."
    ),
]


@dataclass(frozen=True)
class Observed:
    """One observation, in the rule's unit."""

    value: float
    arm: str = MAIN
    trial: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the observations.

    Attributes
    ----------
    says : str
        The same in a sentence, with the numbers.
    evidence : dict
        The numbers, as JSON values.
    final : bool
        Whether more observations cannot change it, so that an experiment may end on it.
    """

    decision: Decision
    says: str
    evidence: dict[str, Any] = field(default_factory=dict)
    final: bool = False


class DecisionRule(Protocol):
    """The contract of a rule. `anytime`: it may be asked after each observation without raising its error rate."""

    anytime: ClassVar[bool]

    @property
    def metric(self) -> str:
        """The outcome that it looks at."""
        ...

    @property
    def unit(self) -> str:
        """The unit that it wants it in."""
        ...

    @property
    def by_point(self) -> bool:
        """Whether repeats of a point are one observation."""
        ...

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose trials it looks at."""
        ...

    def verdict(self, observed: Sequence[Observed]) -> Verdict:
        """Decide on observations, in the order in which they came."""
        ...


@dataclass(frozen=True)
class Moments:
    """Number, mean and variance of the mean of a sample; the variance is None below two observations."""

    n: int
    mean: float
    variance: float | None

    @classmethod
    def of(cls, observed: Iterable[Observed], arm: str) -> Moments:
        """Return those of one arm."""
        values = [each.value for each in observed if each.arm == arm]
        n = len(values)
        mean = math.fsum(values) / n if n else 0.0
        if n < 2:
            return cls(n, mean, None)
        return cls(n, mean, math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def observations(rule: DecisionRule, trials: Iterable[Trial], repeats: int) -> list[Observed]:
    """Return what a rule decides on: values of its metric in its unit, of its arms, in the order in which they came.

    By point, the mean over a point's repeats is one observation, there once the last of them has ended: repeats of one
    point are not independent of each other. A point that the experiment's end cut off is none: it was none before either.
    """
    groups: dict[tuple[int, int], list[Trial]] = {}
    for trial in trials:
        if trial.arm in rule.arms:
            groups.setdefault((trial.point, 0 if rule.by_point else trial.number), []).append(trial)
    found = []
    for group in groups.values():
        if any(trial.open or trial.reason == UNDONE for trial in group) or (
            rule.by_point and len(group) < repeats
        ):
            continue
        values = [outcomes.value_of(trial, rule.metric, rule.unit) for trial in group]
        seen = [value for value in values if value is not None]
        if seen:
            when = max(trial.settled for trial in group)
            found.append((when, Observed(math.fsum(seen) / len(seen), group[0].arm, group[0].number)))
    return [observed for _, observed in sorted(found, key=lambda each: each[0])]


def one_sided(
    estimate: float, variance: float | None, freedom: float, bound: float, confidence: float
) -> tuple[Decision, dict[str, Any]]:
    """Decide by Student's t whether a quantity lies above `bound`, below it, or neither can be said.

    Each of the two one-sided tests has the error rate 1 - `confidence`.
    """
    from scipy.stats import t as student

    if not variance or not math.isfinite(freedom) or freedom <= 0:
        return "undecided", {"estimate": estimate}
    error = math.sqrt(variance)
    at = (estimate - bound) / error
    above, below = float(student.sf(at, freedom)), float(student.cdf(at, freedom))
    reach = float(student.ppf(confidence, freedom)) * error
    evidence = {
        "estimate": estimate,
        "standard_error": error,
        "degrees_of_freedom": freedom,
        "lower": estimate - reach,
        "upper": estimate + reach,
        "p_above": above,
        "p_below": below,
    }
    alpha = 1 - confidence
    return ("supported" if above <= alpha else "not supported" if below <= alpha else "undecided"), evidence


def welch(treatment: Moments, control: Moments) -> tuple[float, float | None, float]:
    """Return difference, its variance and its degrees of freedom, variances unequal (Welch, 1947)."""
    difference = treatment.mean - control.mean
    if not treatment.variance and not control.variance:
        return difference, None, 0.0
    if treatment.variance is None or control.variance is None:
        return difference, None, 0.0
    a, b = treatment.variance, control.variance
    freedom = (a + b) ** 2 / (a**2 / (treatment.n - 1) + b**2 / (control.n - 1))
    return difference, a + b, freedom


def too_few(evidence: dict[str, Any]) -> bool:
    """Whether :func:`one_sided` could not test at all."""
    return "p_above" not in evidence


def source_digest(rule: object) -> str:
    """SHA-256 of the source of a rule: its own module and what all rules share."""
    modules = (sys.modules[type(rule).__module__], sys.modules[__name__], outcomes)
    sources = {module.__name__: "\n".join(inspect.getsource(module).splitlines()) for module in modules}
    return digest_json(sources)
