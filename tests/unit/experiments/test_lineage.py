"""Experiments made from earlier ones, and several side by side."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments import (
    Arm,
    Budget,
    Categorical,
    Objective,
    Real,
    Run,
    When,
    compare,
    loop,
    notebook,
    store,
)
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.executors.function import FunctionExecutor
from genesis_workbench.experiments.lineage import compared
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import CAROL, run, specification


@pytest.fixture
def at_home(monkeypatch, experiments):
    monkeypatch.setattr(notebook, "store", lambda: experiments)
    return experiments


def done(ledger, experiments, bench, **changes):
    experiment = experiments.create(specification(**changes))
    run(ledger, experiment, bench)
    return Run(experiment, experiments)


def test_a_fork_has_what_was_changed_and_says_where_it_comes_from(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench)
    fork = earlier.fork(title="finer", seed=7, budget=Budget(trials=3)).launch()
    state = run(ledger, fork.id, bench)
    assert (state.spec.title, state.spec.seed, len(state.trials)) == ("finer", 7, 3)
    assert state.spec.space == earlier.state().spec.space
    assert state.spec.origin.experiment == earlier.id
    assert state.spec.origin.head == ledger.read(stream=stream(earlier.id))[-1].hash
    assert state.trials[0].parameters != earlier.state().trials[0].parameters
    with pytest.raises(InvalidInput, match="has no 'colour'"):
        earlier.fork(colour="red")
    with pytest.raises(InvalidInput, match="cannot be used"):
        earlier.fork(parallel=0)


@pytest.mark.parametrize("changes", [{}, {"repeats": 2}, {"arms": (Arm("control", every=3),)}])
def test_a_replay_runs_the_same_points_again(ledger, at_home, bench, changes):
    earlier = done(ledger, at_home, bench, proposer="gp", **changes)
    again = earlier.replay().launch()
    state = run(ledger, again.id, bench)
    assert [t.parameters for t in state.trials] == [t.parameters for t in earlier.state().trials]
    assert [t.arm for t in state.trials] == [t.arm for t in earlier.state().trials]
    assert state.spec.origin.how == "replay"
    assert verify_in(ledger, again.id).ok
    assert {t.key for t in state.trials}.isdisjoint(t.key for t in earlier.state().trials)


def test_the_decision_is_computed_again_also_under_another_hypothesis(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench)
    assert earlier.decide_again() == earlier.finding()
    rule = specification().hypothesis.rule.model_copy(update={"at_least": 2.0})
    other = specification().hypothesis.model_copy(update={"rule": rule})
    assert earlier.decide_again(other)["decision"] == "not supported"
    assert earlier.finding()["decision"] == "supported"
    assert ledger.read(stream=stream(earlier.id), kinds=["hypothesis.changed"]) == []


def test_a_warm_start_learns_from_earlier_trials_and_keeps_where_they_come_from(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench, proposer="sobol", budget=Budget(trials=30))
    experiment = at_home.create(
        specification(proposer="gp", parallel=1, budget=Budget(trials=6), warm_start=(earlier.id,))
    )
    state = run(ledger, experiment, bench)
    # It needs no points to begin with: its first is better than nearly all that were tried before.
    best = sorted((t.values["y"]["value"] for t in earlier.state().observed), reverse=True)
    assert state.trials[0].values["y"]["value"] >= best[2]
    assert state.imports == [
        {
            "experiment": earlier.id,
            "title": "t",
            "head": ledger.read(stream=stream(earlier.id))[-1].hash,
            "simulated": True,
        }
    ]
    # What was learned from counts for nothing else.
    assert state.finding["evidence"]["observed"] == 6
    assert len(state.trials) == 6
    assert verify_in(ledger, experiment).ok
    events = list(ledger.all(stream=stream(experiment)))
    assert len(fold(events).earlier) == 30


@pytest.mark.parametrize(
    ("was", "left_out"), [(When("c", ["a"]), set()), (None, {"b"}), (When("c", ["b"]), {"a", "b"})]
)
def test_a_warm_start_takes_the_trials_that_have_what_is_active_in_the_new_space(
    ledger, at_home, bench, was, left_out
):
    bench.parameters, bench.optional = {"c": "", "x": "", "z": ""}, {"z"}
    bench.measure = lambda _number, given: {"y": (given["x"], "degC", None)}

    def space(when):
        return (Categorical("c", ["a", "b"]), Real("x", 0, 1), Real("z", 0, 1, when=when))

    earlier = done(ledger, at_home, bench, space=space(was), budget=Budget(trials=12))
    fork = earlier.fork(
        warm_start=[earlier],
        space=space(When("c", ["a"])),
        proposer="gp",
        parallel=1,
        budget=Budget(trials=3),
    )
    if left_out == {"a", "b"}:
        with pytest.raises(InvalidInput, match=r"Nothing can be learned.*where they are active here"):
            fork.launch()
        return
    experiment = fork.launch().id
    state = run(ledger, experiment, bench)
    wanted = [t.parameters for t in earlier.state().observed if t.parameters["c"] not in left_out]
    assert [each.parameters for each in state.earlier] == wanted
    [imported] = ledger.read(stream=stream(experiment), kinds=["trials.imported"])
    assert imported.body["left_out"] == 12 - len(wanted)
    assert {trial.proposer for trial in state.trials} == {"gp"}


def test_what_cannot_be_learned_from_is_refused(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench, groups=())
    with pytest.raises(NotFound):
        store.LedgerExperiments(ledger, CAROL).create(specification(groups=(), warm_start=(earlier.id,)))
    far = (Real("x", 5, 6), Real("z", 0, 1))
    with pytest.raises(InvalidInput, match="Nothing can be learned"):
        at_home.create(specification(space=far, warm_start=(earlier.id,)))
    bench.parameters = {"x": "m", "z": ""}
    with pytest.raises(InvalidInput, match="gives x in no unit, this experiment in m"):
        at_home.create(
            specification(space=(Real("x", 0, 1, unit="m"), Real("z", 0, 1)), warm_start=(earlier.id,))
        )
    assert ledger.read(prefix="experiment/", kinds=["experiment.created"])[-1].stream == stream(earlier.id)


def test_experiments_side_by_side(ledger, at_home, bench):
    one = done(ledger, at_home, bench, proposer="sobol")
    two = done(ledger, at_home, bench, proposer="random", seed=3, objective=Objective("y", "kelvin"))
    going = at_home.create(specification())
    loop.advance(ledger, going, None, {"bench": bench})
    rows = compared([run.state() for run in (one, two)])
    assert set(rows[0]["differs"]) == {"proposer", "seed", "objective"}
    assert rows[1]["best"]["unit"] == "degC"
    assert rows[1]["best"]["value"] < 1.01
    table = compare(one, two.id, going)
    assert list(table["decision"])[:2] == ["supported", "supported"]
    assert table["decision"].isna().tolist() == [False, False, True]
    assert list(table["differs: proposer"]) == ["sobol", "random", "sobol"]
    assert list(table["observed"]) == [12, 12, 0]


def test_a_fork_takes_what_an_experiment_takes(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench)
    bench.parameters, bench.outcomes = {"x": "", "z": ""}, {"y": "degC", "mass": "g"}
    fork = earlier.fork(
        constraints=["x + z < 1"],
        objective=[Objective("y", "degC"), Objective("mass", "g")],
        warm_start=[earlier],
        datasets=["d"],
    )
    assert fork.spec.constraints[0].expression == "x + z < 1"
    assert [each.name for each in fork.spec.objectives] == ["y", "mass"]
    assert fork.spec.warm_start == (earlier.id,)
    assert fork.spec.dataset_references == ("d",)
    # The same without the second objective, which `objective` alone does not take away.
    assert [each.name for each in earlier.fork(objective=[Objective("y", "degC")]).spec.objectives] == ["y"]


def test_a_fork_calls_a_function_that_is_checked_as_in_an_experiment(
    ledger, at_home, bench, monkeypatch, tmp_path
):
    place = Place(Site(name="test"), State(tmp_path))
    earlier = done(ledger, at_home, bench)
    first = earlier.fork(executor=lambda x, z: {"y": x, "mass": z}, budget=Budget(trials=2))
    assert first.spec.executor == "function"
    assert first.spec.executor_arguments["outcomes"] == {"y": "degC"}
    with pytest.raises(InvalidInput, match="cannot be called with x, z"):
        earlier.fork(executor=lambda rate: rate)
    assert first.spec.origin.experiment == earlier.id
    # A fork of that one calls the same function, and asks it for what is new.
    executors = {"bench": bench, "function": FunctionExecutor(place)}
    monkeypatch.setattr(store, "local_executors", lambda: executors)
    run = first.launch()
    second = run.fork(objective=[Objective("y", "degC"), Objective("mass", "g")]).launch()
    second.wait(timeout_s=60)
    found = second.state().trials[0].values
    assert {name: each["unit"] for name, each in found.items()} == {"y": "degC", "mass": "g"}
    third = run.fork(executor=lambda x, z: x, executor_arguments={"simulated": False})
    assert third.spec.executor_arguments["simulated"] is False
    fourth = third.launch().fork(executor=lambda x, z: z)
    assert fourth.spec.executor_arguments["simulated"] is False
    again = second.replay()
    assert again.spec.executor_arguments == second.state().spec.executor_arguments


def test_a_warm_start_from_another_quantity_is_refused_and_from_another_unit_is_not(ledger, at_home, bench):
    earlier = done(ledger, at_home, bench)

    def wanted(unit):
        bench.outcomes = {"y": unit}
        rule = specification().hypothesis.rule.model_copy(update={"unit": unit})
        hypothesis = specification().hypothesis.model_copy(update={"rule": rule})
        return specification(objective=Objective("y", unit), hypothesis=hypothesis, warm_start=(earlier.id,))

    with pytest.raises(InvalidInput, match=r"observed y in degC, this experiment wants it in g.*warm_start"):
        at_home.create(wanted("g"))
    at_home.create(wanted("kelvin"))


def test_columns_of_a_table_keep_the_names_of_parameters(ledger, at_home, bench):
    space = (Real("state", 0, 1), Real("y", 0, 1), Real("trial", 0, 1))
    bench.parameters = {each.name: "" for each in space}
    bench.measure = lambda number, given: {"y": (float(number), "degC", None)}
    table = done(ledger, at_home, bench, space=space, budget=Budget(trials=2)).trials()
    assert table.reset_index()["trial_number"].tolist() == [1, 2]
    assert table["trial_state"].tolist() == ["observed"] * 2
    assert sorted(table["outcome_y"]) == [1.0, 2.0]
    assert all(0 <= value <= 1 for name in ("state", "y", "trial") for value in table[name])
