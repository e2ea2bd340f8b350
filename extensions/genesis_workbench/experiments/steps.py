"""Trials of several steps: make, then measure, then compute, each by its own executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import idempotency_key
from genesis_workbench.experiments.budget import Costs
from genesis_workbench.experiments.parameters import When
from genesis_workbench.experiments.record import Name, Record, given

ONLY = "run"
"""Name of the one step of an experiment that names none."""


class Step(Record):
    """One step of each trial.

    Attributes
    ----------
    name : str
        What other steps, and people, call it.
    executor : str
        Plug-in that executes it.
    arguments : dict
        What stays the same over all trials.
    after : tuple of str
        Steps that come before it; it starts once all of them have given their outcomes.
    takes : dict
        Parameter of its executor to where the value comes from: a parameter of the space, or ``step.outcome``. What is left
        out comes from the space, or from the steps before, by the same name.
    cost : dict
        What it costs, by amount, besides what the trial as a whole costs.
    when : When, optional
        The step is part of a trial only where this holds: so a parameter chooses between a cheap simulation and a dear
        laboratory.
    """

    name: Name
    executor: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    after: tuple[Name, ...] = ()
    takes: dict[str, str] = Field(default_factory=dict)
    cost: Costs = Field(default_factory=dict)
    when: When | None = None

    def __init__(self, name: Any = ..., executor: Any = ..., **more: Any) -> None:
        super().__init__(**given(name=name, executor=executor), **more)


class Fidelity(Record):
    """A parameter that says how true to life a trial is.

    Attributes
    ----------
    parameter : str
        A parameter of the space. It may choose steps (`Step.when`), stand in costs, or go to the executor.
    target : str, int or float
        Its value for the real thing. Only trials with it count for the rule, the best point and the front; the others
        are there to learn from.
    """

    parameter: Name
    target: str | int | float

    def __init__(self, parameter: Any = ..., target: Any = ..., **more: Any) -> None:
        super().__init__(**given(parameter=parameter, target=target), **more)


def active(steps: Sequence[Step], parameters: Mapping[str, Any]) -> list[Step]:
    """Return the steps of a trial with these parameters, in an order in which each comes after those before it."""
    return [step for step in steps if step.when is None or step.when.holds(parameters)]


def check_graph(steps: Sequence[Step]) -> None:
    """Refuse names that are not there or twice, and steps that wait for later ones.

    Raises
    ------
    InvalidInput
        Naming the step.
    """
    seen: list[str] = []
    for place, step in enumerate(steps):
        if step.name in seen:
            raise InvalidInput(f"the step {step.name!r} is named twice", where=f"steps.{place}.name")
        sources = [source.partition(".")[0] for source in step.takes.values() if "." in source]
        for other in [*step.after, *sources]:
            if other not in seen:
                raise InvalidInput(
                    f"the step {step.name!r} comes after {other!r}, which is not among the steps before it: "
                    f"{', '.join(seen) or 'there are none'}",
                    where=f"steps.{place}.{'after' if other in step.after else 'takes'}",
                )
        seen.append(step.name)


def before(step: Step) -> set[str]:
    """Return the steps whose outcomes it needs."""
    return {*step.after, *(source.partition(".")[0] for source in step.takes.values() if "." in source)}


def key_of(experiment: str, trial: int, step: str, attempt: int = 1) -> str:
    """Return the idempotency key of one execution: a person's "run again" is another attempt with a key of its own."""
    parts: list[str | int] = [experiment, trial]
    if step != ONLY:
        parts.append(step)
    if attempt > 1:
        parts.append(attempt)
    return idempotency_key(*parts)
