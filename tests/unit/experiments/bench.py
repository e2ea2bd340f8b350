"""What tests of the loop share: an executor that runs at once, an experiment for it, and a way to its end."""

from __future__ import annotations

import time

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import Budget, Hypothesis, Objective, Real, Threshold, loop
from genesis_workbench.experiments.executors._base import Failure, Observation
from genesis_workbench.experiments.spec import ExperimentSpec

ALICE = Person("alice", groups=frozenset({"solar"}))
BOB, CAROL = Person("bob", groups=frozenset({"solar"})), Person("carol")


class Bench:
    """An executor that runs at once, counts, and fails where it is told to."""

    name, simulated = "bench", True

    def __init__(self):
        self.parameters, self.outcomes = {"x": "", "z": ""}, {"y": "degC"}
        self.optional = set()
        self.ran = {}
        self.canceled = []
        self.failing = set()
        self.slow = False

    def check(self, arguments):
        if arguments.get("broken"):
            raise InvalidInput("broken")

    def submit(self, key, parameters, arguments):
        self.ran.setdefault(key, []).append(parameters)

    def observe(self, key):
        if self.slow:
            return None
        if len(self.ran) in self.failing or "all" in self.failing:
            return Failure("the lamp is out")
        return Observation(self.measure(list(self.ran).index(key) + 1, self.ran[key][0]))

    def measure(self, number, x):
        """What trial `number` gives."""
        return {"y": (1 - (x["x"] - 0.4) ** 2 - (x["z"] - 0.7) ** 2, "degC", 0.01)}

    def cancel(self, key):
        self.canceled.append(key)


def specification(**changes):
    fields = {
        "title": "t",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.9, unit="degC")),
        "space": (Real("x", 0, 1), Real("z", 0, 1)),
        "objective": Objective("y", "degC"),
        "executor": "bench",
        "budget": Budget(trials=12),
        "proposer": "sobol",
        "groups": ("solar",),
    }
    return ExperimentSpec(**{**fields, **changes})


def run(ledger, experiment, bench, steps=400):
    """Advance it to its end and return its state."""
    for _ in range(steps):
        state = loop.advance(ledger, experiment, None, {"bench": bench})
        if state.state == "ended":
            return state
    raise AssertionError("it did not end")


def until(true, timeout_s=60):
    """Wait until `true` gives something, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found
