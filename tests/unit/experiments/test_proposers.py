"""The optimisers of others: they learn from what came back, and say before the launch what they cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.constraints import Condition, Mixture
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.parameters import Categorical, Integer, Real, When
from genesis_workbench.experiments.proposers import _base
from genesis_workbench.experiments.proposers._base import CannotPropose
from genesis_workbench.experiments.proposers.cma import EvolutionProposer
from genesis_workbench.experiments.proposers.optuna import OptunaProposer
from genesis_workbench.experiments.proposers.random import RandomProposer
from genesis_workbench.experiments.spec import Objective
from genesis_workbench.experiments.state import Trial
from genesis_workbench.testing.proposers import specification

PLANE = (Real("a", -1, 1), Real("b", -1, 1))


def outcome(value):
    return {name: {"value": each, "unit": ""} for name, each in value.items()}


def run(proposer, spec, function, trials=40, failing=()):
    """Propose and observe one after the other; those whose numbers are in `failing` fail."""
    done = []
    for number in range(1, trials + 1):
        point = proposer.propose(spec, done, 1)[0]
        trial = Trial(number, point, "", str(number), "", settled=number)
        if number in failing:
            trial.state, trial.reason = "failed", "on purpose"
        else:
            trial.state, trial.values = "observed", outcome(function(point))
        done.append(trial)
    return done


def bowl(point):
    return {"y": -((point["a"] - 0.31) ** 2) - 2 * (point["b"] + 0.42) ** 2}


def values(trials):
    return [trial.values["y"]["value"] for trial in trials if trial.state == "observed"]


@pytest.mark.parametrize("proposer", [OptunaProposer, EvolutionProposer])
def test_they_learn_although_every_fifth_trial_fails(proposer):
    failing = range(5, 60, 5)
    specs = [specification(space=PLANE, proposer=proposer.name, seed=seed) for seed in range(2)]
    ours = np.median([-np.median(values(run(proposer(), spec, bowl, 48, failing)[32:])) for spec in specs])
    control = np.median(
        [-np.median(values(run(RandomProposer(), spec, bowl, 48, failing))) for spec in specs]
    )
    assert ours < control / 2


@pytest.mark.parametrize("proposer", [OptunaProposer, EvolutionProposer])
def test_in_a_small_finite_space_no_trial_is_spent_twice_on_a_point(proposer):
    space = (Integer("n", 1, 3), Categorical("solvent", ["water", "ethanol", "toluene"]))
    spec = specification(space=space, proposer=proposer.name)

    def best_at_the_edge(point):
        return {"y": point["n"] + (point["solvent"] == "water")}

    trials = run(proposer(), spec, best_at_the_edge, 6)
    batch = proposer().propose(spec, trials, 2)
    tried = [tuple(each.items()) for each in [*(trial.parameters for trial in trials), *batch]]
    assert len(set(tried)) == 8
    assert len(run(proposer(), spec, best_at_the_edge, 12)) == 12  # once all are tried, they come again


def test_the_evolution_strategy_keeps_limits_and_constraints():
    spec = specification(
        space=PLANE,
        proposer="cma",
        constraints=(Condition("a + b < 0.4"),),
        outcome_constraints=(Limit(metric="h", at_most=0.0),),
    )

    def limited(point):
        return {**bowl(point), "h": point["a"]}

    trials = run(EvolutionProposer(), spec, limited, 60)
    assert all(trial.parameters["a"] + trial.parameters["b"] < 0.4 for trial in trials)
    kept = [trial for trial in trials if trial.values["h"]["value"] <= 0]
    assert max(values(kept)) > -(0.31**2) - 0.05  # the best that keeps the limit lies at its edge
    assert len([trial for trial in trials[40:] if trial in kept]) > 10


def test_the_evolution_strategy_counts_repeats_once_and_waits_for_no_straggler():
    spec = specification(space=PLANE, proposer="cma", repeats=2)
    trials = run(EvolutionProposer(), spec, bowl, 12)
    twice = [
        Trial(2 * t.number + again, t.parameters, "", "", "", "observed", values=t.values, point=t.number, settled=t.number)
        for t in trials
        for again in (0, 1)
    ]  # fmt: skip
    assert EvolutionProposer().propose(spec, twice, 1) == EvolutionProposer().propose(spec, trials, 1)
    straggling = [*trials, Trial(13, {"a": 0.0, "b": 0.0}, "", "13", "")]
    assert len(EvolutionProposer().propose(spec, straggling, 30)) == 30


def test_optuna_proposes_what_is_active_only():
    space = (Categorical("way", ["hot", "cold"]), Real("heat", 0, 1, when=When("way", ["hot"])))
    spec = specification(space=space, proposer="optuna")
    trials = run(OptunaProposer(), spec, lambda point: {"y": point.get("heat", 0.5)}, 25)
    assert all(("heat" in trial.parameters) == (trial.parameters["way"] == "hot") for trial in trials)
    assert sum(trial.parameters["way"] == "hot" for trial in trials[12:]) > 8  # it has seen where more is


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proposer": "optuna", "constraints": (Condition("a < 0.5"),)}, "'a < 0.5'. Use gp"),
        ({"proposer": "optuna", "proposer_arguments": {"sampler": "grid"}}, "'tpe', 'gp'"),
        ({"proposer": "cma", "proposer_arguments": {"sigma": 1}}, "no argument 'sigma'"),
        ({"proposer": "cma", "further_objectives": (Objective("z"),)}, "Use gp or ax"),
        ({"proposer": "cma", "constraints": (Mixture(["a", "b"]),)}, "Use gp or baybe"),
        ({"proposer": "sobol", "proposer_arguments": {"scramble": False}}, "has no argument"),
    ],
)
def test_what_could_never_work_is_refused_with_what_would(changes, words):
    spec = specification(space=(Real("a", 0, 1), Real("b", 0, 1)), **changes)
    with pytest.raises((CannotPropose, InvalidInput), match=words):
        _base.check(spec.proposer, spec)


def test_an_experiment_that_its_proposer_cannot_honour_is_not_created(experiments, bench):
    from unit.experiments.bench import specification as described

    spec = described(proposer="cma", further_objectives=(Objective("x"),))
    with pytest.raises(CannotPropose, match="one objective"):
        experiments.create(spec)
