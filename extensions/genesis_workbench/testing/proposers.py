"""What every proposer must do."""

from __future__ import annotations

from typing import Any

from genesis_workbench.experiments import space
from genesis_workbench.experiments.hypothesis import Hypothesis, Threshold
from genesis_workbench.experiments.space import Categorical, Integer, Real
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


class ProposerContract:
    """Subclass it, and set `proposer` to an object that satisfies the Protocol."""

    proposer: Any

    def test_every_proposal_lies_in_the_space(self) -> None:
        """From nothing, and after observations, failures and trials under way."""
        spec = specification()
        trials = self._history(spec, 14)
        for so_far in ([], trials[:3], trials):
            points = self.proposer.propose(spec, so_far, 3)
            assert len(points) == 3
            for point in points:
                space.encode(spec.space, point)

    def test_the_same_history_gives_the_same_proposals(self) -> None:
        """A restart anywhere changes nothing."""
        spec = specification()
        trials = self._history(spec, 12)
        assert self.proposer.propose(spec, trials, 2) == self.proposer.propose(spec, trials, 2)

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

    def _history(self, spec: ExperimentSpec, count: int) -> list[Trial]:
        trials: list[Trial] = []
        for number in range(1, count + 1):
            point = self.proposer.propose(spec, trials, 1)[0]
            trial = Trial(number, point, "test", str(number), "")
            if number % 5 == 0:
                trial.state, trial.reason = "failed", "on purpose"
            elif number < count:
                value = -((float(point["a"]) - 0.3) ** 2) - 0.1 * int(point["b"]) + (point["c"] == "blue")
                trial.state, trial.values = "observed", {"y": {"value": value, "unit": ""}}
            trials.append(trial)
        return trials
