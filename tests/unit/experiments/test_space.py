"""The space: what is drawn from it fits, and what can never fit is said before anything runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments import (
    Budget,
    Categorical,
    Condition,
    Integer,
    Linear,
    Mixture,
    Ordinal,
    Real,
    When,
)
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.constraints import check
from genesis_workbench.experiments.domain import Domain
from genesis_workbench.experiments.proposers.gp import GaussianProcessProposer
from genesis_workbench.experiments.proposers.grid import GridProposer
from genesis_workbench.experiments.proposers.random import RandomProposer
from genesis_workbench.experiments.proposers.sobol import SobolProposer
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial
from genesis_workbench.testing.proposers import specification

MIXED = (
    Real("dose", 1e-4, 10, log=True, unit="mg"),
    Integer("steps", 1, 5000, log=True),
    Ordinal("plate", [1, 2, 5.5], unit="mm"),
    Categorical("solver", ["cg", "lu", "none"]),
    Integer("restarts", 0, 3, when=When("solver", ["cg"])),
    Real("drop", 0, 1, when=When("restarts", [2, 3])),
)


def described(space, constraints=(), **more):
    fields = specification().model_dump() | {"space": space, "constraints": constraints} | more
    return ExperimentSpec.model_validate(fields)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_values_and_their_point_are_one_whatever_is_active(point):
    values = spaces.decode(MIXED, np.array(point))
    assert ("restarts" in values) == (values["solver"] == "cg")
    assert ("drop" in values) == (values.get("restarts") in (2, 3))
    assert spaces.decode(MIXED, spaces.encode(MIXED, values)) == pytest.approx(values)


def test_equal_factors_are_equal_steps_on_a_log_scale():
    dose, steps = MIXED[0], MIXED[1]
    assert dose.decode([0.5]) == pytest.approx(np.sqrt(1e-4 * 10))
    assert [steps.decode([at]) for at in (0.0, 1.0)] == [1, 5000]
    assert all(steps.decode(steps.encode(value)) == value for value in range(1, 5001))


def test_what_is_inactive_may_not_be_given():
    point = {"dose": 1.0, "steps": 3, "plate": 2, "solver": "lu"}
    spaces.encode(MIXED, point)
    with pytest.raises(InvalidInput, match="'restarts'"):
        spaces.encode(MIXED, {**point, "restarts": 2})
    with pytest.raises(InvalidInput, match=r"one of 1, 2, 5\.5"):
        spaces.encode(MIXED, {**point, "plate": 3})


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6), st.floats(0.5, 100))
def test_mixtures_sum_to_their_total_and_keep_their_bounds(seed, parts, total):
    names = [f"p{i}" for i in range(parts)]
    space = tuple(Real(name, 0.05 * total / parts, 0.9 * total) for name in names)
    spec = described(space, (Mixture(names, total=total),), seed=seed)
    fits = Domain(spec.space, spec.constraints)
    for proposer in (SobolProposer(), RandomProposer()):
        for point in proposer.propose(spec, [], 4):
            fits.check(point)
            assert sum(point.values()) == pytest.approx(total)


def test_mixtures_are_uniform():
    """Each of three parts has the distribution Beta(1, 2), as under Dirichlet(1, 1, 1)."""
    from scipy.stats import kstest

    spec = described(tuple(Real(name, 0, 1) for name in "abc"), (Mixture(list("abc")),))
    drawn = RandomProposer().propose(spec, [], 400)
    for name in "abc":
        assert kstest([point[name] for point in drawn], "beta", args=(1, 2)).pvalue > 0.001


def test_the_sequence_does_not_depend_on_how_many_are_asked_for_at_once():
    spec = described((Real("x", 0, 1), Real("y", 0, 1)), (Condition("x**2 + y**2 <= 0.2"),))
    ten = SobolProposer().propose(spec, [], 10)
    done = [Trial(number, point, "", "", "") for number, point in enumerate(ten[:7], start=1)]
    assert SobolProposer().propose(spec, done, 3) == ten[7:]


@pytest.mark.parametrize("proposer", [SobolProposer, RandomProposer])
def test_where_nothing_fits_the_error_names_what_holds_least(proposer):
    spec = described(
        (Real("x", 0, 1), Real("y", 0, 1)), (Linear({"x": 1, "y": 1}, at_least=3), Condition("x < 0.9"))
    )
    with pytest.raises(InvalidInput, match=r"3 ≤ x \+ y' held for 0; 'x < 0.9' held for (8|9)\d\d\d"):
        proposer().propose(spec, [], 1)


def test_the_grid_covers_what_fits_once_and_as_finely_as_the_budget_allows():
    space = (Real("x", 0, 1), Integer("n", 1, 3), Categorical("c", ["a", "b"]))
    spec = described(space, (Condition("x * n < 2.9"),), budget=Budget(trials=30))
    points = GridProposer().propose(spec, [], 28)
    assert len({str(point) for point in points}) == 28  # 5 levels x 3 x 2, less the two at x = 1, n = 3
    assert {point["x"] for point in points} == {0, 0.25, 0.5, 0.75, 1}
    assert GridProposer().propose(spec, [], 56)[28:] == points
    assert points != sorted(points, key=str)


def test_a_bound_that_is_missed_by_rounding_alone_is_kept():
    tenths = [0, 0.1, 0.2, 0.3]
    spec = described(
        (Ordinal("a", tenths), Ordinal("b", tenths)),
        (Linear({"a": 1, "b": 1}, at_most=0.3),),
        budget=Budget(trials=16),
    )
    assert len({str(point) for point in GridProposer().propose(spec, [], 10)}) == 10  # 0.1 + 0.2 > 0.3
    difference = Linear({"a": 1, "b": -1, "c": -1}, at_least=0)
    assert difference.holds({"a": 0.3, "b": 0.1, "c": 0.2})
    assert not difference.holds({"a": 0.3, "b": 0.1, "c": 0.20001})
    assert not spec.constraints[0].holds({"a": 0.1, "b": 0.20001})


def test_the_grid_of_a_mixture_is_its_simplex_lattice():
    spec = described(
        tuple(Real(name, 0, 1) for name in "abc"), (Mixture(list("abc")),), budget=Budget(trials=10)
    )
    points = GridProposer().propose(spec, [], 10)
    assert {tuple(round(3 * value) for value in point.values()) for point in points} == {
        (i, j, 3 - i - j) for i in range(4) for j in range(4 - i)
    }


def test_the_light_optimiser_keeps_a_mixture_and_a_condition_and_beats_chance():
    names = list("abc")
    spec = described(tuple(Real(name, 0, 1) for name in names), (Mixture(names), Condition("a > b")))
    trials = []
    for number in range(1, 19):
        point = GaussianProcessProposer().propose(spec, trials, 1)[0]
        value = -sum((point[name] - goal) ** 2 for name, goal in zip(names, (0.5, 0.3, 0.2), strict=True))
        trials.append(
            Trial(number, point, "", "", "", state="observed", values={"y": {"value": value, "unit": ""}})
        )
    best = max(trial.values["y"]["value"] for trial in trials)
    by_chance = max(
        -sum((point[name] - goal) ** 2 for name, goal in zip(names, (0.5, 0.3, 0.2), strict=True))
        for point in RandomProposer().propose(spec, [], 18)
    )
    assert best > by_chance / 3  # both below zero: three times nearer


@pytest.mark.parametrize(
    ("space", "constraints", "words"),
    [
        ((Real("x", 0, 1), Real("x", 0, 2)), (), "named twice"),
        ((Real("y", 0, 1, when=When("x", [1])), Integer("x", 0, 1)), (), "does not come before"),
        ((Real("x", 0, 1), Real("y", 0, 1, when=When("x", [1]))), (), "no single values"),
        ((Integer("x", 0, 1), Real("y", 0, 1, when=When("x", [7]))), (), "x is 7"),
        ((Real("x", 0, 1),), (Condition("x + z < 1"),), "names 'z'"),
        ((Categorical("x", ["a", "b"]),), (Linear({"x": 1}, at_most=1),), "no number of the space"),
        ((Real("x", 0, 1), Real("y", 0, 1)), (Mixture(["x", "y"], total=3),), "can never hold"),
        ((Real("x", 0, 1), Real("y", 0, 1, unit="kg")), (Mixture(["x", "y"]),), "one unit"),
        ((Real("x", 0, 1), Integer("y", 0, 1)), (Mixture(["x", "y"]),), "must be real"),
        ((Real("x", 0, 1), Real("y", 0, 1)), (Mixture(["x", "y"]), Mixture(["y", "x"])), "two mixtures"),
    ],
)
def test_what_makes_no_sense_is_refused(space, constraints, words):
    with pytest.raises(ValueError, match=words):
        described(space, constraints)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "steps < 9 or solver == 'nome'",
            "with 'nome', which it never is. Did you mean 'none'[?] solver is one of cg, lu, none",
        ),
        ("not (steps < 9 and 'nome' != solver)", "compares solver with 'nome'.*Did you mean 'none'"),
        ("solver == 1", "compares solver with 1, which it never is. solver is one of cg, lu, none"),
        ("solver == steps", "which it never is"),
        ("plate != 'cg'", "compares plate with 'cg', which it never is. plate is a number"),
        ("'cg' == dose + 1", "dose [+] 1 is a number"),
        ("solver < 2", "takes solver for a number; it is one of cg, lu, none"),
        ("steps < 9 or 1 + 2 * solver > steps", "takes solver for a number"),
        ("-solver < 2", "takes solver for a number"),
        ("max(1, solver) < 2", "takes solver for a number"),
    ],
)
def test_a_condition_that_nothing_fulfils_is_refused_before_it_shrinks_the_space(expression, words):
    with pytest.raises(InvalidInput, match=words):
        Condition(expression).check_kinds(MIXED)


def test_a_condition_may_compare_choices_with_each_other_and_numbers_with_numbers():
    space = (*MIXED, Categorical("other", ["lu", "qr"]), Integer("exp", 0, 1))
    for text in ("solver == other or 'qr' != other", "plate == 2 or steps == dose", "exp(exp) < 2"):
        Condition(text).check_kinds(space)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Real("x", 0, 1, log=True),
        lambda: Ordinal("x", [2, 1]),
        lambda: Ordinal("x", ["a", "b"]),
        lambda: Linear({"x": 1}),
        lambda: Condition("import os"),
        lambda: Mixture(["x", "y"], total=0),
    ],
)
def test_parts_that_make_no_sense_are_refused(make):
    with pytest.raises(InvalidInput, match=r"^\w+ cannot be made so: [^\n]+\.$"):
        make()


def test_a_description_with_everything_survives_its_journey_as_json():
    spec = described(
        MIXED, (Linear({"dose": 1}, at_most=5), Condition("plate < 5 or solver == 'lu'")), repeats=3
    )
    assert ExperimentSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Linear({"x": 2, "y": 2}, at_least=1, at_most=1), r"Use Mixture\(\['x', 'y'\], total=0.5\) instead"),
        (Linear({"x": 1, "y": -1}, at_least=0, at_most=0), "Leave 'y' out of the space"),
        (Linear({"x": 1, "y": 1}, at_least=1.5, at_most=1), "give at_least below at_most"),
    ],
)
def test_a_sum_that_has_one_value_is_answered_with_how_to_say_that(constraint, words):
    with pytest.raises(InvalidInput, match=words):
        check((Real("x", 0, 1), Real("y", 0, 1)), (constraint,))
    if constraint.at_least == constraint.at_most:
        check((Integer("x", 0, 3), Integer("y", 0, 3)), (constraint,))  # whole numbers may be hit
