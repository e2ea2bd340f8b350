"""An experiment that was launched, as a notebook holds it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.errors import Conflict, DeadlineExceeded
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import lineage, people
from genesis_workbench.experiments.finding import decide
from genesis_workbench.experiments.people import Became
from genesis_workbench.experiments.showing import Finding
from genesis_workbench.experiments.spec import PERSON
from genesis_workbench.experiments.state import ExperimentState, fold, fold_on
from genesis_workbench.experiments.store import Experiments
from genesis_workbench.experiments.verification import Report

if TYPE_CHECKING:
    import pandas as pd

    from genesis_workbench.experiments.experiment import Experiment
    from genesis_workbench.experiments.hypothesis import Hypothesis


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

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Return all events so far, in order; only those after a number where one is given."""
        found: list[dict[str, Any]] = []
        while more := self._store.events(self.id, found[-1]["seq"] if found else after):
            found += more
        return found

    def follow(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over events as they come, until it has ended."""
        return (event for event in self._store.follow(self.id, after) if event is not None)

    def trials(self) -> pd.DataFrame:
        """Return one row for each trial: parameters, outcomes, state.

        Where a parameter is called as an outcome, or as what is told of each trial, the columns of those are
        ``outcome_...`` and ``trial_...``.
        """
        import pandas as pd

        state = self.state()
        told = any(trial.rationale for trial in state.trials)
        given = [parameter.name for parameter in state.spec.space]
        seen = dict.fromkeys(name for trial in state.trials for name in trial.values)
        # What the experiment itself tells of a trial makes room for a parameter or an outcome of the same name.
        outcomes = {name: f"outcome_{name}" if name in given else name for name in seen}
        taken = {*given, *outcomes.values()}
        rows = []
        for trial in state.trials:
            about = {"arm": trial.arm} if state.spec.arms else {}
            about |= {"state": trial.state, "proposer": trial.proposer, "reason": trial.reason}
            about |= {"rationale": trial.rationale} if told else {}
            rows.append(
                {
                    **{name: trial.parameters.get(name) for name in given},
                    **{outcomes[name]: value["value"] for name, value in trial.values.items()},
                    **{f"trial_{name}" if name in taken else name: value for name, value in about.items()},
                }
            )
        numbers = pd.Index(
            [trial.number for trial in state.trials], name="trial_number" if "trial" in taken else "trial"
        )
        return pd.DataFrame(rows, index=numbers) if rows else pd.DataFrame()

    def wait(self, timeout_s: float = 3600) -> dict[str, Any]:
        """Wait until it has ended and return its finding.

        In a bare notebook the experiment advances while somebody waits; it goes as far as it can without a person. A function of
        this notebook is called meanwhile, here and inside a hub.

        Raises
        ------
        DeadlineExceeded
            If that takes longer than `timeout_s` seconds; the experiment goes on.
        Conflict
            If it is paused, or, in a bare notebook, nothing more happens until a person says something.
        Unavailable
            If a function that it calls is not known in this process; says what to run again.
        """
        began, state = time.monotonic(), self.state()
        beat_s = min(max(timeout_s / 10, 1), 15)
        # Closed at once, also where an error keeps this frame: another notebook may go on then.
        with closing(self._store.follow(self.id, state.seq, beat_s=beat_s)) as following:
            for event in following:
                if event is not None:
                    fold_on(state, [Event(**event)])
                if state.state == "paused" and not self._store.alone:
                    break
                if event is None and self._store.alone and _rests(state):
                    break
                if time.monotonic() - began > timeout_s:
                    raise DeadlineExceeded(self._too_late(state, timeout_s))
        if state.state == "paused":
            why = f" ({state.reason})" if state.reason else ""
            raise Conflict(f"The experiment is paused{why}. Let it go on with resume(), then wait again.")
        if state.state != "ended":
            raise Conflict(f"The experiment waits for {_asked(state)}. Then wait again.")
        return self.finding()

    def _too_late(self, state: ExperimentState, timeout_s: float) -> str:
        waits = f", and waits for {asked}" if (asked := _asked(state)) else ""
        goes_on = "It goes on when you wait again" if self._store.alone else "It goes on; wait again"
        return f"The experiment is still {state.state} after {timeout_s:g} s{waits}. {goes_on}, or stop it."

    def finding(self) -> dict[str, Any]:
        """Return the decision on the hypothesis and its evidence, with the reason why the experiment ended.

        Raises
        ------
        Conflict
            If it has not ended yet.
        """
        summary = self.status()
        if summary["finding"] is None:
            trials, paused = summary["trials"], summary["state"] == "paused"
            raise Conflict(
                f"There is no finding yet: the experiment is {summary['state']}, {trials['observed']} of "
                f"{trials['budget']} trials observed. {'Let it go on with resume(), then' if paused else 'To come to one,'} "
                "wait for it with wait()."
            )
        return Finding({**summary["finding"], "reason": summary["reason"]})

    def pending(self) -> list[dict[str, Any]]:
        """Return what waits for a person: approvals, values to enter, trials of which nobody knows what became."""
        return self._store.pending(self.id)

    def queue(self) -> list[dict[str, Any]]:
        """Return the executions under way, each with where it stands: a job's place in the queue, a laboratory's plan."""
        return self._store.queue(self.id)

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
        return _described(lineage.forked(self.state(), changes))

    def replay(self) -> Experiment:
        """Return an experiment that runs this one's points again; launch it as any other."""
        return _described(lineage.replayed(self.state()))

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
        return Finding({**decide(state), "reason": state.reason})

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
        """Write it as an RO-Crate into a new folder: events, hypothesis, trials as CSV, finding, files, and what they are.

        Parameters
        ----------
        license : str, optional
            Under what it may be used: a URL, or words.
        """
        from genesis_workbench.experiments.crate import NO_LICENSE, write_crate

        events = [Event(**event) for event in self.events()]
        return write_crate(events, Path(folder), license=license or NO_LICENSE, attached=self.file)

    def file(self, digest: str) -> bytes:
        """Return a file that a trial left, such as a spectrum, by the hash under which its `attachments` name it."""
        return self._store.file(self.id, digest)

    def slices(self) -> list[dict[str, Any]]:
        """Return what a Gaussian process makes of the observations along each parameter, at the best point."""
        from genesis_workbench.experiments.surrogate import slices

        return slices(self.state())

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


def _rests(state: ExperimentState) -> bool:
    """Whether nothing more happens until a person says something."""
    return people.waits(state) or _wants_points(state)


def _wants_points(state: ExperimentState) -> bool:
    return state.spec.proposer == PERSON and not state.under_way and not state.added


def _asked(state: ExperimentState) -> str:
    """Return what the experiment waits for from a person, and what to do; empty where it waits for nobody."""
    if _wants_points(state):
        return "points: people propose what is tried. Give some with add_points(), or end it with stop()"
    asked = [f"trial {each['trial']} for {each['for']}" for each in people.pending(state)]
    more = f" and {len(asked) - 5} more" if len(asked) > 5 else ""
    about = ", ".join(asked[:5]) + more
    return f"a person: {about}. See pending(); then approve, enter or resolve" if asked else ""


def _described(fields: dict[str, Any]) -> Experiment:
    from genesis_workbench.experiments.experiment import Experiment, described

    return Experiment.from_spec(described(fields))
