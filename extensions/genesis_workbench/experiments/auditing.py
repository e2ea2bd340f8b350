"""What verification finds in trials, approvals and budgets: pure functions of the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isclose
from typing import Any

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import accounts
from genesis_workbench.experiments.budget import Spending
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.permission import wanted
from genesis_workbench.experiments.reach import planned
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.steps import ONLY, key_of
from genesis_workbench.experiments.trial import MAIN

_STARTS = ("trial.started", "step.started")
_CHARGES = ("proposer.asked", "trial.again", "trial.observed", "trial.failed", "trial.refused")
_ENDS = ("trial.observed", "trial.failed", "trial.refused")


def trial_faults(state: ExperimentState, events: Sequence[Event]) -> Iterator[str]:
    """Yield what is wrong with the order of proposals, starts and outcomes."""
    fits = Domain(state.spec.space, state.spec.constraints)
    proposed = 0
    started: set[tuple[int, str]] = set()
    done: set[int] = set()
    for event in events:
        number: int = (
            event.body["trial"] if event.kind.startswith(("trial.", "step.")) and "trial" in event.body else 0
        )
        match event.kind:
            case "trial.proposed":
                proposed += 1
                if number != proposed:
                    yield f"Trial {number} is proposed where trial {proposed} was to come."
                yield from _misproposed(state, fits, event.body)
            case "trial.started" | "step.started":
                one = (number, event.body.get("step", ""))
                if one in started or number > proposed:
                    yield f"Trial {number} is started twice, or before it was proposed."
                started.add(one)
            case "trial.again":
                # A person had it run again: that is another execution, with a key of its own.
                started.discard((number, event.body.get("step", "")))
            case "trial.observed" | "trial.failed" | "trial.refused":
                begun = any(trial == number for trial, _ in started)
                if number in done or (event.kind == "trial.observed" and not begun):
                    yield f"Trial {number} has a second outcome, or one before it started."
                done.add(number)
            case "finding.made":
                if state.spec.budget.trials < proposed:
                    yield f"{proposed} trials were proposed; the budget was {state.spec.budget.trials}."
    if any(event.kind.startswith(("trial.", "step.")) for event in _after_finding(events)):
        yield "A trial has events after the finding was made."


def _misproposed(state: ExperimentState, fits: Domain, body: dict[str, Any]) -> Iterator[str]:
    if body["key"] != key_of(state.id, body["trial"], ONLY):
        yield f"Trial {body['trial']} has a key that is not its own."
    yield from _misplaced(state, body)
    try:
        fits.check(body["parameters"])
    except GenesisError as error:
        yield f"Trial {body['trial']} lies outside the space: {error.message}"


def _misplaced(state: ExperimentState, body: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a trial's place among the arms, which the description alone determines."""
    arm = state.spec.arm(body.get("point", body["trial"]))
    if body.get("arm", MAIN) != (arm.name if arm else MAIN):
        yield f"Trial {body['trial']} is counted to the arm {body.get('arm')!r}, to which it does not belong."
    if arm and arm.parameters is not None and body["parameters"] != arm.parameters:
        yield f"Trial {body['trial']} has not the parameters of the arm {arm.name!r}."
    if sum(trial.point == body.get("point", body["trial"]) for trial in state.trials) > state.spec.repeats:
        yield f"Trial {body['trial']} repeats its point more often than {state.spec.repeats} times."


def _after_finding(events: Sequence[Event]) -> Sequence[Event]:
    places = [place for place, event in enumerate(events) if event.kind == "finding.made"]
    return events[places[0] + 1 :] if places else ()


class Approvals:
    """Walks over an experiment's events and finds executions that nobody approved as they were."""

    def __init__(self, state: ExperimentState) -> None:
        self._state = state
        self._given: dict[str, Event] = {}
        self._free: dict[int, str] = {}  # trial -> digest that was approved and used for it
        self._attempts: dict[int, dict[str, int]] = {}
        self._laboratory: frozenset[str] = frozenset()
        self._refused: set[int] = set()
        self.by: dict[str, int] = {}
        self.own = 0

    def faults(self, events: Sequence[Event]) -> Iterator[str]:
        """Yield what is wrong, in order."""
        for event in events:
            number = event.body.get("trial", 0)
            match event.kind:
                case "experiment.created" | "laboratory.changed":
                    self._laboratory = frozenset(event.body.get("laboratory", ()))
                    self._free.clear()  # what was approved was approved of something else
                    self._given.clear()
                case "trial.proposed":
                    yield from self._proposed(number, event.body)
                case "approval.wanted":
                    trial = self._state.trials[number - 1]
                    yield from self._needs(number, trial.parameters, trial.reserved, event.body["approval"])
                case "trial.again":
                    yield from self._again(number, event.body)
                case "approval.given":
                    self._given[event.id] = event
                case "approval.refused":
                    self._refused.add(number)
                case "approval.used":
                    yield from self._used(number, event)
                case kind if kind in _STARTS:
                    trial = self._state.trials[number - 1]
                    needs = self._wanted(number, trial.parameters, trial.reserved)
                    if needs and self._free.get(number) != needs["digest"]:
                        yield f"Trial {number} was started, and nobody had approved it."

    def _proposed(self, number: int, body: dict[str, Any]) -> Iterator[str]:
        yield from self._needs(number, body["parameters"], body.get("reserved", {}), body.get("approval"))

    def _again(self, number: int, body: dict[str, Any]) -> Iterator[str]:
        trial = self._state.trials[number - 1]
        attempts = self._attempts.setdefault(number, {})
        attempts[body.get("step", self._state.spec.graph[0].name)] = body["attempt"]
        yield from self._needs(number, trial.parameters, trial.reserved, body.get("approval"))

    def _wanted(
        self, number: int, parameters: dict[str, Any], reserved: dict[str, float]
    ) -> dict[str, Any] | None:
        return wanted(self._state, number, parameters, reserved, self._attempts.get(number), self._laboratory)

    def _needs(
        self, number: int, parameters: dict[str, Any], reserved: dict[str, float], asked: Any
    ) -> Iterator[str]:
        expected = self._wanted(number, parameters, reserved)
        if (expected or {}).get("digest") != (asked or {}).get("digest"):
            what = (
                "does not ask for the approval that it needs" if expected else "asks for one it does not need"
            )
            yield f"Trial {number} {what}, or for other arguments than its own."

    def _used(self, number: int, event: Event) -> Iterator[str]:
        digest, given = event.body["digest"], self._given.pop(event.body["approval"], None)
        if given is None:
            yield f"Trial {number} uses an approval that nobody gave, or that was used before."
            return
        if given.body["digest"] != digest or given.body["trial"] != number:
            yield f"Trial {number} uses an approval that was for something else."
        if event.time > given.body["expires"]:
            yield f"Trial {number} uses an approval after it had expired."
        if number in self._refused:
            yield f"Trial {number} was refused, and started all the same."
        own = given.actor == self._state.owner
        if own and not given.body["own"]:
            yield f"{given.actor} approved trial {number} of their own experiment, and the event does not say so."
        self._free[number] = digest
        self.by[given.actor] = self.by.get(given.actor, 0) + 1
        self.own += own


def budget_faults(state: ExperimentState, events: Sequence[Event]) -> Iterator[str]:
    """Yield what is wrong with reservations and settlements within the experiment's own budget."""
    limits = {name: limit for name, limit in state.spec.budget.limits.items() if name != "trials"}
    spending = Spending()
    for event in events:
        if event.kind == "trial.proposed":
            number, reserved = event.body["trial"], event.body.get("reserved", {})
            needed = planned(state.spec, event.body["parameters"])
            if not all(isclose(needed.get(name, 0), reserved.get(name, 0)) for name in {*needed, *reserved}):
                yield f"Trial {number} reserved {reserved}; by its description it needs {needed}."
            short = spending.lacks(limits, reserved)
            if short:
                yield f"Trial {number} was proposed although there was not enough {short} left for it."
            spending.reserve(str(number), reserved)
        elif event.kind in ("proposer.asked", "trial.again"):
            spending.spend(event.body.get("cost", {}))
        elif event.kind in _ENDS:
            number = event.body["trial"]
            spending.settle(str(number), event.body.get("cost", spending.reserved.get(str(number), {})))
        for name, amount in event.body.get("cost", {}).items() if event.kind in _CHARGES else ():
            if amount < 0:
                yield f"Event {event.seq} says that something cost {amount:g} {name}, below 0."


def overruns(state: ExperimentState) -> list[str]:
    """Return the amounts of which trials have really cost more than the limit: more than was planned for them."""
    limits = state.spec.budget.limits
    return [
        f"{state.spending.spent[name]:g} of {limits[name]:g} {state.spec.budget.unit(name)}"
        for name in limits
        if name != "trials" and state.spending.spent.get(name, 0.0) > limits[name] * (1 + 1e-9)
    ]


def account_faults(state: ExperimentState, events: Sequence[Event]) -> Iterator[str]:
    """Yield what is wrong with a shared budget: overdrawn at any moment, or a trial of this experiment that never paid.

    Parameters
    ----------
    events : sequence of Event
        All events of the shared budget, in order.
    """
    account: accounts.Account | None = None
    paid: set[str] = set()
    for event in events:
        if any(amount < 0 for amount in event.body.get("amounts", {}).values()):
            yield f"Event {event.seq} gives something back that was never taken: {event.body['amounts']}."
        if event.kind in ("amounts.reserved", "amounts.spent") and account is not None:
            short = account.spending.lacks(account.limits, event.body["amounts"])
            new = event.kind == "amounts.spent" or event.body["key"] not in account.spending.reserved
            if short and new:
                yield f"Event {event.seq} takes more {short} than was left."
            paid.add(event.body["key"])
        account = accounts.fold_on(account, [event])
    for trial in state.trials:
        if f"{state.id}/{trial.number}" not in paid:
            yield f"Trial {trial.number} drew nothing from the shared budget."
