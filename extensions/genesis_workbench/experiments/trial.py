"""One trial and its executions, as the events tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAIN = "main"
"""The arm of the trials that the experiment's proposer proposed."""

UNDONE = "The experiment ended before it was done."
"""Why a trial failed that was under way when the experiment ended."""

MOST_FAILURES = 5
"""So many failures in a row end an experiment."""

OPEN = frozenset({"waiting", "proposed", "started", "unknown"})
"""States of what still has its outcome to come."""


@dataclass
class Execution:
    """One execution by one executor: of a whole trial, or of one of its steps.

    Attributes
    ----------
    state : str
        proposed, started, unknown (nobody knows what became of it: a person must say), observed or failed.
    attempt : int
        Grows where a person has it run again.
    answer : dict or None
        What a person said became of it, until the loop has taken it up.
    cost : dict
        What its executor says it has cost, by amount.
    """

    key: str
    state: str = "proposed"
    started: str | None = None
    ended: str | None = None
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str = ""
    attempt: int = 1
    answer: dict[str, Any] | None = None
    cost: dict[str, float] = field(default_factory=dict)
    simulated: bool = True
    attachments: dict[str, str] = field(default_factory=dict)


@dataclass
class Trial:
    """One trial; where its experiment names no steps, also the one execution that it has. See :class:`Execution`.

    Its state may also be waiting (for approval), or refused.

    Attributes
    ----------
    point : int
        Counts what was proposed, from 1: repeats of one point share it.
    arm : str
        ``main``, or the arm of comparison that it belongs to.
    settled : int
        Version of the event that ended it: trials in this order are observations in the order in which they came.
    reserved : dict
        What it was planned to use of the budget, by amount.
    steps : dict
        Executions by step, where the experiment names steps.
    approval : dict or None
        Why it needs a person's word, the digest of what that is good for, and what was said.
    decisive : bool
        Whether it counts for the rule and the best point: not where its fidelity is below the target.
    informed : bool
        Whether a person chose its point when outcomes were there already.
    rationale : str
        What the proposer said of it, in its own words: text that nobody here wrote.
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
    settled: int = 0
    reserved: dict[str, float] = field(default_factory=dict)
    steps: dict[str, Execution] = field(default_factory=dict)
    approval: dict[str, Any] | None = None
    decisive: bool = True
    informed: bool = False
    rationale: str = ""
    attempt: int = 1
    answer: dict[str, Any] | None = None
    cost: dict[str, float] = field(default_factory=dict)
    simulated: bool = True
    attachments: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Before repeats there was one trial for each point.
        self.point = self.point or self.number

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN

    def execution(self, step: str | None) -> Executed:
        """Return the execution of a step; the trial itself where it has none."""
        return self if step is None else self.steps[step]

    @property
    def executions(self) -> list[tuple[str | None, Executed]]:
        """Its executions by step; itself, where it has no steps."""
        return [*self.steps.items()] if self.steps else [(None, self)]

    @property
    def unknown(self) -> list[tuple[str | None, Executed]]:
        """The executions of which a person must say what became of them, by step."""
        return [pair for pair in self.executions if pair[1].state == "unknown"]


Executed = Execution | Trial
"""What an executor executes: a step of a trial, or a trial that has none."""


def too_many_failures(trials: Sequence[Trial]) -> bool:
    """Whether the last trials that have ended all failed, and so many that going on makes no sense."""
    failed = 0
    for trial in reversed(trials):
        if trial.state == "failed":
            failed += 1
        elif trial.state == "observed":
            break
        if failed == MOST_FAILURES:
            return True
    return False


def plain(one: Executed) -> dict[str, Any]:
    """Return an execution as JSON values, what has its default left out."""
    found = {name: value for name, value in vars(one).items() if value not in _EMPTY.get(name, ())}
    if isinstance(one, Trial) and one.steps:
        found["steps"] = {name: plain(each) for name, each in one.steps.items()}
    return found


_EMPTY: Mapping[str, tuple[Any, ...]] = {
    "values": ({},), "reason": ("",), "rationale": ("",), "answer": (None,), "cost": ({},), "attachments": ({},), "steps": ({},),
    "reserved": ({},), "approval": (None,), "started": (None,), "ended": (None,),
}  # fmt: skip


def from_plain(found: dict[str, Any]) -> Trial:
    """Return the trial that :func:`plain` wrote."""
    trial = Trial(**found)
    if trial.steps:
        trial.steps = {name: Execution(**each) for name, each in found["steps"].items()}
    return trial
