"""What every proposer must do."""

from __future__ import annotations

from typing import Any

import pytest

from genesis_workbench.experiments.constraints import Condition, Linear, Mixture
from genesis_workbench.experiments.hypothesis import Hypothesis, Threshold
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.parameters import AnyParameter, Categorical, Integer, Ordinal, Real, When
from genesis_workbench.experiments.proposers._base import CannotPropose, domain
from genesis_workbench.experiments.spec import Budget, ExperimentSpec, Objective
from genesis_workbench.experiments.state import Trial


def specification(**changes: Any) -> ExperimentSpec:
    """Return an experiment over a real, a whole and a named parameter."""
    spec = ExperimentSpec(
        title="Contract",
        hypothesis=Hypothesis(statement="The outcome reaches 1", rule=Threshold(metric="y", at_least=1)),
        space=(Real("a", -1, 1), Integer("b", 1, 4), Categorical("c", ["red", "green", "blue"])),
        objective=Objective("y"),
        executor="none",
        budget=Budget(trials=30),
    )
    return spec.model_copy(update=changes)


ABC: tuple[AnyParameter, ...] = (
    Real("a", -1, 1),
    Integer("b", 1, 4),
    Categorical("c", ["red", "green", "blue"]),
)
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"space": ABC},
    "log and ordinal": {
        "space": (
            Real("a", 1e-3, 1, log=True),
            Ordinal("b", [1, 2, 8]),
            Integer("c", 1, 1000, log=True, unit="s"),
        )
    },
    "linear": {"space": ABC, "constraints": (Linear({"a": 2, "b": -1}, at_most=-0.5),)},
    "condition": {"space": ABC, "constraints": (Condition("a**2 * b <= 1 or c == 'blue'"),)},
    "mixture": {
        "space": (Real("a", 0, 0.8), Real("b", 0.1, 1), Real("c", 0, 1), Integer("n", 1, 3)),
        "constraints": (Mixture(["a", "b", "c"]), Linear({"a": 1, "b": -1}, at_least=-0.5)),
    },
    "conditional": {
        "space": (
            *ABC,
            Real("d", 0, 1, when=When("c", ["red", "blue"])),
            Integer("e", 1, 9, when=When("b", [2])),
        ),
        "constraints": (Condition("a + d < 1.5"),),
    },
    "objectives": {"space": ABC, "further_objectives": (Objective("z", maximize=False),)},
    "limit": {"space": ABC, "outcome_constraints": (Limit(metric="h", at_most=0.5),)},
    "everything": {
        "space": (Real("a", 0, 0.8), Real("b", 0.1, 1), Real("c", 0, 1)),
        "constraints": (Mixture(["a", "b", "c"]), Linear({"a": 1, "b": -1}, at_least=-0.5)),
        "further_objectives": (Objective("z"),),
        "outcome_constraints": (Limit(metric="h", at_most=0.5),),
    },
}
"""What every proposer is asked for: it proposes within it, or refuses it before the launch and says what would do instead."""


class ProposerContract:
    """Subclass it, and set `proposer` to an object that satisfies the Protocol."""

    proposer: Any

    @pytest.mark.parametrize("kind", DESCRIPTIONS)
    def test_every_proposal_lies_in_the_space(self, kind: str) -> None:
        """From nothing, and after observations, failures and trials under way; what it refuses it refuses at once."""
        spec = specification(**DESCRIPTIONS[kind])
        if self._refuses(spec):
            assert kind != "plain"
            return
        trials = self._history(spec, 11)
        for so_far in ([], trials[:3], trials):
            points = self.proposer.propose(spec, so_far, 3)
            assert len(points) == 3
            for point in points:
                domain(spec).check(point)

    @pytest.mark.parametrize("kind", ["plain", "linear", "mixture", "objectives", "limit"])
    def test_the_same_history_gives_the_same_proposals(self, kind: str) -> None:
        """A restart anywhere changes nothing, and neither does what was asked for in between."""
        spec = specification(**DESCRIPTIONS[kind])
        if self._refuses(spec):
            return
        trials = self._history(spec, 9)
        first = self.proposer.propose(spec, trials, 2)
        self.proposer.propose(specification(seed=5), [], 1)
        assert type(self.proposer)().propose(spec, trials, 2) == first

    def test_repeats_of_a_point_do_not_move_the_sequence(self) -> None:
        """Trials that measure one point again are one point."""
        spec = specification()
        once = self.proposer.propose(spec, [Trial(1, {"a": 0.5, "b": 2, "c": "red"}, "", "1", "")], 1)
        twice = [Trial(n, {"a": 0.5, "b": 2, "c": "red"}, "", str(n), "", point=1) for n in (1, 2)]
        assert self.proposer.propose(spec, twice, 1) == once

    def test_another_seed_gives_others(self) -> None:
        """The seed counts."""
        first, second = (self.proposer.propose(specification(seed=seed), [], 4) for seed in (1, 2))
        assert first != second

    def test_equal_observations_do_not_break_it(self) -> None:
        """Outcomes without any spread say nothing, and are no error."""
        spec = specification()
        trials = self._history(spec, 10)
        for trial in trials:
            if trial.state == "observed":
                trial.values = {"y": {"value": 0.5, "unit": ""}}
        assert len(self.proposer.propose(spec, trials, 1)) == 1

    @pytest.mark.parametrize("kind", ["plain", "mixture"])
    def test_no_two_points_of_a_batch_are_equal(self, kind: str) -> None:
        """Not where the best lies in a corner either, and none is what is under way already."""
        spec = specification(**DESCRIPTIONS[kind])
        if self._refuses(spec):
            return
        trials = self._history(spec, 12)
        for trial in trials:
            if trial.state == "observed":
                trial.values = {"y": {"value": trial.parameters["a"] + trial.parameters["b"], "unit": ""}}
        batch = [*self.proposer.propose(spec, trials, 6), *(t.parameters for t in trials if t.open)]
        assert len({tuple(point.items()) for point in batch}) == len(batch) == 7

    def _refuses(self, spec: ExperimentSpec) -> bool:
        """Whether its check, or its first proposal where it has none, says that it cannot do this, and what would."""
        check = getattr(self.proposer, "check", lambda spec: self.proposer.propose(spec, [], 1))
        try:
            check(spec)
        except CannotPropose as reason:
            assert "Use " in reason.message  # noqa: PT017 - it says what would do instead
            return True
        return False

    def _history(self, spec: ExperimentSpec, count: int) -> list[Trial]:
        trials: list[Trial] = []
        for number in range(1, count + 1):
            point = self.proposer.propose(spec, trials, 1)[0]
            trial = Trial(number, point, "test", str(number), "")
            if number % 5 == 0:
                trial.state, trial.reason = "failed", "on purpose"
            elif number < count:
                a, b = float(point["a"]), float(point["b"])
                seen = {"y": -((a - 0.3) ** 2) - 0.1 * b + (point["c"] == "blue"), "z": a + 0.2 * b, "h": a}
                trial.values = {name: {"value": value, "unit": ""} for name, value in seen.items()}
                trial.state = "observed"
            trials.append(trial)
        return trials
