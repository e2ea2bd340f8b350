"""An experiment's description: what fits travels unchanged, what does not is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import (
    Budget,
    Categorical,
    Experiment,
    Hypothesis,
    Integer,
    Objective,
    Real,
    Threshold,
)
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.spec import ExperimentSpec

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
