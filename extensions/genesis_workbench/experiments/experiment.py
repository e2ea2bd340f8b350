"""What a scientist writes: an Experiment, and the Run that launching it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from genesis_workbench.experiments import lineage
from genesis_workbench.experiments.constraints import Condition
from genesis_workbench.experiments.executors import function as functions
from genesis_workbench.experiments.finding import decide
from genesis_workbench.experiments.people import Became
from genesis_workbench.experiments.showing import Finding
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import ExperimentState, fold
from genesis_workbench.experiments.store import Experiments, LedgerExperiments, RemoteExperiments
from genesis_workbench.experiments.verification import Report

if TYPE_CHECKING:
    import pandas as pd

    from genesis_workbench.experiments.budget import Budget, Cost
    from genesis_workbench.experiments.constraints import AnyConstraint
    from genesis_workbench.experiments.hypothesis import Hypothesis
    from genesis_workbench.experiments.outcomes import Limit
    from genesis_workbench.experiments.parameters import AnyParameter
    from genesis_workbench.experiments.spec import Arm, Objective
    from genesis_workbench.experiments.steps import Step


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
    executor : str or function
        Plug-in that executes a trial, such as ``pvlib``; or, in a bare notebook, a function of this process that takes the
        parameters by name and returns the objective, or a dictionary of outcomes.
    executor_arguments : dict, optional
        What stays the same over all trials.
    steps : sequence of Step
        Instead of one executor: steps of each trial, such as make, then measure, each with its own.
    fidelity : Fidelity, optional
        The parameter that says how true to life a trial is.
    proposer : str
        Plug-in that proposes: ``gp``, ``sobol``, ``random``, ``grid``, or ``person`` for points that people add.
    fall_back : str
        The plug-in that proposes where that one raises, hangs, or cannot honour the description.
    budget : Budget
        How many trials, and what they may cost.
    cost : dict
        What one trial costs, by amount of the budget: a number, an expression over parameters, or a Cost.
    approval : Approval
        Which trials wait for a person's approval; where left out, those that touch the laboratory.
    warm_start : sequence of str
        Earlier experiments from whose trials the proposer learns.
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
        budget: Budget,
        executor: str | Callable[..., Any] = "",
        executor_arguments: Mapping[str, Any] | None = None,
        steps: Sequence[Step] = (),
        constraints: Sequence[AnyConstraint | str] = (),
        outcome_constraints: Sequence[Limit] = (),
        arms: Sequence[Arm] = (),
        cost: Mapping[str, float | str | Cost] | None = None,
        datasets: Sequence[str] = (),
        models: Sequence[str] = (),
        **more: Any,
    ) -> None:
        objectives = tuple(objective) if isinstance(objective, Sequence) else (objective,)
        if not objectives:
            raise InvalidInput("The experiment has no objective; give at least one.")
        arguments = dict(executor_arguments or {})
        if callable(executor):
            executor, arguments = functions.named(executor, arguments, [*objectives, *outcome_constraints])
        self.spec = _described(
            {
                "title": title,
                "hypothesis": hypothesis,
                "space": tuple(space),
                "constraints": tuple(Condition(one) if isinstance(one, str) else one for one in constraints),
                "objective": objectives[0],
                "further_objectives": objectives[1:],
                "outcome_constraints": tuple(outcome_constraints),
                "arms": tuple(arms),
                "executor": executor,
                "executor_arguments": arguments,
                "steps": tuple(steps),
                "budget": budget,
                "cost": dict(cost or {}),
                "dataset_references": tuple(datasets),
                "model_references": tuple(models),
                **more,
            }
        )

    @classmethod
    def from_spec(cls, spec: ExperimentSpec) -> Experiment:
        """Return an experiment with a whole description."""
        made = cls.__new__(cls)
        made.spec = spec
        return made

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
            If it is paused, or, in a bare notebook, waits for a person: nothing would come of waiting.
        """
        deadline = time.monotonic() + timeout_s
        by_hand = any(step.executor == "person" for step in self.state().spec.graph)
        for event in self.follow():
            # In a bare notebook nobody else can answer while this process waits.
            if self._store.alone and _asks(event, by_hand) and (asked := self.pending()):
                about = ", ".join(f"trial {each['trial']} for {each['for']}" for each in asked[:5])
                raise Conflict(
                    f"The experiment waits for a person: {about}. See pending(); then approve, enter or resolve, and wait "
                    "again."
                )
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

    def pending(self) -> list[dict[str, Any]]:
        """Return what waits for a person: approvals, values to enter, trials of which nobody knows what became."""
        return self._store.pending(self.id)

    def pending_approvals(self) -> list[dict[str, Any]]:
        """Return the trials that wait for approval, each with its parameters, why, and the digest that is approved."""
        return [each for each in self.pending() if each["for"] == "approval"]

    def approve(self, trial: int, digest: str = "") -> None:
        """Approve a trial.

        Parameters
        ----------
        digest : str
            As :meth:`pending_approvals` shows it: what is approved is what was seen.

        Raises
        ------
        PermissionRefused
            Without the right to approve, and for one's own experiment where other people could.
        Conflict
            If it waits for nothing, or its arguments are not those that were shown.
        """
        self._store.approve(self.id, trial, digest)

    def refuse(self, trial: int, reason: str) -> None:
        """Refuse a trial that waits for approval; the reason stays with it."""
        self._store.refuse(self.id, trial, reason)

    def enter(self, trial: int, values: Mapping[str, Any], *, step: str | None = None) -> None:
        """Enter what was measured by hand.

        Parameters
        ----------
        values : mapping
            Outcome to a number in its own unit, ``(number, unit)``, or a dictionary of value, unit and uncertainty.
        step : str, optional
            Which step, where several wait.
        """
        self._store.say(self.id, trial, "observed", values=values, step=step)

    def resolve(
        self,
        trial: int,
        became: Became,
        *,
        values: Mapping[str, Any] | None = None,
        reason: str = "",
        step: str | None = None,
    ) -> None:
        """Say what became of a trial of which nobody knows.

        Parameters
        ----------
        became : str
            ``observed`` with `values`, ``failed`` with a `reason`, or ``again`` to run it once more.
        """
        self._store.say(self.id, trial, became, values=values, reason=reason, step=step)

    def add_points(self, *points: Mapping[str, Any]) -> None:
        """Add points that are tried next, before the proposer's own."""
        self._store.add_points(self.id, points)

    def fork(self, **changes: Any) -> Experiment:
        """Return an experiment with this one's description and some changes; launch it as any other.

        Parameters
        ----------
        **changes
            Fields of the description, such as ``proposer="sobol"`` or ``budget=Budget(trials=50)``.
        """
        return Experiment.from_spec(_described(lineage.forked(self.state(), changes)))

    def replay(self) -> Experiment:
        """Return an experiment that runs this one's points again; launch it as any other."""
        return Experiment.from_spec(_described(lineage.replayed(self.state())))

    def decide_again(self, hypothesis: Hypothesis | None = None) -> dict[str, Any]:
        """Compute the decision again from the recorded data; nothing is written.

        Parameters
        ----------
        hypothesis : Hypothesis, optional
            What another one would have decided; the committed one where left out.
        """
        state = self.state()
        if hypothesis is not None:
            state.spec = state.spec.model_copy(update={"hypothesis": hypothesis.committed()})
        return Finding(decide(state))

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


def get(experiment: str) -> Run:
    """Return an experiment by its identifier."""
    store = _store()
    store.summary(experiment)
    return Run(experiment, store)


def search() -> list[dict[str, Any]]:
    """Return the summaries of all experiments that one may see, newest first."""
    return _store().summaries()


def compare(*experiments: str | Run) -> pd.DataFrame:
    """Return experiments side by side, one a row: trials, costs, best points, decisions, and what differs."""
    import pandas as pd

    runs = [each if isinstance(each, Run) else get(each) for each in experiments]
    rows = lineage.compared([run.state() for run in runs])
    flat = [
        {
            **{name: value for name, value in row.items() if name not in ("best", "differs", "spent")},
            "best": row["best"]["value"],
            **{f"spent {name}": amount for name, amount in row["spent"].items()},
            **{f"differs: {name}": value for name, value in row["differs"].items()},
        }
        for row in rows
    ]
    return pd.DataFrame(flat).set_index("experiment")


def keep(path: str | Path) -> str:
    """Keep a copy of a file that trials need, such as a script, and return the hash by which the executor `job` takes it."""
    return _store().keep_file(Path(path).read_bytes())


def open_budget(
    name: str, *, groups: Sequence[str] = (), currency: str = "USD", **limits: float
) -> dict[str, Any]:
    """Open a budget that several experiments draw from, with ``Budget(account=name)``.

    Parameters
    ----------
    groups : sequence of str
        Groups whose members may draw from it.
    **limits
        Amounts, such as ``samples=200``.
    """
    return _store().open_budget(name, limits, groups=groups, currency=currency)


def budget(name: str) -> dict[str, Any]:
    """Return a shared budget: limits, what is reserved and what is spent."""
    return _store().budget(name)


def verify(experiment: str) -> Report:
    """Check an experiment from the ledger alone: chain, commitment, trials, attachments and decision, line by line."""
    return _store().verify(experiment)


def _asks(event: Mapping[str, Any], by_hand: bool) -> bool:
    """Whether a person may be asked for something after an event."""
    kind = event["kind"]
    if kind in ("trial.started", "step.started"):
        return by_hand
    return kind in ("trial.unknown", "approval.expired") or "approval" in event["body"]


def _described(fields: dict[str, Any]) -> ExperimentSpec:
    try:
        return ExperimentSpec.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"The experiment cannot be used: {explain(error)}.") from error


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
