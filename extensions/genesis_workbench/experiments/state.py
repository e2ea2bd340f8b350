"""The state of an experiment: a fold over its events, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import outcomes
from genesis_workbench.experiments.budget import Spending
from genesis_workbench.experiments.outcomes import Point
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.steps import active, key_of
from genesis_workbench.experiments.trial import MAIN, UNDONE, Executed, Execution, Trial

__all__ = ["PREFIX", "ExperimentState", "Trial", "fold", "fold_on", "stream"]

PREFIX = "experiment/"


def stream(experiment: str) -> str:
    """Return the stream of an experiment's events."""
    return PREFIX + experiment


@dataclass
class ExperimentState:
    """Everything that is known of an experiment. `state` is running, paused or ended.

    Attributes
    ----------
    under_way : dict
        The trials whose outcome is still to come, by number.
    spending : Spending
        What is reserved and spent of its budget.
    added : list of dict
        Points that people added and that are not proposed yet.
    earlier : list of Trial
        Trials of earlier experiments from which the proposer may learn.
    laboratory : frozenset of str
        Steps that touch something in the world, or did so once: a person is asked about each.
    real : frozenset of str
        Those of them that do so now, as far as is known.
    simulated : bool
        Whether all of it is simulated, or an outcome that counts is.
    """

    id: str
    spec: ExperimentSpec
    owner: str
    created: str
    simulated: bool
    hypothesis_digest: str
    state: str = "running"
    reason: str = ""
    stopping: bool = False
    spent: str = ""
    trials: list[Trial] = field(default_factory=list)
    deviations: list[dict[str, Any]] = field(default_factory=list)
    finding: dict[str, Any] | None = None
    version: int = 0
    seq: int = 0
    head: str = ""
    under_way: dict[int, Trial] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)
    added: list[dict[str, Any]] = field(default_factory=list)
    earlier: list[Trial] = field(default_factory=list)
    imports: list[dict[str, Any]] = field(default_factory=list)
    laboratory: frozenset[str] = frozenset()
    real: frozenset[str] = frozenset()
    proposer_failures: list[dict[str, Any]] = field(default_factory=list)
    advice: dict[str, Any] = field(default_factory=dict)  # the last reply of whoever a proposer asked outside
    asking: dict[str, float] = field(
        default_factory=dict
    )  # held for a question to somebody outside that is under way
    planned: Any = None  # what a process has planned and not written: no part of what is known

    @property
    def access(self) -> Access:
        """Who may look: the owner and the groups it is shared with."""
        return Access(Label.RESTRICTED, frozenset(self.spec.groups), self.owner)

    @property
    def observed(self) -> list[Trial]:
        """Trials with an outcome that was measured."""
        return [trial for trial in self.trials if trial.state == "observed"]

    @property
    def carried_out(self) -> int:
        """How many trials came to an end of their own: not those that the experiment's end cut off."""
        return sum(not trial.open and trial.reason != UNDONE for trial in self.trials)

    @property
    def exhausted(self) -> bool:
        """Whether its budget was used as planned."""
        return bool(self.spent) or self.carried_out >= self.spec.budget.trials

    @property
    def decisive(self) -> list[Trial]:
        """Trials that count for the rule: all, or those with the target's fidelity."""
        if self.spec.fidelity is None:
            return self.trials
        return [trial for trial in self.trials if trial.decisive]

    @property
    def best(self) -> Point | None:
        """The point with the best first objective among those that keep the limits on outcomes."""
        return outcomes.best(self.spec, self.decisive)

    @property
    def front(self) -> list[Point]:
        """The Pareto front of the points that keep the limits on outcomes."""
        return outcomes.front(self.spec, self.decisive)

    @property
    def waiting(self) -> list[Trial]:
        """Trials that wait for a person: for approval, for a value, or to be told what became of them."""
        return [trial for trial in self.under_way.values() if trial.state == "waiting" or trial.unknown]

    def asks(
        self,
        number: int,
        parameters: dict[str, Any],
        reserved: dict[str, float],
        laboratory: frozenset[str] | None = None,
    ) -> str:
        """Return why a trial needs a person's approval; the empty text where it needs none. See :func:`permission.wanted`."""
        known = self.laboratory if laboratory is None else laboratory
        touching = [step.name for step in active(self.spec.graph, parameters) if step.name in known]
        real = tuple(name for name in touching if name in self.real)
        twins = tuple(name for name in touching if name not in self.real)
        return self.spec.approval.needed(number, reserved, real, twins)

    def summary(self) -> dict[str, Any]:
        """Return what a list or a status line shows, as JSON values."""
        best, objectives, budget = self.best, self.spec.objectives, self.spec.budget
        described = best.described(objectives) if best else None
        objective = self.spec.objective.name
        limits = {name: limit for name, limit in budget.limits.items() if name != "trials"}
        return {
            "id": self.id,
            "title": self.spec.title,
            "owner": self.owner,
            "created": self.created,
            "state": self.state,
            "reason": self.reason,
            "simulated": self.simulated,
            "trials": {
                "budget": budget.trials,
                "proposed": len(self.trials),
                "observed": len(self.observed),
                "failed": sum(trial.state == "failed" for trial in self.trials),
                "refused": sum(trial.state == "refused" for trial in self.trials),
                "waiting": len(self.waiting),
            },
            "best": described
            and {
                "trial": described["trial"],
                "parameters": described["parameters"],
                **described["values"][objective],
                "name": objective,
            },
            "front": [point.described(objectives) for point in self.front] if len(objectives) > 1 else [],
            "budget": self.spending.summary(limits, {name: budget.unit(name) for name in limits}),
            "hypothesis": {
                "statement": self.spec.hypothesis.statement,
                "rule": str(self.spec.hypothesis.rule),
                "digest": self.hypothesis_digest,
                "deviations": len(self.deviations),
            },
            "finding": self.finding,
            "spec": self.spec.model_dump(mode="json"),
        }


def fold(events: Iterable[Event]) -> ExperimentState:
    """Fold an experiment's events, in order, into its state.

    Raises
    ------
    NotFound
        If there are none.
    """
    state = fold_on(None, events)
    if state is None:
        raise NotFound("There is no such experiment, or none that you may see.")
    return state


def fold_on(state: ExperimentState | None, events: Iterable[Event]) -> ExperimentState | None:
    """Fold the events that came after those in `state` into it, and return it."""
    committed = ""
    for event in events:
        if state is not None:
            apply = _APPLY.get(event.kind)
            # A command that crossed the end on its way changes nothing.
            if apply is not None and state.state != "ended":
                apply(state, event, event.body)
        elif event.kind == "hypothesis.committed":
            committed = event.body["digest"]
        elif event.kind == "experiment.created":
            state = ExperimentState(
                id=event.stream.removeprefix(PREFIX),
                spec=ExperimentSpec.model_validate(event.body["spec"]),
                owner=event.body["owner"],
                created=event.time,
                simulated=event.body["simulated"],
                hypothesis_digest=committed,
                laboratory=frozenset(event.body.get("laboratory", ())),
                real=frozenset(event.body.get("laboratory", ())),
            )
        if state is not None:
            state.version, state.seq, state.head = event.version, event.seq, event.hash
    return state


Body = dict[str, Any]


def _proposed(state: ExperimentState, event: Event, body: Body) -> None:
    fidelity, number = state.spec.fidelity, int(body["trial"])
    trial = Trial(
        key=body["key"],
        number=number,
        parameters=body["parameters"],
        proposer=body["proposer"],
        proposed=event.time,
        point=body.get("point", number),
        arm=body.get("arm", MAIN),
        reserved=body.get("reserved", {}),
        rationale=body.get("rationale", ""),
        steps={name: Execution(key_of(state.id, number, name)) for name in body.get("steps", ())},
        approval=body.get("approval"),
        state="waiting" if "approval" in body else "proposed",
        decisive=fidelity is None or body["parameters"].get(fidelity.parameter) == fidelity.target,
    )
    state.trials.append(trial)
    state.under_way[number] = trial
    state.spending.reserve(str(number), trial.reserved)
    if "added" in body:
        trial.informed = any(each["informed"] for each in state.added if each["added"] == body["added"])
        state.added = [each for each in state.added if each["added"] != body["added"]]


def _started(state: ExperimentState, event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    if "step" in body:
        _start(trial.steps[body["step"]], event.time)
    _start(trial, event.time)


def _start(execution: Executed, time: str) -> None:
    execution.state, execution.started = "started", execution.started or time


def _observed(state: ExperimentState, event: Event, body: Body) -> None:
    _settle(state, event, body, "observed")
    trial = state.trials[body["trial"] - 1]
    state.simulated = state.simulated or (trial.decisive and trial.simulated)


def _failed(state: ExperimentState, event: Event, body: Body) -> None:
    _settle(state, event, body, "failed")


def _refused(state: ExperimentState, event: Event, body: Body) -> None:
    _settle(state, event, body, "refused")


def _settle(state: ExperimentState, event: Event, body: Body, became: str) -> None:
    trial = state.trials[body["trial"] - 1]
    _end(trial, event, body, became)
    trial.settled = event.version
    state.under_way.pop(trial.number, None)
    state.spending.settle(str(trial.number), body.get("cost", trial.reserved))


def _end(execution: Executed, event: Event, body: Body, became: str) -> None:
    execution.state, execution.ended, execution.answer = became, event.time, None
    execution.values, execution.reason = body.get("values", {}), body.get("reason", "")
    execution.cost, execution.simulated = body.get("cost", {}), body.get("simulated", True)
    execution.attachments = body.get("attachments", {})


def _step_observed(state: ExperimentState, event: Event, body: Body) -> None:
    _end(state.trials[body["trial"] - 1].steps[body["step"]], event, body, "observed")


def _unknown(state: ExperimentState, _event: Event, body: Body) -> None:
    execution = state.trials[body["trial"] - 1].execution(body.get("step"))
    execution.state, execution.reason, execution.answer = "unknown", body["reason"], None


def _answered(state: ExperimentState, event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    execution = trial.execution(body.get("step"))
    if not trial.open or execution.state not in ("started", "unknown"):
        return  # the outcome came first
    execution.answer = {**body, "by": event.actor}


def _again(state: ExperimentState, _event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    state.spending.spend(body.get("cost", {}))
    execution = trial.execution(body.get("step"))
    execution.attempt, execution.key, execution.answer = body["attempt"], body["key"], None
    execution.state, execution.reason = "proposed", ""
    if "approval" in body:
        trial.approval, trial.state = body["approval"], "waiting"


def _given(state: ExperimentState, event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    # One that is for other arguments, or comes too late, changes nothing.
    if trial.state == "waiting" and trial.approval and trial.approval["digest"] == body["digest"]:
        trial.approval = {**trial.approval, **_said(event), "expires": body["expires"]}


def _withheld(state: ExperimentState, event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    if trial.state == "waiting" and trial.approval:
        trial.approval = {**trial.approval, **_said(event), "refused": body["reason"]}


def _said(event: Event) -> Body:
    return {"by": event.actor, "event": event.id}


def _used(state: ExperimentState, _event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    trial.state = "started" if any(each.started for each in trial.steps.values()) else "proposed"
    if trial.approval:
        trial.approval = {**trial.approval, "used": True}


def _touches(state: ExperimentState, _event: Event, body: Body) -> None:
    state.laboratory = frozenset(body["laboratory"])
    state.real = frozenset(body["real"] if "real" in body else body["laboratory"])
    state.simulated = body["simulated"] or any(trial.decisive and trial.simulated for trial in state.observed)
    for trial in state.under_way.values():
        # What was approved was approved of something else.
        if trial.approval and trial.state == "waiting":
            why = state.asks(trial.number, trial.parameters, trial.reserved)
            trial.approval = {"why": why, "digest": trial.approval["digest"]}
        else:
            trial.approval = None


def _wanted(state: ExperimentState, _event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    trial.approval, trial.state = body["approval"], "waiting"


def _expired(state: ExperimentState, _event: Event, body: Body) -> None:
    trial = state.trials[body["trial"] - 1]
    if trial.approval:
        trial.approval = {name: trial.approval[name] for name in ("why", "digest")}


def _changed(state: ExperimentState, event: Event, body: Body) -> None:
    state.deviations.append({**body, "time": event.time, "actor": event.actor})


def _spent(state: ExperimentState, _event: Event, body: Body) -> None:
    state.spent = body["reason"]


def _paused(state: ExperimentState, _event: Event, body: Body) -> None:
    if not state.stopping:
        state.state, state.reason = "paused", body.get("reason", "")


def _resumed(state: ExperimentState, _event: Event, _body: Body) -> None:
    if not state.stopping:
        state.state, state.reason = "running", ""


def _stopped(state: ExperimentState, _event: Event, body: Body) -> None:
    if not state.stopping:  # the first reason stays
        state.stopping, state.state, state.reason = True, "running", body.get("reason", "")


def _ended(state: ExperimentState, _event: Event, body: Body) -> None:
    state.state, state.reason = "ended", body["reason"]


def _found(state: ExperimentState, _event: Event, body: Body) -> None:
    state.finding = body


def _added(state: ExperimentState, event: Event, body: Body) -> None:
    informed = bool(state.observed)
    for place, parameters in enumerate(body["points"]):
        added = f"{event.id}/{place}"
        state.added.append(
            {"added": added, "parameters": parameters, "by": event.actor, "informed": informed}
        )


def _imported(state: ExperimentState, _event: Event, body: Body) -> None:
    state.imports.append({name: body[name] for name in ("experiment", "title", "head", "simulated")})
    for each in body["trials"]:
        # Points below zero: none of this experiment's own has such a number.
        place = -1 - len(state.earlier)
        state.earlier.append(
            Trial(place, each["parameters"], "earlier", "", "", "observed", values=each["values"])
        )


def _proposer_failed(state: ExperimentState, event: Event, body: Body) -> None:
    state.proposer_failures.append({**body, "time": event.time})


def _asks(state: ExperimentState, _event: Event, body: Body) -> None:
    state.asking = body["cost"]


def _asked(state: ExperimentState, _event: Event, body: Body) -> None:
    state.advice, state.asking = body, {}
    state.spending.spend(body.get("cost", {}))


_APPLY: dict[str, Callable[[ExperimentState, Event, Body], None]] = {
    "trial.proposed": _proposed,
    "trial.started": _started,
    "trial.observed": _observed,
    "trial.failed": _failed,
    "trial.refused": _refused,
    "trial.unknown": _unknown,
    "trial.again": _again,
    "step.started": _started,
    "step.observed": _step_observed,
    "outcome.entered": _answered,
    "laboratory.changed": _touches,
    "approval.wanted": _wanted,
    "approval.given": _given,
    "approval.refused": _withheld,
    "approval.used": _used,
    "approval.expired": _expired,
    "hypothesis.changed": _changed,
    "budget.spent": _spent,
    "experiment.paused": _paused,
    "experiment.resumed": _resumed,
    "experiment.stopped": _stopped,
    "experiment.ended": _ended,
    "finding.made": _found,
    "points.added": _added,
    "trials.imported": _imported,
    "proposer.failed": _proposer_failed,
    "proposer.asking": _asks,
    "proposer.asked": _asked,
}
