"""What every executor must do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.units import check_unit, convert
from genesis_workbench.experiments.executors._base import (
    Executor,
    Failure,
    Observation,
    Outcome,
    Request,
    Unknown,
    observe_all,
    signature,
    submit_all,
)


@dataclass
class Example:
    """An executor with something that it can execute.

    Attributes
    ----------
    make : callable
        Makes the executor anew at the same place, as after the death of the process that had it.
    parameters, arguments : dict
        A trial that succeeds, and what stays the same.
    wrong : dict or None
        Arguments that it must refuse; None where it takes any.
    remembers : bool
        Whether it knows its trials after the death of its process, or says that nobody knows.
    """

    make: Callable[[], Executor]
    parameters: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] | None = None
    remembers: bool = True


class ExecutorContract:
    """Subclass it, and set `example` before each test."""

    example: Example

    def outcome(self, executor: Executor, key: str, timeout_s: float = 60) -> Outcome:
        """Wait for what becomes of a trial."""
        deadline = time.monotonic() + timeout_s
        while (found := executor.observe(key)) is None:
            assert time.monotonic() < deadline, f"{executor.name} had no outcome after {timeout_s} s"
            time.sleep(0.02)
        return found

    def test_it_says_what_it_takes_and_gives(self) -> None:
        takes = signature(self.example.make(), self.example.arguments)
        assert takes.outcomes, "an executor observes something"
        for unit in [*takes.outcomes.values(), *(takes.parameters or {}).values()]:
            check_unit(unit)
        assert takes.optional <= set(takes.parameters or takes.optional)
        assert isinstance(takes.simulated, bool)
        assert isinstance(takes.laboratory, bool)

    def test_arguments_that_no_trial_could_run_with_are_refused(self) -> None:
        executor = self.example.make()
        executor.check(self.example.arguments)
        if self.example.wrong is not None:
            with pytest.raises(GenesisError):
                executor.check(self.example.wrong)

    def test_a_trial_gives_finite_numbers_in_its_units(self) -> None:
        executor = self.example.make()
        executor.submit("contract-one", self.example.parameters, self.example.arguments)
        found = self.outcome(executor, "contract-one")
        assert isinstance(found, Observation), found
        outcomes = signature(executor, self.example.arguments).outcomes
        assert set(found.values) <= set(outcomes)
        for name, (value, unit, uncertainty) in found.values.items():
            assert math.isfinite(value)
            assert uncertainty is None or uncertainty >= 0
            convert(1.0, unit, outcomes[name])
        assert set(found.cost) <= {"node_hours", "samples", "instrument_minutes", "money"}
        assert self.outcome(executor, "contract-one") == found, "the same answer each time"

    def test_a_key_that_is_submitted_again_runs_once(self) -> None:
        executor = self.example.make()
        for _ in range(3):
            executor.submit("contract-again", self.example.parameters, self.example.arguments)
        first = self.outcome(executor, "contract-again")
        executor.submit("contract-again", self.example.parameters, self.example.arguments)
        assert self.outcome(executor, "contract-again") == first

    def test_after_the_death_of_its_process_it_knows_or_says_that_nobody_does(self) -> None:
        executor = self.example.make()
        executor.submit("contract-died", self.example.parameters, self.example.arguments)
        later = self.example.make()
        found = self.outcome(later, "contract-died")
        assert isinstance(found, Observation if self.example.remembers else Unknown), found

    def test_many_are_submitted_and_looked_at_together(self) -> None:
        executor, keys = self.example.make(), [f"contract-many-{number}" for number in range(3)]
        requests = [Request(key, self.example.parameters, self.example.arguments) for key in keys]
        assert submit_all(executor, requests) == {}
        for key in keys:
            self.outcome(executor, key)
        found = observe_all(executor, keys)
        assert set(found) == set(keys)
        assert all(isinstance(each, Observation) for each in found.values())

    def test_what_has_ended_or_was_never_there_can_be_canceled(self) -> None:
        executor = self.example.make()
        executor.submit("contract-cancel", self.example.parameters, self.example.arguments)
        found = self.outcome(executor, "contract-cancel")
        executor.cancel("contract-cancel")
        executor.cancel("contract-never")
        assert self.outcome(executor, "contract-cancel") == found
        assert not isinstance(found, Failure)
