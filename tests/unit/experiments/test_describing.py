"""An experiment's description: what fits travels unchanged, what does not is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import (
    Approval,
    Arm,
    Budget,
    Categorical,
    Condition,
    Experiment,
    Hypothesis,
    Integer,
    Objective,
    Ordinal,
    Real,
    Threshold,
    loop,
)
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.accounts import Accounts
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import ALICE, run, specification

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
    with pytest.raises(InvalidInput, match=r"^\w+ cannot be made so: [^\n]+\.$"):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Real("T", 0, 1), r"name \('T'\): a name has lower-case letters.* such as tilt_deg"),
        (lambda: Real("x", 0, 1, step=0.1), "there is no step; there are name, .*low, high, unit, log"),
        (lambda: Ordinal("x", ["low", "high"]), "ordered choices are numbers; for names take Categorical"),
        (Budget, "Budget cannot be made so: trials is needed"),
        (lambda: describe(objective="y"), r"objective \('y'\): Objective\(\.\.\.\) is needed here"),
        (
            lambda: describe(space=[Real("x", 0, 1), Real("x", 0, 2)]),
            r"used: space\.1\.name: A parameter is named twice: 'x'",
        ),
        (lambda: describe(space={"x": (0, 1)}), r"space\.0 \('x'\): a plain value is of no use here"),
        (lambda: describe(batch=3), "there is no batch; there are title, hypothesis"),
        (lambda: describe(constraints="y +"), "cannot be read"),
    ],
)
def test_an_error_says_in_one_line_what_is_wrong_and_what_would_do(make, words):
    with pytest.raises(InvalidInput, match=words) as told:
        make()
    assert "\n" not in told.value.message
    assert "pydantic" not in told.value.message
    assert ".." not in told.value.message.replace("(...)", "")


def test_what_is_wrong_in_a_part_is_told_with_the_path_to_it():
    with pytest.raises(ValidationError) as told:
        ExperimentSpec.model_validate({"space": [{"type": "real", "name": "x", "low": "a", "high": "b"}]})
    assert {("space", 0, "real", "low"), ("space", 0, "real", "high")} <= {
        fault["loc"] for fault in told.value.errors()
    }
    with pytest.raises(InvalidInput) as refused:
        describe(space=[{"type": "real", "name": "x", "low": "a", "high": 1}])
    assert refused.value.where == "space.0.real.low"


def test_a_unit_that_does_not_fit_is_told_with_the_outcome_and_the_field(experiments):
    rule = Threshold(metric="y", at_least=0.9, unit="g")
    with pytest.raises(InvalidInput, match="'y' is observed in degC, which cannot be given in g") as told:
        experiments.create(specification(hypothesis=Hypothesis(statement="s", rule=rule)))
    assert told.value.where == "hypothesis.rule.unit"


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
            "No trial would ever wait.* say how much money one costs",
        ),
        (
            {"approval": Approval("above", above={"trials": 1})},
            "approval.above.trials",
            "each is one trial, .* take the policy 'first'",
        ),
        (
            {"approval": Approval("above", above={"samples": -1}), "cost": {"samples": 1}},
            "approval.above.samples",
            r"cannot cost less than -1 samples.*the policy 'each'",
        ),
        (
            {"constraints": (Condition("x < 0.5 or z == 'hig'"),)},
            "constraints.0",
            "z with 'hig', which it never is",
        ),
        ({"cost": {"money": "10*(x-0.1)"}}, "cost.money", "below 0"),
        ({"cost": {"money": "1/(x-x)"}}, "cost.money", "has no value"),
        (
            {"cost": {"money": "20 + x"}, "budget": Budget(trials=3, money=5)},
            "budget.money",
            r"One trial costs 20.* the whole budget is 5\. Give a larger budget of money",
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


def test_numbers_of_numpy_are_kept_and_an_uncertainty_below_0_is_no_value(ledger, experiments, bench):
    bench.measure = lambda number, x: {
        "y": (np.float32(0.5), "degC", np.float64(0.25)) if number == 1 else (np.int64(3), "degC", -0.1)
    }
    experiment = experiments.create(specification(budget=Budget(trials=2), parallel=1))
    first, second = run(ledger, experiment, bench).trials
    assert first.values == {"y": {"value": 0.5, "unit": "degC", "uncertainty": 0.25}}
    assert second.state == "failed"
    assert "y has the uncertainty -0.1, below 0" in second.reason


def test_a_point_that_somebody_adds_has_numbers_of_its_own_and_a_cost(experiments):
    cost, budget = {"money": "x - 0.000001"}, Budget(trials=9, money=9)
    experiment = experiments.create(specification(cost=cost, budget=budget))
    experiments.add_points(experiment, [{"x": np.float32(0.5), "z": np.int64(1)}])
    [added] = experiments.state(experiment).added
    assert added["parameters"] == {"x": 0.5, "z": 1}
    for point, words in (({"x": 0.0, "z": 0.5}, "below 0"), ([{"x": 1}], "a dictionary of values")):
        with pytest.raises(InvalidInput, match=words):
            experiments.add_points(experiment, [point])


def test_words_of_people_that_mean_no_trial_or_no_outcome_are_told_as_such(experiments, ledger, bench):
    experiment = experiments.create(specification())
    loop.advance(ledger, experiment, None, {"bench": bench})
    with pytest.raises(InvalidInput, match="named by its number, such as 2, not by '2'"):
        experiments.say(experiment, "2", "observed", values={"y": 1})
    accounts = Accounts(ledger)
    with pytest.raises(InvalidInput, match="limit of samples is '3'"):
        accounts.open("beam-1", {"samples": "3"}, ALICE)
