"""BayBE's recommender, for mixtures and many discrete choices.

Source: Fitzner et al. (2025), "BayBE: a Bayesian back end for experimental planning in the low-to-no-data regime". The
recommender is a function of measurements and pending points, which is all that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.experiments.constraints import Linear, Mixture
from genesis_workbench.experiments.parameters import AnyParameter, Categorical, Integer, Real
from genesis_workbench.experiments.proposers._base import (
    CannotPropose,
    always,
    arguments,
    improved,
    measured,
    needs,
    points_so_far,
    seed_of,
    sobol_values,
    unable,
    uncompiled,
)
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial

if TYPE_CHECKING:
    import pandas as pd

_LISTED = (
    20  # values that a whole number has at most to be listed; with more it is a real one that is rounded
)
_MOST_COMBINATIONS = 20_000
_MOST_BESIDE_REAL = (
    200  # for each of them real numbers are optimised anew, which takes a tenth of a second and more
)
_INSIDE = 1e-7


class BaybeProposer:
    """First a Sobol sequence, then what BayBE recommends."""

    name: ClassVar[str] = "baybe"

    def check(self, spec: ExperimentSpec) -> None:
        """Refuse limits on outcomes, conditions, sums over discrete numbers, and more combinations than can be listed."""
        arguments(spec, self.name, {})
        needs(self.name, "baybe")
        if spec.outcome_constraints:
            raise CannotPropose(
                f"The proposer 'baybe' does not model limits such as {str(spec.outcome_constraints[0])!r}. Use gp or ax."
            )
        unable(self.name, spec, (Linear, Mixture), "gp")
        always(self.name, spec, "gp or optuna")
        plain = {each.name for each in spec.space if isinstance(each, Real) and not each.log}
        for constraint in spec.constraints:
            odd = set(constraint.weights) - plain if isinstance(constraint, Linear) else set()
            if odd:
                raise CannotPropose(
                    f"The proposer 'baybe' keeps sums of real numbers only, not over {min(odd)!r}. Use gp."
                )
        listed = [each for each in spec.space if not _continuous(each)]
        combinations = math.prod(len(_levels(each)) for each in listed)
        if combinations > (_MOST_COMBINATIONS if len(listed) == len(spec.space) else _MOST_BESIDE_REAL):
            raise CannotPropose(
                f"The proposer 'baybe' lists all combinations of discrete values; {combinations} are too many. Use gp."
            )

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points. See :class:`Proposer`."""
        import torch
        from baybe.recommenders import BotorchRecommender
        from baybe.searchspace import SearchSpace

        self.check(spec)
        first, done = points_so_far(trials), measured(spec, trials)
        if first < max(5, len(spec.space) + 2) or len(done) < 3:
            return sobol_values(spec, first, count)
        uncompiled()
        pending = [trial for trial in trials if trial.open]
        objective, names = _objective(spec)
        seen = _table(spec, done)
        for place, name in enumerate(names):
            seen[name] = [improved(spec, trial)[place] for trial in done]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(spec, first))
            found = BotorchRecommender().recommend(
                count,
                SearchSpace.from_product([_parameter(each) for each in spec.space], list(_constraints(spec))),
                objective,
                seen,
                _table(spec, pending) if pending else None,
            )
        return [_outward(spec, row) for row in found.to_dict("records")]


def _objective(spec: ExperimentSpec) -> tuple[Any, list[str]]:
    from baybe.objectives import ParetoObjective
    from baybe.targets import NumericalTarget

    names = [f"objective {place}" for place in range(len(spec.objectives))]
    targets = [NumericalTarget(name) for name in names]
    return (targets[0].to_objective() if len(targets) == 1 else ParetoObjective(targets)), names


def _continuous(parameter: AnyParameter) -> bool:
    return isinstance(parameter, Real) or (
        isinstance(parameter, Integer) and parameter.high - parameter.low >= _LISTED
    )


def _levels(parameter: AnyParameter) -> Sequence[Any]:
    if isinstance(parameter, Integer):
        return range(parameter.low, parameter.high + 1)
    return () if isinstance(parameter, Real) else parameter.choices


def _parameter(parameter: AnyParameter) -> Any:
    from baybe.parameters import (
        CategoricalParameter,
        NumericalContinuousParameter,
        NumericalDiscreteParameter,
    )

    if isinstance(parameter, Real) and not parameter.log:
        return NumericalContinuousParameter(parameter.name, (parameter.low, parameter.high))
    if _continuous(parameter):
        return NumericalContinuousParameter(parameter.name, (0.0, 1.0))
    if isinstance(parameter, Categorical):
        return CategoricalParameter(parameter.name, parameter.choices)
    # A log scale and ordered choices by their place in the unit cube.
    return NumericalDiscreteParameter(
        parameter.name, [parameter.encode(each)[0] for each in _levels(parameter)]
    )


def _constraints(spec: ExperimentSpec) -> Iterable[Any]:
    from baybe.constraints import ContinuousLinearConstraint

    for constraint in spec.constraints:
        if isinstance(constraint, Mixture):
            parts = list(constraint.parts)
            yield ContinuousLinearConstraint(parts, "=", [1.0] * len(parts), constraint.total)
        elif isinstance(constraint, Linear):
            weights = list(constraint.weights.values())
            slack = _INSIDE * max(map(abs, weights))
            for operator, bound, sign in (("<=", constraint.at_most, -1), (">=", constraint.at_least, 1)):
                if bound is not None:
                    yield ContinuousLinearConstraint(
                        list(constraint.weights), operator, weights, bound + sign * slack
                    )


def _table(spec: ExperimentSpec, trials: Iterable[Trial]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [{each.name: _inward(each, trial.parameters[each.name]) for each in spec.space} for trial in trials]
    )


def _inward(parameter: AnyParameter, value: Any) -> Any:
    """Return a value as BayBE has it: a plain real number and a name as they are, the rest by its place."""
    if isinstance(parameter, Categorical) or (isinstance(parameter, Real) and not parameter.log):
        return value
    return parameter.encode(value)[0]


def _outward(spec: ExperimentSpec, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as values; the last part of a mixture is what the others leave, since BayBE rounds."""
    values: dict[str, Any] = {}
    for each in spec.space:
        seen = row[each.name]
        if isinstance(each, Real) and not each.log:
            values[each.name] = min(each.high, max(each.low, float(seen)))
        else:
            values[each.name] = str(seen) if isinstance(each, Categorical) else each.decode([float(seen)])
    for mixture in (one for one in spec.constraints if isinstance(one, Mixture)):
        *others, last = mixture.of(spec.space)
        rest = mixture.total - sum(values[part.name] for part in others)
        values[last.name] = min(last.high, max(last.low, rest))
    return values
