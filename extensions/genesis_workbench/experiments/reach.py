"""What a description asks for and could never have: arms without a point, approvals of nothing, trials beyond the budget.

It is asked before a launch, and not of experiments that are in a ledger already: those stay readable as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.budget import Amounts, Cost, together
from genesis_workbench.experiments.proposers._base import random_values
from genesis_workbench.experiments.record import about
from genesis_workbench.experiments.spec import Arm, ExperimentSpec
from genesis_workbench.experiments.steps import active

POINTS = 200
"""Random points over which costs are looked at where they depend on parameters."""


def check_reach(spec: ExperimentSpec) -> None:
    """Refuse what could never come about.

    Raises
    ------
    InvalidInput
        Naming the first such thing, and what to change.
    """
    _repeats(spec)
    _arms(spec)
    _approval(spec)
    _costs(spec)


def sampled(spec: ExperimentSpec) -> list[dict[str, Any]]:
    """Return random points over which costs are looked at: one, where all trials cost the same."""
    same = all(not isinstance(cost.planned, str) for _, cost in _all(spec)) and all(
        step.when is None for step in spec.steps
    )
    return [dict(random_values(spec, number)) for number in range(1 if same else POINTS)]


def planned(spec: ExperimentSpec, point: Mapping[str, Any]) -> Amounts:
    """Return what a trial at a point is planned to use, by amount."""
    total: Amounts = {}
    for costs in (spec.cost, *(step.cost for step in active(spec.steps, point))):
        for name, cost in costs.items():
            with about(f"cost.{name}"):
                total = together(total, {str(name): cost.of(spec.space, point)})
    return total


def _all(spec: ExperimentSpec) -> Iterator[tuple[str, Cost]]:
    for costs in (spec.cost, *(step.cost for step in spec.steps)):
        yield from costs.items()


def _repeats(spec: ExperimentSpec) -> None:
    trials = spec.budget.trials
    if spec.repeats > trials:
        raise InvalidInput(
            f"The {spec.repeats} repeats of one point are more than the budget of {trials} trials. Give fewer repeats, or "
            f"a budget of {spec.repeats} trials or more.",
            where="repeats",
        )


def _arms(spec: ExperimentSpec) -> None:
    count = math.ceil(spec.budget.trials / spec.repeats)
    missing = list(spec.arms)
    for point in range(1, count + 1):
        if not missing:
            return
        arm = spec.arm(point)
        if arm in missing:
            missing.remove(arm)
    for arm in missing:
        with about(f"arms.{spec.arms.index(arm)}.every"):
            raise InvalidInput(_why_none(spec, arm, count))


def _why_none(spec: ExperimentSpec, arm: Arm, count: int) -> str:
    if arm.every > count:
        return (
            f"The arm {arm.name!r} gets no trial: it is every {arm.every}th point, and the budget is for {count}. Give it a "
            f"smaller `every`, or a larger budget."
        )
    taken = ", ".join(
        dict.fromkeys(
            repr(other.name)
            for point in range(arm.every, count + 1, arm.every)
            if (other := spec.arm(point)) is not None
        )
    )
    return (
        f"The arm {arm.name!r} gets no trial: of the {count} points of the budget, each that would be its (every "
        f"{arm.every}th) goes to {taken}, which comes before it. Give it another `every`, such as {arm.every + 1}, or put it "
        "first."
    )


def _approval(spec: ExperimentSpec) -> None:
    names = {name for name, _ in _all(spec)}
    for name, amount in spec.approval.above.items():
        with about(f"approval.above.{name}"):
            if amount < 0:
                raise InvalidInput(
                    f"Trials cannot cost less than {amount:g} {name}. Give an amount from 0 on; the policy 'each' asks for "
                    "all of them."
                )
            if name not in names:
                if name == "trials":
                    raise InvalidInput(
                        f"No trial would ever wait for an approval: each is one trial, and none is above {amount:g}. Name "
                        "another amount, or take the policy 'first'."
                    )
                raise InvalidInput(
                    f"No trial would ever wait for an approval: nothing says how much {name} one costs, so none is above "
                    f"{amount:g}. Name another amount, or say how much {name} one costs."
                )


def _costs(spec: ExperimentSpec) -> None:
    given = [arm.parameters for arm in spec.arms if arm.parameters is not None]
    seen = [planned(spec, point) for point in [*sampled(spec), *given]]
    for name, limit in spec.budget.limits.items():
        least = min(each.get(name, 0.0) for each in seen)
        if name != "trials" and least > limit * (1 + 1e-9):
            unit = spec.budget.unit(name)
            about_so = "" if len(seen) == 1 else f" (the cheapest of {len(seen)} points that were looked at)"
            raise InvalidInput(
                f"One trial costs {least:g} {unit}{about_so}, and the whole budget is {limit:g}. Give a larger "
                f"budget of {name}, or a cheaper trial.",
                where=f"budget.{name}",
            )
