"""Experiments in a ledger: what people ask of them and say about them, with their rights."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genesis_workbench.core.access import Access, Label, Person
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
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import lineage, people
from genesis_workbench.experiments.accounts import Accounts
from genesis_workbench.experiments.checking import Checked, Executors, check, check_account
from genesis_workbench.experiments.executors._base import Executor, Place
from genesis_workbench.experiments.folding import Folds
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.people import Became, Returned
from genesis_workbench.experiments.protocol import Experiments
from genesis_workbench.experiments.remote import RemoteExperiments
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import PREFIX, ExperimentState, stream
from genesis_workbench.experiments.verification import Report, verify_in
from genesis_workbench.experiments.writing import Entry

__all__ = ["Experiments", "LedgerExperiments", "RemoteExperiments", "all_created", "local_executors"]

_TRIES = 20
_SHORTEST_S, _LONGEST_S = 0.005, 0.2
"""Between two looks at what is under way: an eighth of the time that nothing has happened, within these."""


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
    service : bool
        Whether this is the service, where there are other people to approve.
    executors : mapping, optional
        Executors by name; those of this process where left out.
    """

    def __init__(
        self,
        ledger: Ledger,
        person: Person,
        *,
        max_trials: int = 100_000,
        blobs: BlobStore | None = None,
        service: bool = False,
        executors: Mapping[str, Executor] | None = None,
    ) -> None:
        self._ledger, self._person, self._max_trials, self._blobs = ledger, person, max_trials, blobs
        self._service, self._own_executors = service, executors
        self._folds = Folds(ledger)

    @property
    def alone(self) -> bool:
        """Whether this is a bare notebook. See :class:`Experiments`."""
        return not self._service

    @property
    def _executors(self) -> Mapping[str, Executor]:
        return local_executors() if self._own_executors is None else self._own_executors

    def choices(self) -> dict[str, Any]:
        """Return what can be chosen. See :class:`Experiments`."""
        from genesis_workbench.experiments.choices import choices

        return choices(self._executors, service=self._service)

    def preview(self, spec: ExperimentSpec) -> dict[str, Any]:
        """Return what launching would do. See :class:`Experiments`."""
        from genesis_workbench.experiments.preview import outlook

        return outlook(spec, lambda: self._check(spec))

    def _check(self, spec: ExperimentSpec) -> Checked:
        checked = check(
            spec, self._executors, self._person, max_trials=self._max_trials, service=self._service
        )
        check_account(spec, Accounts(self._ledger), self._person)
        return checked

    def create(self, spec: ExperimentSpec, *, key: str | None = None) -> str:
        """Commit and create. See :class:`Experiments`."""
        checked = self._check(spec)
        if spec.hypothesis.analysis not in ("", spec.hypothesis.committed().analysis):
            raise Conflict(
                "The hypothesis names another source of its rule than the one that would decide it here. Leave `analysis` out."
            )
        spec = spec.model_copy(update={"hypothesis": spec.hypothesis.committed()})
        experiment = new_id("exp")
        if key is not None:
            # The same person's same key names the same stream, whoever handles the request.
            experiment = "exp_" + digest_json([self._person.name, key])[7:33]
            if self._ledger.version(stream(experiment)):
                if not _same(self.state(experiment).spec, spec):
                    raise Conflict("This Idempotency-Key was used for another experiment. Use a new one.")
                return experiment
        hypothesis = spec.hypothesis
        entries = [
            Entry(
                "hypothesis.committed",
                {"hypothesis": hypothesis.model_dump(mode="json"), "digest": hypothesis.digest},
            ),
            Entry(
                "experiment.created",
                {
                    "spec": spec.model_dump(mode="json"),
                    "owner": self._person.name,
                    "simulated": checked.simulated,
                    **({"laboratory": list(checked.laboratory)} if checked.laboratory else {}),
                },
            ),
            *lineage.brought_along(spec, self.state),
        ]
        self._ledger.append_many(
            [
                NewEvent(stream(experiment), entry.kind, entry.body, self._person.name, version)
                for version, entry in enumerate(entries)
            ]
        )
        return experiment

    def state(self, experiment: str) -> ExperimentState:
        """Return the folded state of an experiment that the person may see."""
        state = self._folds.load(experiment)
        if not state.access.permits(self._person):
            raise NotFound("There is no such experiment, or none that you may see.")
        return state

    def _allow(self, experiment: str) -> None:
        """Refuse an experiment that the person may not see, by its description alone: that does not change."""
        created = self._ledger.read(stream=stream(experiment), kinds=["experiment.created"], limit=1)
        if created:
            access = Access(
                Label.RESTRICTED, frozenset(created[0].body["spec"]["groups"]), created[0].body["owner"]
            )
            if access.permits(self._person):
                return
        raise NotFound("There is no such experiment, or none that you may see.")

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return a summary. See :class:`Experiments`."""
        return self.state(experiment).summary()

    def summaries(self) -> list[dict[str, Any]]:
        """Return all summaries. See :class:`Experiments`."""
        found = []
        for event in all_created(self._ledger):
            access = Access(Label.RESTRICTED, frozenset(event.body["spec"]["groups"]), event.body["owner"])
            if access.permits(self._person):
                found.append(self._folds.load(event.stream.removeprefix(PREFIX)).summary())
        return found[::-1]

    def events(self, experiment: str, after: int = 0) -> list[dict[str, Any]]:
        """Return events. See :class:`Experiments`."""
        self._allow(experiment)
        return [event.as_dict() for event in self._ledger.read(stream=stream(experiment), after=after)]

    def follow(
        self, experiment: str, after: int = 0, *, beat_s: float | None = None
    ) -> Generator[dict[str, Any] | None, None, None]:
        """Advance the experiment, unless another process does, and iterate over what happens. See :class:`Experiments`."""
        from genesis_workbench.experiments.advancing import Turns

        state, waited = self.state(experiment), 0.0
        with Turns(self._ledger, state, self._executors) as turns:
            while True:
                turns.take()
                events = self._ledger.read(stream=stream(experiment), after=after)
                for event in events:
                    after = event.seq
                    yield event.as_dict()
                if events:
                    waited = 0.0
                    continue  # what has happened may let more happen at once
                if turns.over:
                    return
                pause = min(_LONGEST_S, max(_SHORTEST_S, waited / 8))
                time.sleep(pause)
                waited += pause
                if beat_s is not None:
                    yield None

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop. See :class:`Experiments`."""
        self._write(experiment, lambda state: people.command(state, self._person, what, reason))

    def pending(self, experiment: str) -> list[dict[str, Any]]:
        """Return what waits for a person. See :class:`Experiments`."""
        return people.pending(self.state(experiment))

    def queue(self, experiment: str) -> list[dict[str, Any]]:
        """Return the executions under way. See :class:`Experiments`."""
        return people.queue(self.state(experiment), self._executors)

    def approve(self, experiment: str, trial: int, digest: str = "") -> None:
        """Approve a trial. See :class:`Experiments`."""
        self._write(
            experiment, lambda state: people.approve(state, self._person, trial, digest, alone=self.alone)
        )

    def refuse(self, experiment: str, trial: int, reason: str) -> None:
        """Refuse a trial. See :class:`Experiments`."""
        self._write(
            experiment, lambda state: people.refuse(state, self._person, trial, reason, alone=self.alone)
        )

    def say(
        self,
        experiment: str,
        trial: int,
        became: Became,
        *,
        step: str | None = None,
        values: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        """Say what became of a trial. See :class:`Experiments`."""

        def word(state: ExperimentState) -> Entry:
            return people.say(
                state, self._person, self._executors, trial, became, step=step, values=values, reason=reason
            )

        self._write(experiment, word)

    def tell(self, experiment: str, trial: int, key: str, became: Returned) -> None:
        """Tell what became of an execution. See :class:`Experiments`."""
        self._write(
            experiment, lambda state: people.hear(state, self._person, self._executors, trial, key, became)
        )

    def add_points(self, experiment: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Add points. See :class:`Experiments`."""
        self._write(experiment, lambda state: people.add_points(state, self._person, points))

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a change as a deviation. See :class:`Experiments`."""
        self._write(
            experiment,
            lambda state: Entry("hypothesis.changed", self._change(state, hypothesis, reason)),
        )

    def _write(self, experiment: str, word: Callable[[ExperimentState], Entry | None]) -> None:
        """Write a person's word on the state that it was checked against; look again where that changed meanwhile."""
        for left in range(_TRIES - 1, -1, -1):
            state = self.state(experiment)
            entry = word(state)
            if entry is None:
                return
            try:
                self._ledger.append(
                    stream(experiment),
                    entry.kind,
                    entry.body,
                    actor=self._person.name,
                    expect=state.version,
                )
                return
            except Conflict:
                # A trial came in between, or the end, after which there is nothing to say.
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
        check(spec, self._executors, self._person, max_trials=self._max_trials, service=self._service)
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

    def ended(self, experiment: str) -> bool:
        """Whether an experiment has ended."""
        return bool(self._ledger.read(stream=stream(experiment), kinds=["experiment.ended"], limit=1))

    def file(self, experiment: str, digest: str) -> bytes:
        """Return an attachment. See :class:`Experiments`."""
        state = self.state(experiment)
        named = {
            each for trial in state.trials for _, one in trial.executions for each in one.attachments.values()
        }
        named |= {each for trial in state.trials for each in trial.attachments.values()}
        if digest not in named or self._blobs is None:
            raise NotFound(f"No trial of this experiment left a file {digest!r:.100}.")
        return self._blobs.read(digest)

    def keep_file(self, data: bytes) -> str:
        """Keep a file. See :class:`Experiments`."""
        if self._blobs is None:
            raise NotFound("There is no store of files here.")
        return self._blobs.put(data)

    def open_budget(
        self, name: str, limits: Mapping[str, float], *, groups: Sequence[str] = (), currency: str = "USD"
    ) -> dict[str, Any]:
        """Open a shared budget. See :class:`Experiments`."""
        accounts = Accounts(self._ledger)
        return accounts.open(name, dict(limits), self._person, groups=groups, currency=currency).summary()

    def budget(self, name: str) -> dict[str, Any]:
        """Return a shared budget. See :class:`Experiments`."""
        return Accounts(self._ledger).seen_by(name, self._person).summary()


def _same(one: ExperimentSpec, other: ExperimentSpec) -> bool:
    """Whether two descriptions are one, whatever the rule's source was when each was written."""

    def bare(spec: ExperimentSpec) -> ExperimentSpec:
        hypothesis = spec.hypothesis.model_copy(update={"analysis": "", "within_limits": True})
        return spec.model_copy(update={"hypothesis": hypothesis})

    return bare(one) == bare(other)


def local_executors() -> Mapping[str, Executor]:
    """Return the executors of this process, each made when it is first used and kept: a function may run in one."""
    from genesis_workbench.core.service import local_state

    return _executors(local_state())


@cache
def _executors(folder: Path) -> Executors:
    from genesis_workbench.core.site import this_site

    return Executors(Place(this_site(), State(folder)))


def all_created(ledger: Ledger) -> Iterator[Event]:
    """Iterate over the events by which experiments were created."""
    after = 0
    while batch := ledger.read(prefix=PREFIX, kinds=["experiment.created"], after=after):
        yield from batch
        after = batch[-1].seq
