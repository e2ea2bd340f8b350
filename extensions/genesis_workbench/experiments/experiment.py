"""What a scientist writes: an Experiment, and the Run that launching it gives."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, InvalidInput
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.core.ledger import Event, Ledger
from genesis_workbench.core.service import local_state, me, service
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.constraints import Condition
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import ExperimentState, fold
from genesis_workbench.experiments.store import Experiments, LedgerExperiments, RemoteExperiments
from genesis_workbench.experiments.verification import Report

if TYPE_CHECKING:
    import pandas as pd

    from genesis_workbench.experiments.constraints import AnyConstraint
    from genesis_workbench.experiments.hypothesis import Hypothesis
    from genesis_workbench.experiments.outcomes import Limit
    from genesis_workbench.experiments.parameters import AnyParameter
    from genesis_workbench.experiments.spec import Arm, Budget, Objective


class Experiment:
    """A closed loop, described and not yet launched.

    Parameters
    ----------
    title : str
        What people call it.
    hypothesis : Hypothesis
        What is claimed, and the rule that decides it.
    space : sequence of Real, Integer, Ordinal or Categorical
        What may be varied.
    constraints : sequence of Linear, Condition or Mixture
        What parameters must satisfy together. A text is read as a Condition.
    objective : Objective or sequence of Objective
        What is improved. Of several, the Pareto front is looked for; one-number summaries show the first.
    outcome_constraints : sequence of Limit
        What outcomes must keep for a point to count as good.
    arms : sequence of Arm
        Trials to compare with: random points, or one that is given, among the proposer's.
    executor : str
        Plug-in that executes a trial, such as ``pvlib``.
    executor_arguments : dict, optional
        What stays the same over all trials.
    proposer : str
        Plug-in that proposes: ``gp``, ``sobol``, ``random`` or ``grid``.
    budget : Budget
        How many trials, and what they may cost.
    parallel : int
        Trials under way at once.
    seed : int
        Seed of everything random in the proposer.
    repeats : int
        Trials of each point that is proposed, to measure the noise.
    groups : sequence of str
        Groups that may look at it; one must be in them.

    Raises
    ------
    InvalidInput
        Naming each value that cannot be used.
    """

    def __init__(
        self,
        *,
        title: str,
        hypothesis: Hypothesis,
        space: Sequence[AnyParameter],
        objective: Objective | Sequence[Objective],
        executor: str,
        budget: Budget,
        executor_arguments: dict[str, Any] | None = None,
        constraints: Sequence[AnyConstraint | str] = (),
        outcome_constraints: Sequence[Limit] = (),
        arms: Sequence[Arm] = (),
        proposer: str = "gp",
        parallel: int = 2,
        seed: int = 0,
        repeats: int = 1,
        groups: Sequence[str] = (),
        datasets: Sequence[str] = (),
        models: Sequence[str] = (),
    ) -> None:
        objectives = tuple(objective) if isinstance(objective, Sequence) else (objective,)
        if not objectives:
            raise InvalidInput("The experiment has no objective; give at least one.")
        try:
            self.spec = ExperimentSpec(
                title=title,
                hypothesis=hypothesis,
                space=tuple(space),
                constraints=tuple(Condition(each) if isinstance(each, str) else each for each in constraints),
                objective=objectives[0],
                further_objectives=objectives[1:],
                outcome_constraints=tuple(outcome_constraints),
                arms=tuple(arms),
                executor=executor,
                executor_arguments=executor_arguments or {},
                proposer=proposer,
                budget=budget,
                parallel=parallel,
                seed=seed,
                repeats=repeats,
                groups=tuple(groups),
                dataset_references=tuple(datasets),
                model_references=tuple(models),
            )
        except ValidationError as error:
            raise InvalidInput(f"The experiment cannot be used: {explain(error)}.") from error

    def launch(self) -> Run:
        """Commit the hypothesis and launch.

        Inside a hub the service advances it, whether or not anybody looks. Elsewhere it advances while this process
        waits for it (:meth:`Run.wait`).
        """
        store = _store()
        return Run(store.create(self.spec, key=new_id("key")), store)


class Run:
    """An experiment that was launched.

    Attributes
    ----------
    id : str
        Its identifier.
    """

    def __init__(self, id: str, store: Experiments) -> None:  # noqa: A002 - the word people expect
        self.id, self._store = id, store

    def status(self) -> dict[str, Any]:
        """Return state, counts of trials, the best one and the finding."""
        return self._store.summary(self.id)

    def state(self) -> ExperimentState:
        """Return everything known, folded from the events."""
        return fold(Event(**event) for event in self.events())

    def events(self) -> list[dict[str, Any]]:
        """Return all events so far, in order."""
        found: list[dict[str, Any]] = []
        while more := self._store.events(self.id, found[-1]["seq"] if found else 0):
            found += more
        return found

    def follow(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over events as they come, until it has ended."""
        return self._store.follow(self.id, after)

    def trials(self) -> pd.DataFrame:
        """Return one row for each trial: parameters, outcomes, state."""
        import pandas as pd

        state = self.state()
        rows = [
            {
                "trial": trial.number,
                **{parameter.name: trial.parameters.get(parameter.name) for parameter in state.spec.space},
                **{name: value["value"] for name, value in trial.values.items()},
                **({"arm": trial.arm} if state.spec.arms else {}),
                "state": trial.state,
                "proposer": trial.proposer,
                "reason": trial.reason,
            }
            for trial in state.trials
        ]
        return pd.DataFrame(rows).set_index("trial") if rows else pd.DataFrame()

    def wait(self, timeout_s: float = 3600) -> dict[str, Any]:
        """Wait until it has ended and return its finding.

        Raises
        ------
        DeadlineExceeded
            If that takes longer than `timeout_s` seconds; the experiment goes on.
        Conflict
            If it is paused, since then it would wait for ever.
        """
        deadline = time.monotonic() + timeout_s
        for _ in self.follow():
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"The experiment is still running after {timeout_s:g} s. It goes on; wait again, or stop it."
                )
        return self.finding()

    def finding(self) -> dict[str, Any]:
        """Return the decision on the hypothesis and its evidence.

        Raises
        ------
        Conflict
            If it has not ended yet.
        """
        summary = self.status()
        if summary["finding"] is None:
            trials = summary["trials"]
            raise Conflict(
                f"There is no finding yet: the experiment is {summary['state']}, {trials['observed']} of "
                f"{trials['budget']} trials observed. Wait for it with wait()."
            )
        return Finding(summary["finding"])

    def pause(self, reason: str = "") -> None:
        """Propose nothing new until :meth:`resume`; what is under way goes on."""
        self._store.command(self.id, "pause", reason)

    def resume(self) -> None:
        """Go on."""
        self._store.command(self.id, "resume")

    def stop(self, reason: str = "") -> None:
        """End it now; the rule decides on what was observed so far."""
        self._store.command(self.id, "stop", reason)

    def change_hypothesis(self, hypothesis: Hypothesis, reason: str) -> None:
        """Record that the hypothesis changed. The committed one still decides; the finding shows this as a deviation."""
        self._store.change_hypothesis(self.id, hypothesis, reason)

    def verify(self) -> Report:
        """Check chain, commitment, trials, attachments and decision from the ledger alone, line by line."""
        return self._store.verify(self.id)

    def export(self, folder: str | Path, *, license: str | None = None) -> Path:  # noqa: A002 - RO-Crate's word
        """Write it as an RO-Crate into a new folder: events, hypothesis, trials as CSV, finding, and what they are.

        Parameters
        ----------
        license : str, optional
            Under what it may be used: a URL, or words.
        """
        from genesis_workbench.experiments.crate import NO_LICENSE, write_crate

        events = [Event(**event) for event in self.events()]
        return write_crate(events, Path(folder), license=license or NO_LICENSE)

    def plot(self, *, responsive: bool = False) -> Any:
        """Return a HoloViews plot of the objective over the trials and the best so far.

        Parameters
        ----------
        responsive : bool
            Take the width that there is, as in a dashboard.
        """
        from genesis_workbench.experiments.plot import convergence

        return convergence(self.state(), responsive=responsive)

    def __repr__(self) -> str:
        summary = self.status()
        trials = summary["trials"]
        return f"Run({self.id}: {summary['title']}, {summary['state']}, {trials['observed']} of {trials['budget']} trials)"


class Finding(dict[str, Any]):
    """The decision, the rule that made it and the evidence, as a dictionary that a notebook shows readably."""

    def _repr_html_(self) -> str:
        best = self["evidence"]["best"]
        rows = [
            ("Hypothesis", self["statement"]),
            ("Rule, committed before the first trial", self["rule"]),
            ("Commitment", self["hypothesis_digest"]),
            ("Observed", f"{self['evidence']['observed']} trials, {self['evidence']['failed']} failed"),
        ]
        if "says" in self:
            rows.append(("The rule says", self["says"]))
        if self.get("caution"):
            rows.append(("Caution", self["caution"]))
        if self["evidence"]["reaching"]:
            rows.append(("Trials that reach the bound", ", ".join(map(str, self["evidence"]["reaching"]))))
        rows += [
            (
                f"Changed after {change['observed']} observations",
                f"{change['reason']} Rule: {change['rule']}; it would decide: {change['would_decide']}.",
            )
            for change in self.get("deviations", ())
        ]
        if best:
            values = ", ".join(
                f"{name} = {each['value']:.6g} {each['unit']}".rstrip()
                for name, each in best["values"].items()
            )
            parameters = ", ".join(
                f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
                for name, value in best["parameters"].items()
            )
            rows += [("Best trial", f"number {best['trial']}: {parameters}"), ("It gave", values)]
        front = self["evidence"].get("front")
        if front:
            rows.append(
                ("Pareto front", f"{len(front)} points: trials {', '.join(str(p['trial']) for p in front)}")
            )
        if self["simulated"]:
            rows.append(("Simulated", "Every observation comes from a simulator, none from an instrument."))
        body = "".join(
            f"<tr><th style='text-align:left;padding-right:1em'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in rows
        )
        return f"<h4>{html.escape(self['decision'].capitalize())}</h4><table>{body}</table>"


def get(experiment: str) -> Run:
    """Return an experiment by its identifier."""
    store = _store()
    store.summary(experiment)
    return Run(experiment, store)


def search() -> list[dict[str, Any]]:
    """Return the summaries of all experiments that one may see, newest first."""
    return _store().summaries()


def verify(experiment: str) -> Report:
    """Check an experiment from the ledger alone: chain, commitment, trials, attachments and decision, line by line."""
    return _store().verify(experiment)


def explain(error: ValidationError) -> str:
    """Return what is wrong in a description, in one line."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        seen = "" if fault["type"] == "missing" else f" ({fault['input']!r:.80})"
        faults.append(f"{where or 'it'}{seen}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)


def _store() -> Experiments:
    remote = service()
    if remote:
        return RemoteExperiments(remote)
    blobs = BlobStore(State(local_state()).blobs)
    return LedgerExperiments(_local_ledger(), _local_person(), blobs=blobs)


@cache
def _local_ledger() -> Ledger:
    return Ledger.open(State(local_state()).ledger_url())


def _local_person() -> Person:
    return me()
