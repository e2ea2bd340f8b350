"""The state of an experiment: a fold over its events, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import outcomes
from genesis_workbench.experiments.outcomes import Point
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.trial import MAIN, Trial

__all__ = ["PREFIX", "ExperimentState", "Trial", "fold", "stream"]

PREFIX = "experiment/"


def stream(experiment: str) -> str:
    """Return the stream of an experiment's events."""
    return PREFIX + experiment


@dataclass
class ExperimentState:
    """Everything that is known of an experiment. `state` is running, paused or ended."""

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

    @property
    def access(self) -> Access:
        """Who may look: the owner and the groups it is shared with."""
        return Access(Label.RESTRICTED, frozenset(self.spec.groups), self.owner)

    @property
    def observed(self) -> list[Trial]:
        """Trials with an outcome that was measured."""
        return [trial for trial in self.trials if trial.state == "observed"]

    @property
    def best(self) -> Point | None:
        """The point with the best first objective among those that keep the limits on outcomes."""
        return outcomes.best(self.spec, self.trials)

    @property
    def front(self) -> list[Point]:
        """The Pareto front of the points that keep the limits on outcomes."""
        return outcomes.front(self.spec, self.trials)

    @property
    def cost(self) -> float:
        """What was spent, in the unit of the budget's cost: trials under way count as planned."""
        cost = self.spec.budget.cost
        if cost is None:
            return 0.0
        if cost.metric is None:
            return math.fsum(trial.cost or 0.0 for trial in self.trials)
        return math.fsum(outcomes.value_of(trial, cost.metric, cost.unit) or 0.0 for trial in self.trials)

    def summary(self) -> dict[str, Any]:
        """Return what a list or a status line shows, as JSON values."""
        best, objectives, cost = self.best, self.spec.objectives, self.spec.budget.cost
        described = best.described(objectives) if best else None
        objective = self.spec.objective.name
        return {
            "id": self.id,
            "title": self.spec.title,
            "owner": self.owner,
            "created": self.created,
            "state": self.state,
            "reason": self.reason,
            "simulated": self.simulated,
            "trials": {
                "budget": self.spec.budget.trials,
                "proposed": len(self.trials),
                "observed": len(self.observed),
                "failed": sum(trial.state == "failed" for trial in self.trials),
            },
            "best": described
            and {
                "trial": described["trial"],
                "parameters": described["parameters"],
                **described["values"][objective],
                "name": objective,
            },
            "front": [point.described(objectives) for point in self.front] if len(objectives) > 1 else [],
            "cost": cost and {"spent": self.cost, "limit": cost.limit, "unit": cost.unit},
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
    state: ExperimentState | None = None
    committed = ""
    for event in events:
        body = event.body
        if event.kind == "hypothesis.committed":
            committed = body["digest"]
        elif event.kind == "experiment.created":
            state = ExperimentState(
                id=event.stream.removeprefix(PREFIX),
                spec=ExperimentSpec.model_validate(body["spec"]),
                owner=body["owner"],
                created=event.time,
                simulated=body["simulated"],
                hypothesis_digest=committed,
            )
        elif state is not None:
            _apply(state, event)
        if state is not None:
            state.version, state.seq = event.version, event.seq
    if state is None:
        raise NotFound("There is no such experiment, or none that you may see.")
    return state


def _apply(state: ExperimentState, event: Event) -> None:
    body = event.body
    if state.state == "ended":
        return  # a command that crossed the end on its way changes nothing
    match event.kind:
        case "trial.proposed":
            state.trials.append(
                Trial(
                    body["trial"],
                    body["parameters"],
                    body["proposer"],
                    body["key"],
                    event.time,
                    point=body.get("point", 0),
                    arm=body.get("arm", MAIN),
                    cost=body.get("cost"),
                )
            )
        case "trial.started":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.started = "started", event.time
        case "trial.observed":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.values, trial.ended = "observed", body["values"], event.time
            trial.settled = event.version
        case "trial.failed":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.reason, trial.ended = "failed", body["reason"], event.time
            trial.settled = event.version
        case "hypothesis.changed":
            state.deviations.append({**body, "time": event.time, "actor": event.actor})
        case "budget.spent":
            state.spent = body["reason"]
        case "experiment.paused":
            state.state, state.reason = "paused", body.get("reason", "")
        case "experiment.resumed":
            state.state, state.reason = "running", ""
        case "experiment.stopped":
            state.stopping, state.state, state.reason = True, "running", body.get("reason", "")
        case "experiment.ended":
            state.state, state.reason = "ended", body["reason"]
        case "finding.made":
            state.finding = body
