"""What is tried next: points that people added, repeats that are due, arms of comparison, and what the proposer proposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from genesis_workbench.experiments import advice
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.guard import in_thread
from genesis_workbench.experiments.proposers._base import (
    Advised,
    CannotPropose,
    NoAdvice,
    domain,
    points_so_far,
    random_values,
)
from genesis_workbench.experiments.spec import PERSON, ExperimentSpec
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.trial import MAIN, Trial

PATIENCE = 3
"""So often may a proposer fail before it is not asked again."""

_ARMS = 2  # random points of arms are not those that the proposer `random` draws
Ask = Callable[[ExperimentSpec, Sequence[Trial], str, int], list[dict[str, Any]]]
"""Asks the proposer of a name for a number of points; raises whatever it raises, or that it took too long."""


@dataclass(frozen=True)
class Planned:
    """A trial to come. `because` says why another proposer than the experiment's own proposed it, `rationale` what it said."""

    parameters: dict[str, Any]
    proposer: str
    point: int
    arm: str = MAIN
    because: str = ""
    added: str = ""
    rationale: str = ""

    def body(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        body = {
            "parameters": self.parameters,
            "proposer": self.proposer,
            "point": self.point,
            "arm": self.arm,
        }
        more = {name: value for name in ("because", "added", "rationale") if (value := getattr(self, name))}
        return body | more


@dataclass(frozen=True)
class Plan:
    """The next trials, what is told of a proposer that raised or hung, and what one asked of somebody outside."""

    trials: list[Planned]
    failures: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)


def plan(state: ExperimentState, count: int, ask: Ask = in_thread) -> Plan:
    """Return the next trials, at most `count`: a pure function of the events behind `state`."""
    due, found = _repeats(state)[:count], Plan([])
    repeats = state.spec.repeats
    for planned in _points(state, -(-(count - len(due)) // repeats), ask, found):
        due += [planned] * repeats
    return replace(found, trials=due[:count])


def _repeats(state: ExperimentState) -> list[Planned]:
    """Return what is left to repeat of points that were begun."""
    if state.spec.repeats == 1:
        return []
    begun: dict[int, list[Trial]] = {}
    for trial in state.trials:
        begun.setdefault(trial.point, []).append(trial)
    left = []
    for point, trials in begun.items():
        again = Planned(trials[0].parameters, trials[0].proposer, point, trials[0].arm)
        left += [again] * (state.spec.repeats - len(trials))
    return left


def _points(state: ExperimentState, count: int, ask: Ask, told: Plan) -> list[Planned]:
    first = points_so_far(state.trials) + 1
    numbers = range(first, first + count)
    people = iter(state.added)
    own = [number for number in numbers if state.spec.arm(number) is None]
    proposed = iter(_proposed(state, len(own) - len(state.added), ask, told))
    found = []
    for number in numbers:
        arm = state.spec.arm(number)
        if arm is not None and arm.parameters is None:
            found.append(Planned(dict(random_values(state.spec, number, _ARMS)), "random", number, arm.name))
        elif arm is not None and arm.parameters is not None:
            found.append(Planned(arm.parameters, "given", number, arm.name))
        elif (added := next(people, None)) is not None:
            found.append(Planned(added["parameters"], PERSON, number, added=added["added"]))
        elif (each := next(proposed, None)) is not None:
            found.append(replace(each, point=number))
        else:
            break  # nobody has more points now
    return found


def _proposed(state: ExperimentState, count: int, ask: Ask, told: Plan) -> list[Planned]:
    """Return points, who proposed each and why it was not the experiment's own proposer."""
    if count <= 0 or state.spec.proposer == PERSON:
        return []
    spec, trials = state.spec, [*state.earlier, *state.trials]
    because = given_up(state)
    if not because:
        try:
            return _own(state, trials, count, ask, told)
        except CannotPropose as error:
            because = f"{spec.proposer} cannot be used: {error}"[:500]
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the experiment goes on and says why
            because = f"{spec.proposer} failed: {error or type(error).__name__}"[:500]
            told.failures.append({"proposer": spec.proposer, "reason": because, "fall_back": spec.fall_back})
            if isinstance(error, NoAdvice):
                told.asked.append(advice.body(state, error.record, []))
    points = _checked(spec, trials, spec.fall_back, count, ask)
    return [Planned(point, spec.fall_back, 0, because=because) for point in points]


def _own(state: ExperimentState, trials: Sequence[Trial], count: int, ask: Ask, told: Plan) -> list[Planned]:
    """Return the points of the experiment's own proposer: those that are in the ledger, or those that it gives now."""
    spec = state.spec
    kept = advice.kept(state, count)
    if kept is None:
        advice.afford(state, count)
    points = kept if kept is not None else ask(spec, trials, spec.proposer, count)
    points = _fitting(spec, points, count)
    why: list[str] = [""] * count
    if isinstance(points, Advised):
        why = [*points.record.get("why", ()), *why]
        if kept is None:
            told.asked.append(advice.body(state, points.record, points))
    return [
        Planned(point, spec.proposer, 0, rationale=words) for point, words in zip(points, why, strict=False)
    ]


def given_up(state: ExperimentState) -> str:
    """Return why the experiment's own proposer is not asked any more; the empty text where it is."""
    if len(state.proposer_failures) < PATIENCE:
        return ""
    return f"{state.spec.proposer} failed {PATIENCE} times; the last time: {state.proposer_failures[-1]['reason']}"[
        :500
    ]


def _checked(
    spec: ExperimentSpec, trials: Sequence[Trial], proposer: str, count: int, ask: Ask
) -> list[dict[str, Any]]:
    return _fitting(spec, ask(spec, trials, proposer, count), count)


def _fitting(spec: ExperimentSpec, points: Any, count: int) -> list[dict[str, Any]]:
    """Return `count` points that lie in the space; what says where they came from stays with them."""
    if not isinstance(points, list) or len(points) < count:
        raise CannotPropose(
            f"it proposed {len(points) if isinstance(points, list) else 'no list of'} points, not {count}"
        )
    fits = _domain(spec)
    for point in points[:count]:
        fits.check(point)  # InvalidInput where a proposer leaves the space
    first: list[dict[str, Any]] = points[:count]
    return Advised(first, points.record) if isinstance(points, Advised) else first


_known: dict[int, tuple[ExperimentSpec, Domain]] = {}


def _domain(spec: ExperimentSpec) -> Domain:
    """Return the domain of a description, made once for each: a frozen description is known by its identity."""
    known = _known.get(id(spec))
    if known is None or known[0] is not spec:
        if len(_known) > 4096:
            _known.clear()
        known = _known[id(spec)] = (spec, domain(spec))
    return known[1]
