"""Several objectives, limits, repeats, arms, costs and measurements that fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.experiments import (
    Arm,
    Budget,
    Limit,
    Objective,
    Real,
    loop,
    outcomes,
)
from genesis_workbench.experiments.proposers.gp import GaussianProcessProposer
from genesis_workbench.experiments.proposers.random import RandomProposer
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.trial import Trial
from unit.experiments.bench import run, specification

TWO = {"objective": Objective("y", "degC"), "further_objectives": (Objective("w", "m", maximize=False),)}


def seen(number, y, w=0.0, **more):
    values = {"y": {"value": y, "unit": "degC"}, "w": {"value": w, "unit": "m"}}
    return Trial(number, {"x": 0.1, "z": 0.1}, "", "", "", state="observed", values=values, **more)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(pairs):
    spec = specification(**TWO)
    trials = [seen(number, y, w) for number, (y, w) in enumerate(pairs, start=1)]
    front = {point.number for point in outcomes.front(spec, trials)}
    for number, (y, w) in enumerate(pairs, start=1):
        dominated = any(a >= y and b <= w and (a, b) != (y, w) for a, b in pairs)
        assert (number in front) == (not dominated)
    assert bool(front) == bool(pairs)


def test_limits_on_outcomes_decide_what_may_be_best():
    spec = specification(**TWO, outcome_constraints=(Limit(metric="w", at_most=200, unit="cm"),))
    trials = [seen(1, 9, 3), seen(2, 5, 1), seen(3, 7, 2)]
    assert outcomes.best(spec, trials).number == 3
    assert [point.number for point in outcomes.front(spec, trials)] == [2, 3]
    assert outcomes.best(spec, trials[:1]) is None


def test_repeats_are_one_point_with_a_mean_and_its_error():
    spec = specification()
    trials = [seen(1, 5.0, point=1), seen(2, 1.0, point=1), seen(3, 4.0, point=2), seen(4, 4.0, point=2)]
    best = outcomes.best(spec, trials)
    assert (best.number, best.mean("y", "degC"), best.standard_error("y", "degC")) == (2, 4.0, 0.0)
    first = outcomes.points(trials)[0]
    assert first.standard_error("y", "degC") == pytest.approx(np.std([5, 1], ddof=1) / math.sqrt(2))


def test_state_and_finding_carry_the_front(ledger, experiments, bench):
    bench.outcomes["w"] = "m"
    bench.measure = lambda _number, x: {"y": (x["x"], "degC", None), "w": (x["x"] ** 2, "m", None)}
    state = run(ledger, experiments.create(specification(**TWO)), bench)
    summary = state.summary()
    assert len(summary["front"]) == 12  # more of the one is always more of the other
    assert state.finding["evidence"]["front"] == summary["front"]
    assert summary["best"]["name"] == "y"


def test_each_point_is_measured_as_often_as_asked_and_the_arms_take_turns(ledger, experiments, bench):
    arms = (Arm("control", every=3), Arm("untreated", every=2, parameters={"x": 0.0, "z": 0.0}))
    experiment = experiments.create(specification(repeats=2, arms=arms, parallel=3, proposer="random"))
    state = run(ledger, experiment, bench)
    assert [trial.point for trial in state.trials] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [trial.arm for trial in state.trials][::2] == [
        "main", "untreated", "control", "untreated", "main", "control",
    ]  # fmt: skip
    assert all(
        a.parameters == b.parameters for a, b in zip(state.trials[::2], state.trials[1::2], strict=True)
    )
    assert state.trials[2].parameters == {"x": 0.0, "z": 0.0}
    assert len({str(trial.parameters) for trial in state.trials if trial.arm != "untreated"}) == 4


def test_as_many_trials_are_under_way_as_asked_and_never_more(ledger, experiments, bench):
    bench.slow = True
    experiment = experiments.create(specification(parallel=5))
    assert len(loop.advance(ledger, experiment, None, {"bench": bench}).trials) == 5
    assert len(loop.advance(ledger, experiment, None, {"bench": bench}).trials) == 5
    bench.slow = False
    state = loop.advance(ledger, experiment, None, {"bench": bench})
    assert (len(state.observed), len(state.trials)) == (5, 10)
    assert len(run(ledger, experiment, bench).trials) == 12
    assert len({str(trial.parameters) for trial in state.trials}) == 10


def test_what_cannot_be_used_is_named_and_the_rest_is_kept(ledger, experiments, bench):
    bench.outcomes["w"] = "m"
    given = {
        1: {"y": (math.nan, "degC", None), "w": (1.0, "m", None)},
        2: {"y": (math.inf, "degC", None), "w": (1.0, "kg", None)},
        3: {},
    }
    bench.measure = lambda number, x: given.get(number, {"y": (x["x"], "degC", None), "w": (1.0, "m", None)})
    experiment = experiments.create(specification(**TWO, budget=Budget(trials=6)))
    state = run(ledger, experiment, bench)
    assert [trial.state for trial in state.trials] == ["observed", "failed", "failed", *["observed"] * 3]
    assert set(state.trials[0].values) == {"w"}
    assert "y has the value inf" in state.trials[1].reason
    assert "w has a wrong unit" in state.trials[1].reason
    assert "no values" in state.trials[2].reason
    first = ledger.read(stream=stream(experiment), kinds=["trial.observed"])[0]
    assert "nan" in first.body["unusable"]["y"]
    assert state.finding["evidence"]["observed"] == 3


def hypervolume(points):
    """The area that points (both to be maximised) cover above (0, 0)."""
    area, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        area += x * max(0.0, y - height)
        height = max(height, y)
    return area


def test_the_light_optimiser_covers_a_front_and_keeps_limits():
    """Two objectives that bend inwards (f = x, g = 1 - x² less a penalty), with a limit on an outcome."""
    spec = specification(
        space=(Real("x", 0, 1), Real("z", 0, 1), Real("v", 0, 1)),
        objective=Objective("f"),
        further_objectives=(Objective("g"),),
        outcome_constraints=(Limit(metric="h", at_most=0.5),),
        budget=Budget(trials=30),
    )

    def measured(number, point):
        penalty = (point["z"] - 0.8) ** 2 + (point["v"] - 0.2) ** 2
        values = {"f": point["x"] - penalty, "g": 1 - point["x"] ** 2 - penalty, "h": point["v"] + 0.1}
        values = {name: {"value": value, "unit": ""} for name, value in values.items()}
        return Trial(number, point, "", "", "", state="observed", values=values)

    def covered(proposer, seed):
        seeded, trials = spec.model_copy(update={"seed": seed}), []
        for number in range(1, 37):
            trials.append(measured(number, proposer.propose(seeded, trials, 1)[0]))
        front = outcomes.front(seeded, trials)
        assert all(trial.values["h"]["value"] <= 0.5 for point in front for trial in point.trials)
        return hypervolume([(max(0, p.mean("f", "")), max(0, p.mean("g", ""))) for p in front])

    ours = covered(GaussianProcessProposer(), 0)
    by_chance = np.median([covered(RandomProposer(), seed) for seed in range(9)])
    assert 2 / 3 - ours < 0.6 * (2 / 3 - by_chance)  # 2/3 is the area under the whole front


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"further_objectives": (Objective("y"),)}, "named twice"),
        ({"arms": (Arm("main"),)}, "arm is named twice"),
        ({"arms": (Arm("c", parameters={"x": 7, "z": 0}),)}, "x is 7"),
        ({"cost": {"samples": "2 * q"}}, "names 'q'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        specification(**changes)
