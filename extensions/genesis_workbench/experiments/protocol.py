"""Where experiments live: one Protocol, for this process (`store`) and for the service (`remote`)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.people import Became, Returned
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.verification import Report


class Experiments(Protocol):
    """Keeps experiments. What the asker may not see does not exist for them.

    Attributes
    ----------
    alone : bool
        Whether nobody else works here, and experiments advance in this process only.
    """

    @property
    def alone(self) -> bool: ...

    def choices(self) -> dict[str, Any]:
        """Return what a description can choose from: executors with their settings, proposers, rules."""
        ...

    def preview(self, spec: ExperimentSpec) -> dict[str, Any]:
        """Return what launching it would do, and launch nothing: what refuses it, what it costs, who must agree."""
        ...

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

    def follow(
        self, experiment: str, after: int = 0, *, beat_s: float | None = None
    ) -> Generator[dict[str, Any] | None, None, None]:
        """Iterate over events as they come, until the experiment has ended; in a bare notebook also until it is paused.

        Parameters
        ----------
        beat_s : float, optional
            While nothing happens give None, at least about so often, so that whoever waits may think of something else.

        Raises
        ------
        Unavailable
            In a bare notebook, if it cannot go on because this process lacks a function that it calls.
        """
        ...

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop it."""
        ...

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a changed hypothesis: the committed one still decides, and the finding tells of the change."""
        ...

    def pending(self, experiment: str) -> list[dict[str, Any]]:
        """Return what waits for a person: approvals, values to enter, executions of which nobody knows."""
        ...

    def queue(self, experiment: str) -> list[dict[str, Any]]:
        """Return the executions under way, each with where it stands in its executor's queue."""
        ...

    def approve(self, experiment: str, trial: int, digest: str = "") -> None:
        """Approve a trial, for exactly the arguments that it has."""
        ...

    def refuse(self, experiment: str, trial: int, reason: str) -> None:
        """Refuse a trial."""
        ...

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
        """Say what became of a trial: observed with values, failed, or to be run again."""
        ...

    def tell(self, experiment: str, trial: int, key: str, became: Returned) -> None:
        """Tell what became of an execution that the asker's own process made; nothing where that is known already."""
        ...

    def add_points(self, experiment: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Add points that are tried next."""
        ...

    def verify(self, experiment: str) -> Report:
        """Check chain, commitment, trials, attachments and decision from the events alone."""
        ...

    def file(self, experiment: str, digest: str) -> bytes:
        """Return a file that a trial of an experiment left, by its hash."""
        ...

    def keep_file(self, data: bytes) -> str:
        """Keep a file that trials need and return its hash."""
        ...

    def open_budget(
        self, name: str, limits: Mapping[str, float], *, groups: Sequence[str] = (), currency: str = "USD"
    ) -> dict[str, Any]:
        """Open a budget that several experiments draw from."""
        ...

    def budget(self, name: str) -> dict[str, Any]:
        """Return a shared budget that one may draw from."""
        ...
