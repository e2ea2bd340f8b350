"""What an experiment was told at its launch need not stay so: devices become real, gateways hang, things are run again."""

from __future__ import annotations

import dataclasses
import json

import pytest

from genesis_workbench.core import clock
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.experiments import Approval, Budget, loop, store
from genesis_workbench.experiments.checking import APPROVE
from genesis_workbench.experiments.effects import Hands, Turn
from genesis_workbench.experiments.executors._base import Unknown
from genesis_workbench.experiments.folding import state_of, to_plain
from genesis_workbench.experiments.planning import plan
from genesis_workbench.experiments.showing import Finding
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify, verify_in
from unit.experiments.bench import ALICE, run, specification
from unit.experiments.test_steps import Machine, described

ERIN = Person("erin", groups=frozenset({"solar"}), scopes=frozenset({APPROVE}))


@pytest.fixture
def erin(ledger, bench):
    return store.LedgerExperiments(ledger, ERIN, service=True, executors={"bench": bench})


def become_real(bench):
    bench.laboratory, bench.simulated = True, False


def test_once_a_device_is_real_each_trial_is_asked_for(ledger, experiments, erin, bench):
    experiment = experiments.create(specification(budget=Budget(trials=3), parallel=1))

    def advance():
        return loop.advance(ledger, experiment, None, {"bench": bench})

    advance()
    assert [trial.state for trial in advance().trials] == ["observed", "started"]
    become_real(bench)
    for _ in range(4):
        known = advance()
    assert [trial.state for trial in known.trials] == ["observed", "observed", "waiting"]
    assert len(bench.ran) == 2
    assert "touches the laboratory" in erin.pending(experiment)[0]["why"]
    erin.approve(experiment, 3)
    ended = run(ledger, experiment, bench)
    assert len(ended.observed) == 3
    assert [trial.simulated for trial in ended.trials] == [True, False, False]
    # One outcome that counts was simulated: the finding says so, and how many.
    assert ended.finding["simulated"] is True
    assert ended.finding["evidence"]["simulated"] == 1
    assert "1 of 3 observations are computed" in Finding(ended.finding)._repr_html_()
    assert verify_in(ledger, experiment).ok


def test_a_device_that_becomes_real_between_proposal_and_start_is_asked_for_too(ledger, experiments, bench):
    experiment = experiments.create(specification(budget=Budget(trials=2), parallel=2))
    submit = bench.submit

    def away(*_):
        raise Unavailable("the gateway is away")

    bench.submit = away
    loop.advance(ledger, experiment, None, {"bench": bench})
    bench.submit = submit
    become_real(bench)
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    assert [trial.state for trial in known.trials] == ["waiting", "waiting"]
    assert bench.ran == {}
    # It is the same after a restart.
    events = list(ledger.all(stream=stream(experiment)))
    assert [trial.state for trial in fold(events).trials] == ["waiting", "waiting"]


def test_an_approval_of_a_simulation_is_none_of_the_real_thing(ledger, experiments, erin, bench):
    spec = specification(budget=Budget(trials=2), parallel=1, approval=Approval("each"))
    experiment = experiments.create(spec)
    loop.advance(ledger, experiment, None, {"bench": bench})
    erin.approve(experiment, 1)
    become_real(bench)
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    assert known.trials[0].state == "waiting"
    assert bench.ran == {}
    erin.approve(experiment, 1)
    loop.advance(ledger, experiment, None, {"bench": bench})
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    assert known.trials[0].state == "observed"
    assert verify_in(ledger, experiment).ok


def test_an_approval_of_the_real_thing_is_none_of_a_simulation(ledger, experiments, erin, bench):
    become_real(bench)
    experiment = experiments.create(specification(budget=Budget(trials=2), parallel=2))

    def advance():
        return loop.advance(ledger, experiment, None, {"bench": bench})

    advance()
    erin.approve(experiment, 1)
    bench.laboratory, bench.simulated = False, True
    known = advance()
    assert [trial.state for trial in known.trials] == ["waiting", "waiting"]
    assert bench.ran == {}
    # Both are asked for as what they are now, also the one that had not been approved yet.
    assert [each["why"] for each in erin.pending(experiment)] == [
        "Devices that were real are simulated now (run)."
    ] * 2
    for number in (1, 2):
        erin.approve(experiment, number)
    ended = run(ledger, experiment, bench)
    assert [trial.simulated for trial in ended.trials] == [True, True]
    assert ended.finding["simulated"] is ended.summary()["simulated"] is True
    assert verify_in(ledger, experiment).ok
    assert state_of(to_plain(ended)) == ended


def test_devices_that_are_real_again_are_asked_for_again(ledger, experiments, erin, bench):
    become_real(bench)
    experiment = experiments.create(specification(budget=Budget(trials=1), parallel=1))

    def approved(laboratory):
        bench.laboratory, bench.simulated = laboratory, not laboratory
        erin.approve(experiment, 1)
        return loop.advance(ledger, experiment, None, {"bench": bench}).trials[0].state

    loop.advance(ledger, experiment, None, {"bench": bench})
    assert approved(laboratory=False) == approved(laboratory=True) == "waiting"
    assert "touches the laboratory" in erin.pending(experiment)[0]["why"]
    assert bench.ran == {}
    assert approved(laboratory=True) == "started"
    assert run(ledger, experiment, bench).finding["simulated"] is False
    assert verify_in(ledger, experiment).ok


@pytest.mark.parametrize("real", [True, False])
def test_an_outcome_is_told_as_what_it_came_from_and_not_as_what_is_there_now(
    ledger, experiments, erin, bench, real
):
    bench.laboratory, bench.simulated = real, not real
    experiment = experiments.create(specification(budget=Budget(trials=1), parallel=1))
    loop.advance(ledger, experiment, None, {"bench": bench})
    if real:
        erin.approve(experiment, 1)
        loop.advance(ledger, experiment, None, {"bench": bench})
    observe = bench.observe
    bench.observe = lambda key: dataclasses.replace(observe(key), simulated=not real)
    bench.laboratory, bench.simulated = not real, real
    ended = run(ledger, experiment, bench)
    assert [ended.trials[0].simulated, ended.finding["simulated"]] == [not real] * 2
    assert verify_in(ledger, experiment).ok


def test_a_finding_of_before_is_no_fault_where_trials_were_of_both_kinds(ledger, experiments, bench):
    experiment = experiments.create(specification(budget=Budget(trials=2), parallel=1))
    for _ in range(2):
        loop.advance(ledger, experiment, None, {"bench": bench})
    become_real(bench)
    assert [trial.simulated for trial in run(ledger, experiment, bench).trials] == [True, False]
    events = list(ledger.all(stream=stream(experiment)))
    made = next(place for place, event in enumerate(events) if event.kind == "finding.made")
    body = json.loads(json.dumps(events[made].body))
    body["simulated"] = False
    events[made] = dataclasses.replace(events[made], body=body)
    assert "simulated is True, not False" in repr(verify(events))
    del body["evidence"]["simulated"]
    assert next(check for check in verify(events).checks if check.name == "decision").state == "holds"


def test_an_approval_that_expires_while_an_executor_is_away_is_asked_for_again(
    ledger, experiments, erin, bench, monkeypatch
):
    become_real(bench)
    experiment = experiments.create(specification(budget=Budget(trials=1), parallel=1))
    submitted = []

    def away(_requests):
        raise Unavailable("the gateway is away")

    def submit_all(requests):
        submitted.extend(requests)
        for each in requests:
            bench.submit(each.key, each.parameters, each.arguments)
        return {}

    bench.submit_all = away
    loop.advance(ledger, experiment, None, {"bench": bench})
    erin.approve(experiment, 1)
    expires = loop.advance(ledger, experiment, None, {"bench": bench}).trials[0].approval["expires"]
    bench.submit_all = submit_all
    monkeypatch.setattr(clock, "now", lambda: expires)
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    assert (known.trials[0].state, bench.ran) == ("waiting", {})
    monkeypatch.undo()
    erin.approve(experiment, 1)
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    # The executor is told until when it may begin.
    assert [each.approved_until for each in submitted] == [known.trials[0].approval["expires"]]
    assert run(ledger, experiment, bench).trials[0].state == "observed"
    assert verify_in(ledger, experiment).ok


def test_an_executor_that_takes_a_few_at_a_time_gets_the_others_later(ledger, experiments, bench):
    experiment = experiments.create(specification(budget=Budget(trials=10), parallel=10))
    asked = []

    def submit_all(requests):
        asked.append(len(requests))
        for each in requests[:4]:
            bench.submit(each.key, each.parameters, each.arguments)
        return {each.key: None for each in requests[4:]}

    bench.submit_all, bench.slow = submit_all, True
    known = loop.advance(ledger, experiment, None, {"bench": bench})
    assert [trial.executions[0][1].state for trial in known.trials].count("started") == 4
    bench.slow = False  # those that were taken go on although others are not taken yet
    known = run(ledger, experiment, bench)
    assert asked == [10, 6, 2]
    assert (len(known.observed), [len(each) for each in bench.ran.values()]) == (10, [1] * 10)


def test_one_experiments_many_trials_do_not_keep_out_anothers_few(ledger, experiments, bench):
    many = experiments.create(specification(budget=Budget(trials=50), parallel=50))
    few = experiments.create(specification(budget=Budget(trials=2), parallel=2))

    def submit_all(requests):
        for each in requests[:4]:
            bench.submit(each.key, each.parameters, each.arguments)
        return {each.key: None for each in requests[4:]}

    bench.submit_all, bench.slow = submit_all, True
    states = [fold(ledger.all(stream=stream(each))) for each in (many, few)]
    hands = Hands(ledger, {"bench": bench}, plan)
    hands.run([Turn(loop.turn(state, {"bench": bench})) for state in states])
    assert [sum(trial.state == "started" for trial in state.trials) for state in states] == [2, 2]


def test_a_start_that_nobody_approved_after_the_change_is_found(ledger, experiments, erin, bench):
    experiment = experiments.create(specification(budget=Budget(trials=1), parallel=1))
    loop.advance(ledger, experiment, None, {"bench": bench})
    events = list(ledger.all(stream=stream(experiment)))
    started = next(place for place, event in enumerate(events) if event.kind == "trial.started")
    body = {"laboratory": ["run"], "simulated": False}
    forged = dataclasses.replace(events[started], kind="laboratory.changed", body=body)
    report = verify([*events[:started], forged, *events[started:]])
    assert "nobody had approved it" in repr(report)


def test_to_run_again_is_paid_for(ledger, experiments, bench):
    spec = specification(
        budget=Budget(trials=3, samples=3, money=30), cost={"samples": 1, "money": 10}, parallel=1
    )
    experiment = experiments.create(spec)
    observe, bench.observe = bench.observe, lambda _key: Unknown("the power went")
    for _ in range(2):
        loop.advance(ledger, experiment, None, {"bench": bench})
    experiments.say(experiment, 1, "again")
    bench.observe = observe
    ended = run(ledger, experiment, bench)
    assert len(bench.ran) == 3
    assert ended.spending.spent == {"samples": 3.0, "money": 30.0}
    assert [trial.state for trial in ended.trials] == ["observed", "observed"]
    assert verify_in(ledger, experiment).ok


def test_what_is_too_dear_to_be_run_again_is_told_at_once(ledger, experiments, bench):
    spec = specification(budget=Budget(trials=2, money=20), cost={"money": 10}, parallel=2)
    experiment = experiments.create(spec)
    bench.observe = lambda _key: Unknown("the power went")
    for _ in range(2):
        loop.advance(ledger, experiment, None, {"bench": bench})
    with pytest.raises(InvalidInput, match=r"takes 10 USD more.*0 of 20 are left"):
        experiments.say(experiment, 1, "again")


def test_a_shared_budget_pays_for_each_time_too(ledger, experiments, bench):
    experiments.open_budget("beamtime", {"samples": 3})
    spec = specification(budget=Budget(trials=5, account="beamtime"), cost={"samples": 1}, parallel=1)
    experiment = experiments.create(spec)
    observe, bench.observe = bench.observe, lambda _key: Unknown("the power went")
    for _ in range(2):
        for _ in range(2):
            loop.advance(ledger, experiment, None, {"bench": bench})
        experiments.say(experiment, 1, "again")
    loop.advance(ledger, experiment, None, {"bench": bench})
    bench.observe = observe
    ended = run(ledger, experiment, bench)
    amounts = experiments.budget("beamtime")["amounts"]["samples"]
    assert (amounts["spent"], amounts["reserved"]) == (3.0, 0.0)
    assert len(bench.ran) == 3
    assert len(ended.observed) == 1
    assert verify_in(ledger, experiment).ok


def test_what_a_shared_budget_cannot_pay_again_has_failed(ledger, experiments, bench):
    experiments.open_budget("beamtime", {"samples": 1})
    spec = specification(budget=Budget(trials=5, account="beamtime"), cost={"samples": 1}, parallel=1)
    experiment = experiments.create(spec)
    bench.observe = lambda _key: Unknown("the power went")
    for _ in range(2):
        loop.advance(ledger, experiment, None, {"bench": bench})
    experiments.say(experiment, 1, "again")
    ended = run(ledger, experiment, bench)
    assert "has not the 1 samples left" in ended.trials[0].reason
    assert len(bench.ran) == 1
    assert verify_in(ledger, experiment).ok


def test_a_pause_lets_what_has_begun_go_on_to_its_last_step(ledger):
    shop = {
        "oven": Machine({"temperature": "degC"}, {"mass": "g"}, lambda p: {"mass": p["temperature"] / 10}),
        "scale": Machine({"sample": "kg"}, {"density": ""}, lambda p: {"density": p["sample"] * 100}),
        "sums": Machine(
            {"density": "", "speed": ""}, {"score": ""}, lambda p: {"score": p["density"] * p["speed"]}
        ),
    }
    mine = store.LedgerExperiments(ledger, ALICE, executors=shop)
    experiment = mine.create(described(budget=Budget(trials=3), parallel=1))
    loop.advance(ledger, experiment, None, shop)
    mine.command(experiment, "pause", "lunch")
    for _ in range(6):
        known = loop.advance(ledger, experiment, None, shop)
    assert known.state == "paused"
    assert [trial.state for trial in known.trials] == ["observed"]
    assert [len(shop[name].ran) for name in ("oven", "scale", "sums")] == [1, 1, 1]
    values = known.trials[0].values
    assert set(values) == {"mass", "density", "score"}
