"""Ax, with BoTorch's models: several objectives by expected hypervolume, limits on outcomes, linear constraints, mixtures.

Source: Bakshy et al. (2018), "AE: a domain-agnostic platform for adaptive experimentation"; Balandat et al. (2020) for
BoTorch. A client is made for each call, told the trials that there are, and asked; nothing of it is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.experiments.constraints import Linear, Mixture
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.parameters import AnyParameter, Categorical, Integer, Ordinal, Real
from genesis_workbench.experiments.proposers._base import (
    CannotPropose,
    always,
    arguments,
    domain,
    improved,
    margins,
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
    from ax.api.client import Client

_ARGUMENTS = {"method": ("fast", "quality")}
_INSIDE = 1e-7  # of a constraint's size: Ax meets its bounds within rounding, an experiment exactly


class AxProposer:
    """Arguments: `method`, ``fast`` (the default) or ``quality``, a fully Bayesian model that takes much longer."""

    name: ClassVar[str] = "ax"

    def check(self, spec: ExperimentSpec) -> None:
        """Refuse conditions, parameters that are not always active, and sums over a log scale."""
        arguments(spec, self.name, _ARGUMENTS)
        needs(self.name, "ax")
        unable(self.name, spec, (Linear, Mixture), "gp")
        always(self.name, spec, "gp or optuna")
        logs = {each.name for each in spec.space if isinstance(each, Real | Integer) and each.log}
        ordered = {each.name for each in spec.space if isinstance(each, Ordinal)}
        for constraint in spec.constraints:
            named = set(constraint.weights) if isinstance(constraint, Linear) else set()
            if named & (logs | ordered):
                raise CannotPropose(
                    f"The proposer 'ax' keeps no sum over {min(named & (logs | ordered))!r}, whose scale is not linear "
                    f"({str(constraint)!r}). Use gp."
                )

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` points: first of a Sobol sequence, then what Ax proposes. See :class:`Proposer`."""
        self.check(spec)
        first = points_so_far(trials)
        if first < max(5, len(spec.space) + 2) or len(measured(spec, trials)) < 3:
            return sobol_values(spec, first, count)
        uncompiled()
        client = _client(spec, self.name, seed_of(spec, first))
        _tell(client, spec, trials)
        found: list[dict[str, Any]] = []
        while len(found) < count:
            more = client.get_next_trials(max_trials=count - len(found)).values()
            if not more:
                raise CannotPropose(f"Ax gave {len(found)} points, not {count}. Use gp.")
            found += [_outward(spec, point) for point in more]
        return found


def _client(spec: ExperimentSpec, name: str, seed: int) -> Client:
    from ax.api.client import Client

    for each in ("ax", "ax.api.client"):  # it tells of every trial that it is told
        logging.getLogger(each).setLevel(logging.ERROR)
    client = Client(random_seed=seed)
    left = {mixture.parts[-1] for mixture in domain(spec).mixtures}
    client.configure_experiment(
        parameters=[_parameter(each) for each in spec.space if each.name not in left],
        parameter_constraints=[f"{_sum(weights)} <= {bound!r}" for weights, bound in _bounds(domain(spec))],
    )
    client.configure_optimization(
        objective=", ".join(f"o{place}" for place in range(len(spec.objectives))),
        outcome_constraints=[f"m{place} >= 0" for place in range(len(spec.outcome_constraints))],
    )
    method = arguments(spec, name, _ARGUMENTS)["method"]
    client.configure_generation_strategy(
        method=method, initialization_budget=1, initialize_with_center=False, initialization_random_seed=seed
    )
    if spec.constraints:
        _hasten(client)
    return client


def _hasten(client: Client) -> None:
    """Let BoTorch walk less far for the points from which it starts within constraints.

    By its own numbers it takes some 40,000 steps, anew for each combination of whole numbers and names: minutes for twelve of
    them. Ax offers no way to say so but its strategy's own arguments.
    """
    options = {"optimizer_kwargs": {"options": {"n_burnin": 500, "n_thinning": 2}}}
    for node in client._generation_strategy._nodes:
        if node.name != "Sobol":
            for each in node.generator_specs:
                each.generator_gen_kwargs["model_gen_options"] = options


def _tell(client: Client, spec: ExperimentSpec, trials: Sequence[Trial]) -> None:
    complete = {id(trial) for trial in measured(spec, trials)}
    for trial in trials:
        number = client.attach_trial(_inward(spec, trial.parameters))
        if id(trial) in complete:
            seen = {f"o{place}": value for place, value in enumerate(improved(spec, trial))}
            seen |= {f"m{place}": value for place, value in enumerate(margins(spec, trial))}
            client.complete_trial(number, raw_data=seen)
        elif not trial.open:
            client.mark_trial_failed(number)


def _parameter(parameter: AnyParameter) -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(parameter, Categorical):
        return ChoiceParameterConfig(
            name=parameter.name, values=list(parameter.choices), parameter_type="str"
        )
    if isinstance(parameter, Ordinal):
        bounds: tuple[float, float] = (0, len(parameter.choices) - 1)
        return RangeParameterConfig(name=parameter.name, bounds=bounds, parameter_type="int")
    return RangeParameterConfig(
        name=parameter.name,
        bounds=(parameter.low, parameter.high),
        parameter_type="int" if isinstance(parameter, Integer) else "float",
        scaling="log" if parameter.log else "linear",
    )


def _sum(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{weight!r}*{name}" for name, weight in weights.items())


def _bounds(fits: Domain) -> Iterator[tuple[dict[str, float], float]]:
    """Iterate over weights and what their sum must not exceed, the last part of each mixture taken out of them."""
    for constraint in fits.constraints:
        if isinstance(constraint, Linear):
            for sign, bound in ((1.0, constraint.at_most), (-1.0, constraint.at_least)):
                if bound is not None:
                    yield _without_last(
                        fits, {n: sign * w for n, w in constraint.weights.items()}, sign * bound
                    )
    for mixture in fits.mixtures:
        last = mixture.of(fits.space)[-1]
        yield _without_last(fits, {last.name: 1.0}, last.high)
        yield _without_last(fits, {last.name: -1.0}, -last.low)


def _without_last(fits: Domain, weights: dict[str, float], bound: float) -> tuple[dict[str, float], float]:
    """Put total less the others in the place of a mixture's last part."""
    kept = dict(weights)
    for mixture in fits.mixtures:
        *others, last = mixture.parts
        weight = kept.pop(last, 0.0)
        bound -= weight * mixture.total
        for name in others:
            kept[name] = kept.get(name, 0.0) - weight
    kept = {name: weight for name, weight in kept.items() if weight}
    return kept, bound - _INSIDE * max(abs(bound), *map(abs, kept.values()))


def _inward(spec: ExperimentSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as Ax has it: without the last part of a mixture, ordered choices as whole numbers."""
    left = {mixture.parts[-1] for mixture in domain(spec).mixtures}
    return {
        each.name: each.choices.index(values[each.name]) if isinstance(each, Ordinal) else values[each.name]
        for each in spec.space
        if each.name not in left
    }


def _outward(spec: ExperimentSpec, point: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(point)
    for mixture in domain(spec).mixtures:
        *others, last = mixture.parts
        values[last] = mixture.total - sum(values[name] for name in others)
    return {
        each.name: each.choices[int(values[each.name])] if isinstance(each, Ordinal) else values[each.name]
        for each in spec.space
    }
