"""Trials of several steps, fidelities, and outcomes that nobody can know."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, PermissionRefused, Unavailable
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import (
    Approval,
    Budget,
    Categorical,
    Cost,
    Fidelity,
    Hypothesis,
    Objective,
    Real,
    Step,
    Threshold,
    When,
    loop,
    store,
)
from genesis_workbench.experiments.executors._base import Failure, Observation, Unknown
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import ALICE, BOB, Bench


class Machine(Bench):
    """An executor of one step; what it gives is `law` of what it takes."""

    def __init__(self, parameters, outcomes, law, *, laboratory=False):
        super().__init__()
        self.parameters, self.outcomes, self.law = parameters, outcomes, law
        self.laboratory, self.simulated = laboratory, not laboratory
        self.answers = {}

    def observe(self, key):
        if self.slow:
            return None
        if key in self.answers:
            return self.answers[key]
        values = self.law(self.ran[key][0])
        return Observation({name: (values[name], unit, None) for name, unit in self.outcomes.items()})


@pytest.fixture
def shop():
    return {
        "oven": Machine({"temperature": "degC"}, {"mass": "g"}, lambda p: {"mass": p["temperature"] / 10}),
        "scale": Machine({"sample": "kg"}, {"density": ""}, lambda p: {"density": p["sample"] * 100}),
        "sums": Machine(
            {"density": "", "speed": ""}, {"score": ""}, lambda p: {"score": p["density"] * p["speed"]}
        ),
    }


STEPS = (
    Step("make", "oven", cost={"samples": 1, "instrument_minutes": "temperature / 10"}),
    Step("measure", "scale", takes={"sample": "make.mass"}, cost={"instrument_minutes": 2}),
    Step("compute", "sums", after=("measure",)),
)


def described(**changes):
    from genesis_workbench.experiments.spec import ExperimentSpec

    fields = {
        "title": "make, measure, compute",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="score", at_least=1.0)),
        "space": (Real("temperature", 100, 200, unit="degC"), Real("speed", 0, 1)),
        "objective": Objective("score"),
        "steps": STEPS,
        "budget": Budget(trials=3),
        "proposer": "sobol",
        "groups": ("solar",),
    }
    return ExperimentSpec(**{**fields, **changes})


@pytest.fixture
def mine(ledger, shop):
    return store.LedgerExperiments(ledger, ALICE, executors=shop)


def to_the_end(ledger, experiment, executors):
    for _ in range(100):
        state = loop.advance(ledger, experiment, None, executors)
        if state.state == "ended":
            return state
    raise AssertionError("it did not end")


def test_outcomes_flow_from_step_to_step_in_the_units_that_are_needed(ledger, mine, shop):
    experiment = mine.create(described())
    state = to_the_end(ledger, experiment, shop)
    for trial in state.observed:
        mass = trial.parameters["temperature"] / 10
        density = mass / 1000 * 100  # g to kg
        assert trial.values["mass"] == {"value": pytest.approx(mass), "unit": "g"}
        assert trial.values["score"]["value"] == pytest.approx(density * trial.parameters["speed"])
    assert [len(each.ran) for each in shop.values()] == [3, 3, 3]
    keys = {key for each in shop.values() for key in each.ran}
    assert len(keys) == 9
    planned = sum(1 * trial.parameters["temperature"] / 10 + 2 for trial in state.trials)
    assert state.spending.spent["instrument_minutes"] == pytest.approx(planned)
    assert verify_in(ledger, experiment).ok


def test_a_step_starts_when_those_before_it_are_done_and_a_failing_one_fails_the_trial(ledger, mine, shop):
    shop["oven"].slow = True
    experiment = mine.create(described(budget=Budget(trials=1, samples=5), parallel=1))
    loop.advance(ledger, experiment, None, shop)
    loop.advance(ledger, experiment, None, shop)
    assert (len(shop["oven"].ran), len(shop["scale"].ran)) == (1, 0)
    shop["oven"].slow = False
    shop["scale"].slow = True
    loop.advance(ledger, experiment, None, shop)
    key = next(iter(shop["scale"].ran))
    shop["scale"].answers[key] = Failure("the scale fell over")
    shop["scale"].slow = False
    state = to_the_end(ledger, experiment, shop)
    assert state.trials[0].reason == "The step 'measure': the scale fell over"
    assert shop["sums"].ran == {}
    # Made and measured was paid for; computing was not begun.
    assert state.spending.spent["samples"] == 1


def test_a_kill_after_any_write_of_any_step_repeats_nothing(ledger, mine, shop, monkeypatch):
    class Killed(BaseException):
        pass

    undisturbed = to_the_end(ledger, mine.create(described()), shop)
    for each in shop.values():
        each.ran.clear()
    experiment = mine.create(described())
    append, died = Ledger.append_many, {"at": 0, "count": 0}

    def append_then_die(self, new, *, lease=None):
        events = append(self, new, lease=lease)
        died["count"] += 1
        if died["count"] > died["at"]:
            died["at"], died["count"] = died["at"] + 1, 0
            raise Killed
        return events

    monkeypatch.setattr(Ledger, "append_many", append_then_die)
    kills = 0
    for _ in range(300):
        try:
            if loop.advance(ledger, experiment, None, shop).state == "ended":
                break
        except Killed:
            kills += 1
    state = fold(ledger.all(stream=stream(experiment)))
    assert kills > 3
    assert [len(each.ran) for each in shop.values()] == [3, 3, 3]
    assert [trial.values for trial in state.trials] == [trial.values for trial in undisturbed.trials]
    monkeypatch.undo()
    assert verify_in(ledger, experiment).ok


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": (STEPS[0], STEPS[0])}, "named twice"),
        ({"steps": (Step("a", "oven", after=("b",)), Step("b", "scale"))}, "comes after 'b'"),
        ({"executor": "oven"}, "either an executor or steps"),
        ({"steps": ()}, "either an executor or steps"),
        ({"executor_arguments": {"a": 1}}, "its own arguments"),
        ({"cost": {"samples": 1}}, "planned for the whole trial and for the step"),
        ({"steps": (Step("a", "oven", takes={"temperature": "q"}),)}, "names 'q'"),
        ({"fidelity": Fidelity("q", "x")}, "no parameter of the space"),
        ({"fidelity": Fidelity("speed", 7)}, "must be between"),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        described(**changes)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            (*STEPS[:1], Step("measure", "scale", takes={"sample": "make.weight"}), STEPS[2]),
            "'make' does not observe",
        ),
        (
            (*STEPS[:1], Step("measure", "scale", takes={"grain": "make.mass"}), STEPS[2]),
            "no parameter 'grain'",
        ),
        ((*STEPS[:1], Step("measure", "scale"), STEPS[2]), "leaves out 'sample'"),
        (STEPS[:2], "no parameter 'speed'"),
    ],
)
def test_steps_that_do_not_fit_their_executors_are_refused(mine, steps, words):
    with pytest.raises(InvalidInput, match=words):
        mine.create(described(steps=steps))


def fidelities(**changes):
    """A cheap simulation and a dear laboratory, chosen by a parameter."""
    return described(
        **{
            "space": (Real("x", 0, 1), Categorical("source", ["simulation", "laboratory"])),
            "objective": Objective("strength", "MPa"),
            "hypothesis": Hypothesis(
                statement="s", rule=Threshold(metric="strength", at_least=0.1, unit="MPa")
            ),
            "steps": (
                Step("simulate", "model", cost={"money": 1}, when=When("source", ["simulation"])),
                Step("test", "press", cost={"money": 50}, when=When("source", ["laboratory"])),
            ),
            "fidelity": Fidelity("source", "laboratory"),
            "budget": Budget(trials=8, money=200),
            "parallel": 1,
            **changes,
        }
    )


def test_the_real_thing_decides_and_the_cheap_simulation_is_there_to_learn_from(ledger):
    shop = {
        "model": Machine({"x": ""}, {"strength": "MPa"}, lambda p: {"strength": 10 + p["x"]}),
        "press": Machine({"x": ""}, {"strength": "MPa"}, lambda p: {"strength": p["x"]}, laboratory=True),
    }
    mine = store.LedgerExperiments(ledger, ALICE, executors=shop)
    experiment = mine.create(fidelities(approval=Approval("never")))
    state = to_the_end(ledger, experiment, shop)
    real = [trial for trial in state.observed if trial.parameters["source"] == "laboratory"]
    assert 0 < len(real) < len(state.observed)
    assert state.best.trials[0] in real
    assert state.best.mean("strength", "MPa") < 5
    assert set(state.finding["evidence"]["reaching"]) <= {trial.number for trial in real}
    assert state.spending.spent["money"] == 50 * len(real) + (len(state.observed) - len(real))
    assert state.spending.spent["money"] <= 200
    # Only the trials in the laboratory wait for approval.
    waits = store.LedgerExperiments(ledger, ALICE, executors=shop)
    experiment = waits.create(fidelities(parallel=8))
    for _ in range(3):
        state = loop.advance(ledger, experiment, None, shop)
    assert {trial.parameters["source"] for trial in state.trials if trial.state == "waiting"} == {
        "laboratory"
    }
    assert {trial.parameters["source"] for trial in state.observed} == {"simulation"}


def test_what_nobody_can_know_waits_for_a_person_and_is_never_run_again_by_itself(ledger, mine, shop):
    oven = shop["oven"]
    oven.observe = lambda _key: Unknown("the power went while the furnace was on")
    experiment = mine.create(described(budget=Budget(trials=1), parallel=1))
    for _ in range(5):
        state = loop.advance(ledger, experiment, None, shop)
    assert [list(map(len, oven.ran.values())), state.state] == [[1], "running"]
    asked = mine.pending(experiment)
    assert [(each["for"], each["step"]) for each in asked] == [("resolution", "make")]
    assert "the power went" in asked[0]["why"]
    with pytest.raises(PermissionRefused, match="Only alice"):
        store.LedgerExperiments(ledger, BOB, executors=shop).say(experiment, 1, "failed", reason="r")
    with pytest.raises(InvalidInput, match="Say why"):
        mine.say(experiment, 1, "failed")
    with pytest.raises(InvalidInput, match="cannot be given in g"):
        mine.say(experiment, 1, "observed", values={"mass": (3, "m")})
    mine.say(experiment, 1, "observed", values={"mass": (0.0123, "kg")})
    state = to_the_end(ledger, experiment, shop)
    assert state.trials[0].values["mass"] == {"value": 0.0123, "unit": "kg"}
    assert state.trials[0].values["density"]["value"] == pytest.approx(1.23)
    told = ledger.read(stream=stream(experiment), kinds=["step.observed"])[0]
    assert told.body["by"] == "alice"
    assert verify_in(ledger, experiment).ok


def test_run_again_is_another_execution_under_another_key(ledger, mine, shop):
    oven = shop["oven"]
    normal = oven.observe
    oven.observe = lambda _key: Unknown("no answer")
    experiment = mine.create(described(budget=Budget(trials=2), parallel=2))
    for _ in range(2):
        loop.advance(ledger, experiment, None, shop)
    mine.say(experiment, 1, "again")
    mine.say(experiment, 2, "failed", reason="the sample is burnt")
    oven.observe = normal
    state = to_the_end(ledger, experiment, shop)
    assert [trial.state for trial in state.trials] == ["observed", "failed"]
    assert "alice says: the sample is burnt" in state.trials[1].reason
    assert len(oven.ran) == 3
    assert all(len(calls) == 1 for calls in oven.ran.values())
    assert verify_in(ledger, experiment).ok


def test_an_executor_that_is_away_is_asked_again_later(ledger, experiments, bench):
    from unit.experiments.bench import run, specification

    def away(*_):
        raise Unavailable("the gateway does not answer")

    submit, observe = bench.submit, bench.observe
    bench.submit = away
    experiment = experiments.create(specification(budget=Budget(trials=2)))
    for _ in range(3):
        state = loop.advance(ledger, experiment, None, {"bench": bench})
    assert [trial.state for trial in state.trials] == ["proposed", "proposed"]
    bench.submit, bench.observe = submit, away
    for _ in range(3):
        state = loop.advance(ledger, experiment, None, {"bench": bench})
    assert [trial.state for trial in state.trials] == ["started", "started"]
    bench.observe = observe
    assert len(run(ledger, experiment, bench).observed) == 2
    assert all(len(calls) == 1 for calls in bench.ran.values())


def test_a_measured_cost_of_a_step_counts_instead_of_what_was_planned(ledger, mine, shop):
    shop["scale"].outcomes["minutes"] = "minute"
    shop["scale"].law = lambda p: {"density": p["sample"], "minutes": 7.0}
    steps = (
        STEPS[0],
        Step(
            "measure",
            "scale",
            takes={"sample": "make.mass"},
            cost={"instrument_minutes": Cost(30, actual="minutes")},
        ),
        STEPS[2],
    )
    experiment = mine.create(
        described(steps=steps, budget=Budget(trials=2, instrument_minutes=150), parallel=1)
    )
    state = to_the_end(ledger, experiment, shop)
    made = sum(trial.parameters["temperature"] / 10 for trial in state.trials)
    assert state.spending.spent["instrument_minutes"] == pytest.approx(made + 7.0 * len(state.trials))


def test_what_waits_for_nobody_cannot_be_entered(ledger, mine, shop):
    shop["oven"].slow = True
    experiment = mine.create(described(budget=Budget(trials=1)))
    loop.advance(ledger, experiment, None, shop)
    with pytest.raises(Conflict, match="waits for nobody's word"):
        mine.say(experiment, 1, "observed", step="make", values={"mass": 1})
