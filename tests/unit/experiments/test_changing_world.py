"""What an experiment was told at its launch need not stay so: devices become real, gateways hang, things are run again."""

from __future__ import annotations

import dataclasses

import pytest

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.experiments import Approval, Budget, loop, store
from genesis_workbench.experiments.checking import APPROVE
from genesis_workbench.experiments.executors._base import Unknown
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
    assert known.simulated is False
    assert "touches the laboratory" in erin.pending(experiment)[0]["why"]
    erin.approve(experiment, 3)
    ended = run(ledger, experiment, bench)
    assert len(ended.observed) == 3
    assert [trial.simulated for trial in ended.trials] == [True, False, False]
    assert ended.finding["simulated"] is False
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
