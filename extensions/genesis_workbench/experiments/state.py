"""The state of an experiment: a fold over its events, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments.spec import ExperimentSpec

PREFIX = "experiment/"


def stream(experiment: str) -> str:
    """Return the stream of an experiment's events."""
    return PREFIX + experiment


@dataclass
class Trial:
    """One trial. `state` is proposed, started, observed or failed; `point` counts what was proposed: repeats share it."""

    number: int
    parameters: dict[str, Any]
    proposer: str
    key: str
    proposed: str
    state: str = "proposed"
    started: str | None = None
    ended: str | None = None
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str = ""
    point: int = 0

    def __post_init__(self) -> None:
        # Before repeats there was one trial for each point.
        self.point = self.point or self.number

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in ("proposed", "started")


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
    trials: list[Trial] = field(default_factory=list)
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
    def best(self) -> Trial | None:
        """The observed trial with the best objective."""
        objective = self.spec.objective
        sign = 1 if objective.maximize else -1
        return max(
            self.observed, key=lambda trial: sign * float(trial.values[objective.name]["value"]), default=None
        )

    def summary(self) -> dict[str, Any]:
        """Return what a list or a status line shows, as JSON values."""
        best = self.best
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
            "best": best
            and {
                "trial": best.number,
                "parameters": best.parameters,
                **best.values[objective],
                "name": objective,
            },
            "hypothesis": {
                "statement": self.spec.hypothesis.statement,
                "rule": str(self.spec.hypothesis.rule),
                "digest": self.hypothesis_digest,
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
                )
            )
        case "trial.started":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.started = "started", event.time
        case "trial.observed":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.values, trial.ended = "observed", body["values"], event.time
        case "trial.failed":
            trial = state.trials[body["trial"] - 1]
            trial.state, trial.reason, trial.ended = "failed", body["reason"], event.time
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
