"""People's part in experiments over the API: approvals, values, points, shared budgets, files, and who may do what."""

from __future__ import annotations

import time

import pytest

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.experiments import (
    Approval,
    Budget,
    Hypothesis,
    Objective,
    Real,
    Run,
    Threshold,
    calling,
)
from genesis_workbench.experiments.executors._identity import name_of
from genesis_workbench.experiments.people import Returned
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.store import RemoteExperiments


def by_hand(**changes):
    """A person weighs; so nothing but people and the runner is needed."""
    fields = {
        "title": "Weighing",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="mass", at_least=1, unit="g")),
        "space": (Real("temperature", 100, 200, unit="degC"),),
        "objective": Objective("mass", "g"),
        "executor": "person",
        "executor_arguments": {"outcomes": {"mass": "g"}, "asks": "Weigh the crystal."},
        "budget": Budget(trials=2),
        "parallel": 1,
        "proposer": "sobol",
        "groups": ("solar",),
    }
    return ExperimentSpec(**{**fields, **changes})


def until(ask, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_a_trial_is_approved_by_another_person_and_its_value_entered(client):
    alice, bob, carol = (RemoteExperiments(client(name)) for name in ("alice", "bob", "carol"))
    experiment = alice.create(by_hand(approval=Approval("each")))
    [asked] = until(lambda: alice.pending(experiment))
    assert (asked["for"], asked["trial"]) == ("approval", 1)
    # Alice and Bob may run experiments; approving is a right of its own, and who may not see it may not know of it.
    for each in (alice, bob):
        with pytest.raises(PermissionRefused, match="custom:experiments:approve"):
            each.approve(experiment, 1)
    with pytest.raises(NotFound):
        carol.pending(experiment)
    with pytest.raises(NotFound):
        RemoteExperiments(client("admin")).approve(experiment, 1, asked["digest"])
    with pytest.raises(Conflict, match="waits for nobody's word"):
        alice.say(experiment, 1, "observed", values={"mass": 1})
    alice.command(experiment, "stop", "nobody here may approve")
    until(lambda: alice.summary(experiment)["state"] == "ended")
    assert alice.verify(experiment).ok


def test_an_approver_of_the_group_approves_and_refuses(client, workbench):
    alice = RemoteExperiments(client("alice"))
    experiment = alice.create(by_hand(approval=Approval("each"), groups=()))
    until(lambda: alice.pending(experiment))
    chief = RemoteExperiments(client("admin"))
    mine = chief.create(by_hand(approval=Approval("each"), groups=()))
    until(lambda: chief.pending(mine))
    with pytest.raises(PermissionRefused, match="launched themselves"):
        chief.approve(mine, 1)
    for each, store in ((experiment, alice), (mine, chief)):
        store.command(each, "stop", "enough seen")


def test_values_are_entered_with_units_and_points_added(client):
    alice, bob = RemoteExperiments(client("alice")), RemoteExperiments(client("bob"))
    experiment = alice.create(by_hand(proposer="person"))
    with pytest.raises(PermissionRefused, match="Only alice"):
        bob.add_points(experiment, [{"temperature": 150}])
    with pytest.raises(InvalidInput, match="between 100"):
        alice.add_points(experiment, [{"temperature": 15}])
    alice.add_points(experiment, [{"temperature": 150.0}, {"temperature": 120.0}])
    for number, mass in ((1, (900, "mg")), (2, 1.2)):
        until(lambda wanted=number: [each for each in bob.pending(experiment) if each["trial"] == wanted])
        with pytest.raises(InvalidInput, match="cannot be given in g"):
            bob.say(experiment, number, "observed", values={"mass": (1, "m")})
        bob.say(experiment, number, "observed", values={"mass": mass})
    summary = until(lambda: (s := alice.summary(experiment))["state"] == "ended" and s)
    assert summary["finding"]["decision"] == "supported"
    assert summary["simulated"] is False
    assert [e["actor"] for e in alice.events(experiment) if e["kind"] == "outcome.entered"] == ["bob", "bob"]
    assert alice.verify(experiment).ok


def test_a_shared_budget_is_opened_by_who_may_approve_and_drawn_from_by_its_groups(client):
    alice, chief = RemoteExperiments(client("alice")), RemoteExperiments(client("admin"))
    with pytest.raises(PermissionRefused, match="custom:experiments:approve"):
        alice.open_budget("weighing", {"samples": 2}, groups=("solar",))
    with pytest.raises(PermissionRefused, match="not in the group 'solar'"):
        chief.open_budget("weighing", {"samples": 2}, groups=("solar",))
    chief.open_budget("weighing", {"samples": 2})
    with pytest.raises(Conflict, match="already"):
        chief.open_budget("weighing", {"samples": 5})
    with pytest.raises(NotFound):
        alice.budget("weighing")
    spec = by_hand(budget=Budget(trials=5, account="weighing"), cost={"samples": 1}, groups=())
    with pytest.raises(NotFound, match="no shared budget"):
        alice.create(spec)
    experiment = chief.create(spec)
    for number in (1, 2):
        until(lambda wanted=number: [each for each in chief.pending(experiment) if each["trial"] == wanted])
        chief.say(experiment, number, "observed", values={"mass": 0.5})
    summary = until(lambda: (s := chief.summary(experiment))["state"] == "ended" and s)
    assert "shared budget 'weighing'" in summary["reason"]
    assert chief.budget("weighing")["amounts"]["samples"]["spent"] == 2
    report = chief.verify(experiment)
    assert report.ok
    assert any(check.name == "account" and check.state == "holds" for check in report.checks)


def test_a_function_of_a_notebook_is_called_there_and_heard_from_nobody_else(client, tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    monkeypatch.setattr(calling, "me", lambda: Person("alice"))
    alice, bob = RemoteExperiments(client("alice")), RemoteExperiments(client("bob"))
    called = []

    def grow(temperature):
        called.append(temperature)
        return {"mass": temperature / 100, "yield": 0.5}

    arguments = {"function": name_of(grow), "outcomes": {"mass": "g"}}
    spec = by_hand(executor="function", executor_arguments=arguments, budget=Budget(trials=4))
    run = Run(alice.create(spec), alice)
    [asked] = until(lambda: bob.queue(run.id))
    assert "waits for the notebook" in asked["words"]
    key = next(event["body"]["key"] for event in run.events() if event["kind"] == "trial.started")
    with pytest.raises(PermissionRefused, match="Only alice"):
        bob.tell(run.id, 1, key, Returned(values={"mass": {"value": 9, "unit": "g"}}))
    assert called == []
    assert run.wait(timeout_s=60)["decision"] == "supported"
    trials = run.trials()
    assert sorted(called) == sorted(trials.temperature)
    assert trials.mass.tolist() == (trials.temperature / 100).tolist()
    assert set(trials["yield"]) == {0.5}
    assert run.verify().ok


def test_the_service_refuses_own_code_that_the_site_has_not_allowed(client):
    alice = RemoteExperiments(client("alice"))
    script = alice.keep_file(b"print('hello')")
    assert script.startswith("sha256:")
    arguments = {"command": ["python3", "a.py"], "files": {"a.py": script}, "outcomes": {"mass": "g"}}
    with pytest.raises(PermissionRefused, match=r"experiments\.own_code"):
        alice.create(by_hand(executor="job", executor_arguments=arguments))


def test_what_a_launch_would_do_is_told_by_the_service_and_nothing_is_launched(client):
    alice, carol = RemoteExperiments(client("alice")), RemoteExperiments(client("carol"))
    before = len(alice.summaries())
    spec = by_hand(approval=Approval("each"), cost={"money": 5}, budget=Budget(trials=10, money=20))
    told = alice.preview(spec)
    assert (told["faults"], told["trials"], told["ends_by"]) == ([], 4, "money")
    assert told["approvals"]["needed"] == 4
    # The same description is refused to whoever is not in its group, beside the field that says so.
    [fault] = carol.preview(spec)["faults"]
    assert fault["where"] == "groups"
    assert "solar" in fault["message"]
    assert len(alice.summaries()) == before
    offered = {each["name"]: each for each in alice.choices()["executors"]}
    assert offered["person"]["schema"]["properties"]["asks"]
    assert "in code only" in offered["function"]["refusal"]


def test_what_is_under_way_is_told_to_who_may_see_it(client):
    alice, carol = RemoteExperiments(client("alice")), RemoteExperiments(client("carol"))
    experiment = alice.create(by_hand())
    [found] = until(lambda: alice.queue(experiment))
    assert (found["trial"], found["executor"], found["state"]) == (1, "person", "started")
    with pytest.raises(NotFound):
        carol.queue(experiment)
    alice.command(experiment, "stop", "enough seen")
