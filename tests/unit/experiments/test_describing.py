"""An experiment's description: what fits travels unchanged, what does not is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import (
    Approval,
    Arm,
    Budget,
    Categorical,
    Experiment,
    Hypothesis,
    Integer,
    Objective,
    Real,
    Threshold,
    loop,
)
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import run, specification

SPACE = (Real("x", -3, 5), Integer("n", 2, 9), Categorical("c", ["a", "b", "d"]))


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_point_of_the_cube_and_its_values_are_one(point):
    values = spaces.decode(SPACE, np.array(point))
    assert spaces.decode(SPACE, spaces.encode(SPACE, values)) == pytest.approx(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"x": 9, "n": 2, "c": "a"}, "x is 9; it must be between -3.0 and 5.0"),
        ({"x": 1, "n": 2.5, "c": "a"}, "whole number"),
        ({"x": 1, "n": 2, "c": "z"}, "one of a, b, d"),
        ({"x": 1, "n": 2}, "missing or unknown: 'c'"),
        ({"x": True, "n": 2, "c": "a"}, "x is True"),
    ],
)
def test_values_outside_the_space_are_named(values, words):
    with pytest.raises(InvalidInput, match=words):
        spaces.encode(SPACE, values)


def describe(**changes):
    fields = {
        "title": "t",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="y", at_least=2, unit="kW*h")),
        "space": [Real("x", 0, 1, unit="degree")],
        "objective": Objective("y", "kW*h"),
        "executor": "pvlib",
        "budget": Budget(trials=3),
    }
    return Experiment(**{**fields, **changes})


def test_a_description_survives_its_journey_as_json():
    spec = describe().spec
    assert ExperimentSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": ""}, "title"),
        ({"space": []}, "space"),
        ({"space": [Real("x", 0, 1), Real("x", 0, 2)]}, "named twice"),
        ({"groups": ["../x"]}, "group"),
        ({"parallel": 0}, "parallel"),
    ],
)
def test_what_cannot_be_used_is_named(changes, words):
    with pytest.raises(InvalidInput, match=words):
        describe(**changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Real("x", 2, 1),
        lambda: Real("x", 0, float("inf")),
        lambda: Real("x", high=1),
        lambda: Real("X y", 0, 1),
        lambda: Real("x", 0, 1, unit="parsnips"),
        lambda: Categorical("c", ["a", "a"]),
        lambda: Threshold(metric="y"),
        lambda: Threshold(metric="y", at_least=1, at_most=2),
        lambda: Budget(trials=0),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match="validation error"):
        make()


def test_a_rule_converts_units_and_decides():
    rule = Threshold(metric="y", at_least=2, unit="kW*h")
    assert rule.decide([(7.2, "MJ")]) == "supported"
    assert rule.decide([(7.1, "MJ"), (1.0, "kW*h")]) == "not supported"
    assert rule.decide([]) == "undecided"
    with pytest.raises(InvalidInput, match="cannot be given"):
        rule.reached(1, "degree")


def test_the_commitment_changes_with_every_word():
    rule = Threshold(metric="y", at_least=2)
    first = Hypothesis(statement="a", rule=rule)
    assert first.digest == Hypothesis(statement="a", rule=rule).digest
    assert first.digest != Hypothesis(statement="b", rule=rule).digest
    assert first.digest != Hypothesis(statement="a", rule=Threshold(metric="y", at_least=2.1)).digest


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        (
            {"arms": (Arm("control", every=2), Arm("best", every=4))},
            "arms.1.every",
            "each that would be its .* goes to 'control'.* such as 5",
        ),
        ({"arms": (Arm("rare", every=40),)}, "arms.0.every", "every 40th point, and the budget is for 12"),
        ({"repeats": 13}, "repeats", "13 repeats .* budget of 12 trials"),
        (
            {"approval": Approval("above", above={"money": 100})},
            "approval.above.money",
            "No trial would ever wait.* give cost={'money': ...}",
        ),
        (
            {"approval": Approval("above", above={"trials": 1})},
            "approval.above.trials",
            r"use Approval\('first', first=...\)",
        ),
        (
            {"approval": Approval("above", above={"samples": -1}), "cost": {"samples": 1}},
            "approval.above.samples",
            r"cannot cost less than -1 samples.*Approval\('each'\)",
        ),
        ({"cost": {"money": "10*(x-0.1)"}}, "cost.money", "below 0"),
        ({"cost": {"money": "1/(x-x)"}}, "cost.money", "has no value"),
        (
            {"cost": {"money": "20 + x"}, "budget": Budget(trials=3, money=5)},
            "budget.money",
            r"One trial costs 20.* the whole budget is 5\. Give a larger Budget\(money=...\)",
        ),
    ],
)
def test_what_could_never_come_about_is_refused_before_the_launch(ledger, experiments, changes, where, words):
    spec = specification(**changes)  # what is in a ledger stays readable
    with pytest.raises(InvalidInput, match=words) as told:
        experiments.create(spec)
    assert told.value.where == where
    assert ledger.head()[0] == 0


def test_arms_that_share_the_points_are_launched(experiments):
    experiments.create(specification(arms=(Arm("best", every=4), Arm("control", every=2)), repeats=3))


def test_an_experiment_ends_where_nobody_can_say_what_its_next_trial_costs(ledger, experiments, bench):
    cost = {
        "money": "x - 0.000001"
    }  # below 0 in one place of a million: no sample before the launch hits that
    point = {"x": 0.0, "z": 0.5}
    experiment = experiments.create(specification(cost=cost, parallel=2, budget=Budget(trials=12, money=9)))
    loop.advance(ledger, experiment, None, {"bench": bench})
    ledger.append(stream(experiment), "points.added", {"points": [point]}, actor="alice")
    state = run(ledger, experiment, bench)
    assert state.state == "ended"
    assert "Nobody can say what the next trial would cost" in state.reason
    assert "below 0" in state.reason
    assert verify_in(ledger, experiment).ok
