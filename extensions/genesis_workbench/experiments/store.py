"""Where experiments live: one Protocol, in this process or behind the service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from pydantic import ValidationError

from genesis_workbench.core import plugins
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest_json, new_id
from genesis_workbench.core.ledger import Event, Ledger, NewEvent
from genesis_workbench.core.service import Service
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.core.units import convert
from genesis_workbench.experiments.executors._base import Executor
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.proposers._base import random_values
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import PREFIX, ExperimentState, fold, stream
from genesis_workbench.experiments.verification import Report, verify_in

_TRIES = 20
COMMANDS = {"pause": "experiment.paused", "resume": "experiment.resumed", "stop": "experiment.stopped"}


class Experiments(Protocol):
    """Keeps experiments. What the asker may not see does not exist for them."""

    def create(self, spec: ExperimentSpec, *, key: str | None = None) -> str:
        """Commit the hypothesis, create the experiment and return its id; the same key twice creates one."""
        ...

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return what a status line shows."""
        ...

    def summaries(self) -> list[dict[str, Any]]:
        """Return the summaries of all experiments one may see, newest first."""
        ...

    def events(self, experiment: str, after: int = 0) -> list[dict[str, Any]]:
        """Return events after a number, in order."""
        ...

    def follow(self, experiment: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over events as they come, until the experiment has ended."""
        ...

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop it."""
        ...

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a changed hypothesis: the committed one still decides, and the finding tells of the change."""
        ...

    def verify(self, experiment: str) -> Report:
        """Check chain, commitment, trials, attachments and decision from the events alone."""
        ...


class LedgerExperiments:
    """Experiments in a ledger.

    Parameters
    ----------
    ledger : Ledger
        Where their events are.
    person : Person
        On whose behalf.
    max_trials : int
        Largest budget that is accepted.
    blobs : BlobStore, optional
        Where attachments are.
    """

    def __init__(
        self, ledger: Ledger, person: Person, *, max_trials: int = 100_000, blobs: BlobStore | None = None
    ) -> None:
        self._ledger, self._person, self._max_trials, self._blobs = ledger, person, max_trials, blobs

    def create(self, spec: ExperimentSpec, *, key: str | None = None) -> str:
        """Commit and create. See :class:`Experiments`."""
        executor = self._check(spec)
        if spec.hypothesis.analysis not in ("", spec.hypothesis.committed().analysis):
            raise Conflict(
                "The hypothesis names another source of its rule than the one that would decide it here. Leave `analysis` out."
            )
        spec = spec.model_copy(update={"hypothesis": spec.hypothesis.committed()})
        experiment = new_id("exp")
        body = spec.model_dump(mode="json")
        if key is not None:
            # The same person's same key names the same stream, whoever handles the request.
            experiment = "exp_" + digest_json([self._person.name, key])[7:33]
            if self._ledger.version(stream(experiment)):
                if not _same(self.state(experiment).spec, spec):
                    raise Conflict("This Idempotency-Key was used for another experiment. Use a new one.")
                return experiment
        name, actor, hypothesis = stream(experiment), self._person.name, spec.hypothesis
        committed = {"hypothesis": hypothesis.model_dump(mode="json"), "digest": hypothesis.digest}
        created = {"spec": body, "owner": actor, "simulated": executor.simulated}
        self._ledger.append_many(
            [
                NewEvent(name, "hypothesis.committed", committed, actor, expect=0),
                NewEvent(name, "experiment.created", created, actor, expect=1),
            ]
        )
        return experiment

    def state(self, experiment: str) -> ExperimentState:
        """Return the folded state of an experiment that the person may see."""
        state = fold(self._ledger.all(stream=stream(experiment)))
        if not state.access.permits(self._person):
            raise NotFound("There is no such experiment, or none that you may see.")
        return state

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return a summary. See :class:`Experiments`."""
        return self.state(experiment).summary()

    def summaries(self) -> list[dict[str, Any]]:
        """Return all summaries. See :class:`Experiments`."""
        found = []
        for event in all_created(self._ledger):
            state = fold(self._ledger.all(stream=event.stream))
            if state.access.permits(self._person):
                found.append(state.summary())
        return found[::-1]

    def events(self, experiment: str, after: int = 0) -> list[dict[str, Any]]:
        """Return events. See :class:`Experiments`."""
        self.state(experiment)
        return [event.as_dict() for event in self._ledger.read(stream=stream(experiment), after=after)]

    def follow(self, experiment: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Advance the experiment in this process, and iterate over what happens. See :class:`Experiments`."""
        import time

        from genesis_workbench.experiments.loop import advance

        executors = local_executors()
        while True:
            state = advance(self._ledger, experiment, None, executors)
            for event in self.events(experiment, after):
                after = event["seq"]
                yield event
            if state.state != "running":
                return
            time.sleep(0.2)

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop. See :class:`Experiments`."""
        if what not in COMMANDS:
            raise InvalidInput(f"An experiment cannot be told {what!r}; use pause, resume or stop.")
        state = self.state(experiment)
        if state.owner != self._person.name:
            raise PermissionRefused(f"Only {state.owner}, who launched it, can {what} this experiment.")
        if state.state == "ended":
            raise Conflict(f"The experiment has ended already: {state.reason}")
        if (what == "pause" and state.state == "paused") or (what == "resume" and state.state == "running"):
            return
        self._ledger.append(
            stream(experiment), COMMANDS[what], {"reason": reason[:500]}, actor=self._person.name
        )

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a change as a deviation. See :class:`Experiments`."""
        for left in range(_TRIES - 1, -1, -1):
            state = self.state(experiment)
            body = self._change(state, hypothesis, reason)
            new = NewEvent(
                stream(experiment), "hypothesis.changed", body, self._person.name, expect=state.version
            )
            try:
                self._ledger.append_many([new])
                return
            except Conflict:
                # A trial came in between, or the end, after which there is nothing to change: look again.
                if not left:
                    raise

    def _change(self, state: ExperimentState, hypothesis: Hypothesis, reason: str) -> dict[str, Any]:
        if state.owner != self._person.name:
            raise PermissionRefused(f"Only {state.owner}, who launched it, can change its hypothesis.")
        if state.state == "ended":
            raise Conflict(f"The experiment has ended already, with a finding: {state.reason}")
        if not reason.strip():
            raise InvalidInput("A change of the hypothesis needs a reason, which stays with the finding.")
        changed = hypothesis.committed()
        try:
            spec = ExperimentSpec.model_validate(
                {**state.spec.model_dump(), "hypothesis": changed.model_dump()}
            )
        except ValidationError as error:
            raise InvalidInput(
                f"The hypothesis does not fit the experiment: {error.errors()[0]['msg']}."
            ) from error
        self._check(spec)
        return {
            "hypothesis": changed.model_dump(mode="json"),
            "digest": changed.digest,
            "reason": reason[:2000],
            "observed": len(state.observed),
        }

    def verify(self, experiment: str) -> Report:
        """Check it. See :class:`Experiments`."""
        try:
            self.state(experiment)
        except (ValueError, LookupError, TypeError) as error:
            if isinstance(error, GenesisError):
                raise
            raise VerificationFailed(
                "The experiment's events were changed so that nobody can say whom they belong to. Ask the operator to run "
                f"`workbench verify {experiment}`.",
                detail=str(error),
            ) from error
        return verify_in(self._ledger, experiment, self._blobs)

    def _check(self, spec: ExperimentSpec) -> Executor:
        """Refuse what could never run, before anything is written."""
        plugins.load("proposers", spec.proposer)
        executor: Executor = local_executors()[spec.executor]
        if spec.budget.trials > self._max_trials:
            raise InvalidInput(
                f"A budget of {spec.budget.trials} trials is more than the {self._max_trials} that this site allows."
            )
        outside = set(spec.groups) - self._person.groups
        if outside:
            raise PermissionRefused(
                f"You are not in the group {sorted(outside)[0]!r}, so you cannot share the experiment with it."
            )
        for parameter in spec.space:
            if parameter.name not in executor.parameters:
                raise InvalidInput(
                    f"The executor {spec.executor!r} has no parameter {parameter.name!r}; it has "
                    f"{', '.join(executor.parameters)}."
                )
            _same_unit(parameter.name, parameter.unit, executor.parameters[parameter.name])
            if parameter.when is not None and parameter.name not in getattr(executor, "optional", ()):
                raise InvalidInput(
                    f"The parameter {parameter.name!r} is not always active, but {spec.executor!r} needs it in every trial."
                )
        sample = random_values(spec, 0)  # InvalidInput where nothing fits the constraints
        if spec.budget.cost is not None:
            spec.budget.cost.planned(spec.space, sample)
        missing = set(executor.parameters) - {parameter.name for parameter in spec.space}
        if missing:
            raise InvalidInput(f"The space leaves out {sorted(missing)[0]!r}, which {spec.executor!r} needs.")
        for name, unit in _outcomes(spec):
            if name not in executor.outcomes:
                raise InvalidInput(
                    f"The executor {spec.executor!r} does not observe {name!r}; it observes "
                    f"{', '.join(executor.outcomes)}."
                )
            convert(1.0, executor.outcomes[name], unit)
        executor.check(spec.executor_arguments)
        return executor


def _same(one: ExperimentSpec, other: ExperimentSpec) -> bool:
    """Whether two descriptions are one, whatever the rule's source was when each was written."""

    def bare(spec: ExperimentSpec) -> ExperimentSpec:
        return spec.model_copy(update={"hypothesis": spec.hypothesis.model_copy(update={"analysis": ""})})

    return bare(one) == bare(other)


def _outcomes(spec: ExperimentSpec) -> Iterator[tuple[str, str]]:
    """Iterate over the outcomes that a description names, each with the unit it wants them in."""
    yield from ((objective.name, objective.unit) for objective in spec.objectives)
    yield from ((limit.metric, limit.unit) for limit in spec.outcome_constraints)
    yield spec.hypothesis.rule.metric, spec.hypothesis.rule.unit
    if spec.budget.cost is not None and spec.budget.cost.metric is not None:
        yield spec.budget.cost.metric, spec.budget.cost.unit


class RemoteExperiments:
    """Experiments behind the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def create(self, spec: ExperimentSpec, *, key: str | None = None) -> str:
        """Commit and create. See :class:`Experiments`."""
        answer = self._service.post("experiments", spec.model_dump(mode="json"), key=key)
        return str(answer["id"])

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return a summary. See :class:`Experiments`."""
        found: dict[str, Any] = self._service.get(f"experiments/{experiment}")
        return found

    def summaries(self) -> list[dict[str, Any]]:
        """Return all summaries. See :class:`Experiments`."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self._service.get("experiments", cursor=cursor)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def events(self, experiment: str, after: int = 0) -> list[dict[str, Any]]:
        """Return events. See :class:`Experiments`."""
        found: list[dict[str, Any]] = self._service.get(f"experiments/{experiment}/events", after=after)[
            "items"
        ]
        return found

    def follow(self, experiment: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over server-sent events. See :class:`Experiments`."""
        return self._service.events(f"experiments/{experiment}/events", after)

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop. See :class:`Experiments`."""
        self._service.post(f"experiments/{experiment}/{what}", {"reason": reason})

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a change as a deviation. See :class:`Experiments`."""
        body = {"hypothesis": hypothesis.model_dump(mode="json"), "reason": reason}
        self._service.post(f"experiments/{experiment}/hypothesis", body)

    def verify(self, experiment: str) -> Report:
        """Check it, where the ledger is. See :class:`Experiments`."""
        return Report.from_dict(self._service.get(f"experiments/{experiment}/verification"))


class _Executors(dict[str, Executor]):
    """Executors by name, made when first asked for."""

    def __missing__(self, name: str) -> Executor:
        from genesis_workbench.compute.submission import scheduler

        made: Executor = plugins.load("executors", name)(scheduler())
        self[name] = made
        return made


def local_executors() -> dict[str, Executor]:
    """Return the executors of this process, each loaded when it is first used."""
    return _Executors()


def all_created(ledger: Ledger) -> Iterator[Event]:
    """Iterate over the events by which experiments were created."""
    after = 0
    while batch := ledger.read(prefix=PREFIX, kinds=["experiment.created"], after=after):
        yield from batch
        after = batch[-1].seq


def _same_unit(name: str, unit: str, needed: str) -> None:
    if unit != needed and (not needed or not unit or convert(1.0, unit, needed) != 1.0):
        raise InvalidInput(
            f"The parameter {name!r} is given in {unit or 'no unit'}; the executor takes {needed or 'a pure number'}. "
            f"Write unit={needed!r}."
        )
