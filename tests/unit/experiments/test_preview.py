"""What a form shows before the launch: faults beside their fields, the cost, who must agree, and what can be chosen."""

from __future__ import annotations

import pytest

from genesis_workbench.core.units import check_unit
from genesis_workbench.experiments import Approval, Budget, Categorical, Integer, Real, loop, people
from genesis_workbench.experiments.choices import choices
from genesis_workbench.experiments.executors._base import Standing
from genesis_workbench.experiments.preview import faults, preview
from genesis_workbench.experiments.store import local_executors
from genesis_workbench.experiments.surrogate import slices
from unit.experiments.bench import run, specification


def typed(**changes):
    """A description as a form gives it: JSON values, some of them wrong."""
    fields = specification().model_dump(mode="json")
    return {**fields, **changes}


def where(found):
    return {fault["where"] for fault in found}


CHOSEN = {"type": "categorical", "name": "s", "choices": ["water", "oil"]}
X = {"type": "real", "name": "x", "low": 0, "high": 1}


def only(parameter, *values):
    return {**X, "when": {"parameter": parameter, "is_in": values}}


def steps(**second):
    return {
        "executor": "",
        "space": [X],
        "steps": [{"name": "make", "executor": "pvlib"}, {"name": "b", "executor": "bench", **second}],
    }


@pytest.mark.parametrize(
    ("changes", "place", "word"),
    [
        ({"space": [CHOSEN, only("s", "milk")]}, "space.1.when.is_in", "one of water, oil"),
        ({"space": [CHOSEN, only("t", "oil")]}, "space.1.when.parameter", "does not come before"),
        (
            {"space": [CHOSEN, X], "fidelity": {"parameter": "s", "target": "milk"}},
            "fidelity.target",
            "one of water",
        ),
        ({"fidelity": {"parameter": "t", "target": 1}}, "fidelity.parameter", "no parameter of the space"),
        (steps(after=["bake"]), "steps.1.after", "not among the steps before it: make"),
        (steps(takes={"x": "bake.y"}), "steps.1.takes", "not among the steps"),
        (steps(name="make"), "steps.1.name", "named twice"),
        (steps(when={"parameter": "t", "is_in": [1]}), "steps.1.when.parameter", "no parameter of the space"),
        (steps(), "steps.0.arguments.latitude", "needed"),
        ({"title": ""}, "title", "needed"),
        ({"space": [{"type": "real", "name": "x", "low": "a", "high": 1}]}, "space.0.low", "number"),
        ({"space": [{"type": "real", "name": "x", "low": 2, "high": 1}]}, "space.0", "low < high"),
        ({"space": [{"type": "real", "name": "X", "low": 0, "high": 1}]}, "space.0.name", "lower-case"),
        ({"budget": {"trials": 0}}, "budget.trials", "above 0, not 0"),
        ({"objective": {"name": "y", "unit": "parsnip"}}, "objective.unit", "parsnip"),
        ({"approval": {"policy": "above"}}, "approval.above", "which amount"),
        ({"approval": {"policy": "first"}}, "approval.first", "how many"),
        ({"approval": {"policy": "each", "first": 3}}, "approval.first", "only"),
        ({"space": [X, X]}, "space.1.name", "named twice"),
        ({"further_objectives": [{"name": "y"}]}, "further_objectives.0.name", "named twice"),
        ({"arms": [{"name": "a"}, {"name": "a"}]}, "arms.1.name", "named twice"),
        ({"arms": [{"name": "a", "parameters": {"x": 9}}]}, "arms.0.parameters", "9"),
        ({"constraints": [{"type": "condition", "expression": "x < t"}]}, "constraints.0", "'t'"),
        ({"cost": {"money": "4 * t"}}, "cost.money", "none of: x, z"),
        ({"budget": {"trials": 9, "money": 100}}, "cost.money", "what one trial costs"),
        ({"budget": {"trials": 9, "currency": "euro"}}, "budget.currency", "three capital letters"),
        ({"executor": ""}, "executor", "choose one"),
        ({"executor": "pvlib", "executor_arguments": {"latitude": 89}}, "executor_arguments.latitude", "66"),
    ],
)
def test_each_fault_is_told_at_its_field(changes, place, word):
    found = faults(typed(**changes))
    assert place in where(found)
    assert word in next(fault["message"] for fault in found if fault["where"] == place)


def test_all_faults_of_settings_are_told_at_once():
    given = {"executor": "ase", "executor_arguments": {"host": "Fe", "cells": 0}}
    found = where(faults(typed(**given)))
    assert {f"executor_arguments.{name}" for name in ("host", "solute", "cells")} <= found


def test_what_is_wrong_with_a_whole_list_is_told_once_and_in_plain_words():
    def site(*turbidity):
        air = {"latitude": 40, "longitude": 0, "altitude_m": 0, "linke_turbidity": turbidity}
        [fault] = faults(typed(executor="pvlib", executor_arguments=air))
        assert fault["where"] == "executor_arguments.linke_turbidity"
        return fault["message"]

    assert site(2.5, 2.5) == "At least 12 are needed, not 2."
    assert site(*[20] * 12) == "It must be 12 or less, not 20."
    assert site(*range(13, 25)) == "It must be 12 or less, not 13, 14, 15 and 9 more."
    assert site(*["hazy"] * 12) == "A number is needed, not 'hazy'."


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "t" * 201},
        {"title": 5},
        {"space": []},
        {"space": [{"name": "x", "low": 0, "high": 1}]},
        {"space": [{**X, "type": "imaginary"}]},
        {"space": [{**X, "high": "five"}]},
        {"space": [{**X, "type": "integer", "high": 1.5}]},
        {"space": [{**CHOSEN, "choices": ["water"]}]},
        {"parallel": 0},
        {"parallel": "two"},
        {"seed": -1},
        {"batch": 3},
        {"groups": "solar"},
        {"approval": {"policy": "nobody"}},
        {"cost": {"beer": 1}},
    ],
)
def test_no_fault_speaks_of_what_checks_it(changes):
    [fault] = faults(typed(**changes))
    for word in ("Input", "String", "Tuple", "List", "Literal", "valid", "discriminator", "tag", "parse"):
        assert word not in fault["message"]


def test_a_rule_says_which_of_its_numbers_is_wrong():
    rule = {"type": "mean", "metric": "y", "at_least": 1, "unit": "degC", "confidence": 2}
    found = faults(typed(hypothesis={"statement": "s", "rule": rule}))
    assert where(found) == {"hypothesis.rule.confidence"}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"proposer": "nobody"}, "proposer"),
        ({"executor_arguments": {"broken": True}}, "executor_arguments"),
        ({"groups": ("fusion",)}, "groups"),
        ({"space": (Real("x", 0, 1), Real("z", 0, 1), Real("w", 0, 1))}, "space.2.name"),
        ({"space": (Real("x", 0, 1, unit="m"), Real("z", 0, 1))}, "space.0.unit"),
        ({"space": (Real("x", 0, 1),)}, "space"),
        ({"budget": Budget(trials=12, account="nobodys")}, "budget.account"),
    ],
)
def test_what_only_the_place_of_launch_can_refuse_is_told_at_its_field_too(experiments, changes, place):
    [fault] = preview(typed(**_plain(changes)), experiments.preview)["faults"]
    assert fault["where"] == place
    assert fault["message"]


def test_nothing_is_launched_by_looking(experiments, ledger):
    assert preview(typed(), experiments.preview)["faults"] == []
    assert ledger.read() == []


def test_the_cost_of_all_trials_is_told_and_what_ends_them(experiments):
    budget = Budget(trials=40, node_hours=10, money=1000, currency="EUR")
    cost = {"node_hours": 0.5, "money": 12}
    told = experiments.preview(specification(budget=budget, cost=cost))
    # Twenty trials of half an hour are all that ten node-hours have room for.
    assert (told["trials"], told["ends_by"], told["exact"]) == (20, "node_hours", True)
    assert told["amounts"]["node_hours"]["total"] == pytest.approx(10)
    assert told["amounts"]["money"]["total"] == pytest.approx(240)
    assert told["amounts"]["money"]["unit"] == "EUR"


def test_a_cost_that_depends_on_parameters_is_estimated_over_the_space(experiments):
    told = experiments.preview(specification(cost={"money": "100 * x"}, budget=Budget(trials=10, money=5000)))
    money = told["amounts"]["money"]
    assert not told["exact"]
    assert money["low"] < 10
    assert money["high"] > 90
    assert money["mean"] == pytest.approx(50, abs=10)
    assert money["total"] == pytest.approx(10 * money["mean"])


def test_a_budget_for_less_than_one_trial_is_a_fault_at_that_amount(experiments):
    spec = specification(cost={"money": "1000 * x"}, budget=Budget(trials=10, money=100))
    [fault] = experiments.preview(spec)["faults"]
    assert fault["where"] == "budget.money"
    assert "the whole budget is 100" in fault["message"]


@pytest.mark.parametrize(
    ("approval", "needed"),
    [
        (Approval("never"), 0),
        (Approval("each"), 12),
        (Approval("first", first=3), 3),
        (Approval("above", above={"money": 50}), 6),
    ],
)
def test_how_many_trials_wait_for_a_person(experiments, approval, needed):
    spec = specification(approval=approval, cost={"money": "100 * x"})
    told = experiments.preview(spec)["approvals"]
    assert told["needed"] == pytest.approx(needed, abs=2 if approval.above else 0)
    assert bool(told["why"]) == bool(needed)
    assert told["groups"] == ["solar"]  # whoever approves must see it


def test_a_form_can_be_made_of_what_is_offered():
    offered = choices(local_executors(), service=False)
    for name in ("executors", "proposers", "rules"):
        assert offered[name]
    by_name = {each["name"]: each for each in offered["executors"]}
    for each in by_name.values():
        assert each["about"] or each["refusal"]
        for unit in {**(each.get("parameters") or {}), **(each.get("outcomes") or {})}.values():
            check_unit(unit)
    # A name alone says nothing to who has not used it.
    assert by_name["pvlib"]["title"] == "A field of solar panels, simulated by pvlib"
    assert all(each["title"] for each in by_name.values() if not each["refusal"])
    assert "Twelve mid-month days" in by_name["pvlib"]["about"]
    assert by_name["pvlib"]["schema"]["properties"]["latitude"]["maximum"] == 66
    assert "no shell reads them" in by_name["job"]["schema"]["properties"]["command"]["description"]
    rules = {each["name"]: each["schema"] for each in offered["rules"]}
    assert rules["mean"]["properties"]["confidence"]["description"].startswith("0.95")
    # A function of a notebook's process cannot be chosen in a form, and it says why.
    there = {each["name"]: each for each in choices(local_executors(), service=True)["executors"]}
    assert "in code only" in there["function"]["refusal"]
    assert there["pvlib"]["refusal"] == ""


def test_slices_go_through_the_best_point_and_are_surest_there(experiments, ledger, bench):
    experiment = experiments.create(specification(proposer="gp", budget=Budget(trials=20)))
    state = run(ledger, experiment, bench)
    found = {each["parameter"]: each for each in slices(state)}
    assert set(found) == {"x", "z"}
    for name, summit in (("x", 0.4), ("z", 0.7)):
        line = found[name]
        assert line["at"][line["mean"].index(max(line["mean"]))] == pytest.approx(summit, abs=0.1)
        assert line["best"] == state.best.parameters[name]
        assert line["points"] == [20, 20]
        nearest = min(range(len(line["at"])), key=lambda place: abs(line["at"][place] - line["best"]))
        assert line["deviation"][nearest] <= max(line["deviation"])


def test_slices_of_whole_numbers_and_names_and_of_too_little(experiments, ledger, bench):
    bench.parameters = {"x": "", "n": "", "kind": ""}
    bench.measure = lambda number, at: {"y": (at["x"] + at["n"] + (at["kind"] == "b"), "degC", 0.01)}
    space = (Real("x", 0, 1), Integer("n", 1, 5), Categorical("kind", ("a", "b")))
    experiment = experiments.create(specification(space=space, budget=Budget(trials=12)))
    assert slices(experiments.state(experiment)) == []
    found = {each["parameter"]: each for each in slices(run(ledger, experiment, bench))}
    assert found["n"]["at"] == [1, 2, 3, 4, 5]
    assert found["kind"]["at"] == ["a", "b"]


def test_what_is_under_way_says_where_it_stands(experiments, ledger, bench):
    bench.slow = True
    bench.standing = lambda key: type("Where", (), {"words": "place 3", "laboratory": ""})()
    experiment = experiments.create(specification(parallel=2))
    loop.advance(ledger, experiment, None, {"bench": bench})
    found = experiments.queue(experiment)
    assert [(each["trial"], each["state"], each["words"]) for each in found] == [
        (1, "started", "place 3"),
        (2, "started", "place 3"),
    ]


def test_what_an_executor_does_not_take_for_now_is_told(experiments, ledger, bench, monkeypatch):
    bench.slow = True
    bench.standing = lambda key: Standing("there is no room in the queue" if key not in bench.ran else "")

    def submit_all(requests):
        bench.submit(requests[0].key, requests[0].parameters, {})
        return {each.key: None for each in requests[1:]}

    bench.submit_all = submit_all
    experiment = experiments.create(specification(parallel=30, budget=Budget(trials=30)))
    loop.advance(ledger, experiment, None, {"bench": bench})
    assert len(experiments.queue(experiment)) == 1  # the others have been proposed just now
    monkeypatch.setattr(people, "_LATE_S", 0.0)
    found = experiments.queue(experiment)
    assert (found[0]["state"], found[0]["words"]) == ("started", "")
    told = {(each["state"], each["words"]) for each in found[1:21]}
    assert told == {("proposed", "there is no room in the queue")}
    assert found[21:] == [{"words": "9 more that have not begun"}]
    experiments.command(experiment, "pause")
    assert len(experiments.queue(experiment)) == 1  # nothing is late that a person holds back


def _plain(changes):
    made = specification()
    spec = made.model_copy(update=changes)
    return {name: spec.model_dump(mode="json")[name] for name in changes}
