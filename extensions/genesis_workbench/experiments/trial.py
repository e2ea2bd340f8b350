"""One trial, as the events tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAIN = "main"
"""The arm of the trials that the experiment's proposer proposed."""

UNDONE = "The experiment ended before it was done."
"""Why a trial failed that was under way when the experiment ended."""

MOST_FAILURES = 5
"""So many failures in a row end an experiment."""


@dataclass
class Trial:
    """One trial. `state` is proposed, started, observed or failed.

    Attributes
    ----------
    point : int
        Counts what was proposed, from 1: repeats of one point share it.
    arm : str
        ``main``, or the arm of comparison that it belongs to.
    cost : float or None
        What it was planned to cost, in the budget's unit.
    settled : int
        Version of the event that ended it: trials in this order are observations in the order in which they came.
    """

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
    arm: str = MAIN
    cost: float | None = None
    settled: int = 0

    def __post_init__(self) -> None:
        # Before repeats there was one trial for each point.
        self.point = self.point or self.number

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in ("proposed", "started")


def too_many_failures(trials: Sequence[Trial]) -> bool:
    """Whether the last trials that have ended all failed, and so many that going on makes no sense."""
    last = [trial for trial in trials if not trial.open][-MOST_FAILURES:]
    return len(last) == MOST_FAILURES and all(trial.state == "failed" for trial in last)
