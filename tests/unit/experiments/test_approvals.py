"""What waits for a person starts only with that person's word, for exactly what was shown, once and in time."""

from __future__ import annotations

import dataclasses

import pytest

from genesis_workbench.core import clock
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import Approval, Budget, loop, store
from genesis_workbench.experiments.checking import APPROVE
from genesis_workbench.experiments.executors._base import Unknown
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify, verify_in
from unit.experiments.bench import ALICE, run, specification

SOLAR = frozenset({"solar"})
ERIN = Person("erin", groups=SOLAR, scopes=frozenset({APPROVE}))


@pytest.fixture
def lab(ledger, bench):
    """Alice's experiments and Erin's, who may approve, in a service; the executor touches the laboratory."""
    bench.laboratory, bench.simulated = True, False
    executors = {"bench": bench}

    class Lab:
        alice = store.LedgerExperiments(ledger, ALICE, service=True, executors=executors)
        erin = store.LedgerExperiments(ledger, ERIN, service=True, executors=executors)

        @staticmethod
        def advance(experiment):
            return loop.advance(ledger, experiment, None, executors)

    return Lab


def test_each_laboratory_trial_waits_until_another_person_approves_it(ledger, lab, bench):
    experiment = lab.alice.create(specification(budget=Budget(trials=3), parallel=2))
    assert [trial.state for trial in lab.advance(experiment).trials] == ["waiting", "waiting"]
    assert bench.ran == {}
    asked = lab.erin.pending(experiment)
    assert [(each["for"], each["trial"]) for each in asked] == [("approval", 1), ("approval", 2)]
    assert "touches the laboratory" in asked[0]["why"]
    lab.erin.approve(experiment, 1, asked[0]["digest"])
    lab.advance(experiment)
    state = lab.advance(experiment)
    assert [trial.state for trial in state.trials] == ["observed", "waiting", "waiting"]
    assert len(bench.ran) == 1
    for number in (2, 3):
        lab.erin.approve(experiment, number)
    while lab.advance(experiment).state != "ended":
        pass
    report = verify_in(ledger, experiment)
    assert report.ok
    assert "3 by erin" in repr(report)


def test_a_refusal_stays_with_its_reason_and_is_no_failure(ledger, lab, bench):
    experiment = lab.alice.create(
        specification(budget=Budget(trials=7, samples=7), cost={"samples": 1}, parallel=1)
    )
    for number in range(1, 8):
        lab.advance(experiment)
        lab.erin.refuse(experiment, number, "the furnace is due for service")
    state = lab.advance(experiment)
    assert {trial.state for trial in state.trials} == {"refused"}
    assert state.trials[0].reason == "erin refused it: the furnace is due for service"
    assert state.spending.spent == {}
    assert "7 trials of the budget" in state.reason  # and not that too many failed
    assert bench.ran == {}
    assert verify_in(ledger, experiment).ok


def test_who_may_approve(lab):
    experiment = lab.alice.create(specification())
    lab.advance(experiment)
    with pytest.raises(PermissionRefused, match=APPROVE):
        lab.alice.approve(experiment, 1)
    chief = Person("alice", groups=SOLAR, scopes=frozenset({APPROVE}))
    hers = store.LedgerExperiments(lab.alice._ledger, chief, service=True, executors=lab.alice._executors)
    with pytest.raises(PermissionRefused, match="launched themselves"):
        hers.approve(experiment, 1)
    stranger = Person("mallory", scopes=frozenset({APPROVE}))
    with pytest.raises(NotFound):
        store.LedgerExperiments(lab.alice._ledger, stranger, service=True).approve(experiment, 1)
    with pytest.raises(InvalidInput, match="needs a reason"):
        lab.erin.refuse(experiment, 1, " ")
    with pytest.raises(NotFound, match="no trial 99"):
        lab.erin.approve(experiment, 99)
    lab.erin.approve(experiment, 1)
    with pytest.raises(Conflict, match="erin has approved trial 1 already"):
        lab.erin.refuse(experiment, 1, "changed my mind")
    with pytest.raises(Conflict, match="not what was shown"):
        lab.erin.approve(experiment, 2, "sha256:" + "0" * 64)


def test_an_approval_expires_and_is_asked_for_again(lab, bench, monkeypatch):
    experiment = lab.alice.create(specification(approval=Approval(valid_s=60), parallel=1))
    lab.advance(experiment)
    lab.erin.approve(experiment, 1)
    monkeypatch.setattr(clock, "now", lambda: "2999-01-01T00:00:00.000000Z")
    state = lab.advance(experiment)
    assert state.trials[0].state == "waiting"
    assert bench.ran == {}
    assert [each["trial"] for each in lab.erin.pending(experiment)] == [1]


def test_one_approval_is_for_one_execution_also_through_a_kill_and_a_second_attempt(
    ledger, lab, bench, monkeypatch
):
    experiment = lab.alice.create(specification(budget=Budget(trials=1)))
    lab.advance(experiment)
    lab.erin.approve(experiment, 1)
    append = Ledger.append_many

    def die(self, new, *, lease=None):
        events = append(self, new, lease=lease)
        if any(event.kind == "approval.used" for event in events):
            raise KeyboardInterrupt
        return events

    monkeypatch.setattr(Ledger, "append_many", die)
    with pytest.raises(KeyboardInterrupt):
        lab.advance(experiment)
    monkeypatch.setattr(Ledger, "append_many", append)
    bench.observe = lambda _key: Unknown("the power went")
    lab.advance(experiment)
    state = lab.advance(experiment)
    assert state.trials[0].state == "unknown"
    assert len(bench.ran) == 1
    # Run again is another execution: it waits for an approval of its own.
    lab.alice.say(experiment, 1, "again")
    assert lab.advance(experiment).trials[0].state == "waiting"
    assert len(bench.ran) == 1
    lab.erin.approve(experiment, 1)
    del bench.observe
    while lab.advance(experiment).state != "ended":
        pass
    assert len(bench.ran) == 2
    report = verify_in(ledger, experiment)
    assert report.ok
    assert "2 by erin" in repr(report)


@pytest.mark.parametrize(
    ("approval", "waits"),
    [
        (Approval("never"), []),
        (Approval(), []),
        (Approval("each"), [1, 2, 3, 4]),
        (Approval("first", first=2), [1, 2]),
        (Approval("above", above={"money": 10}), [3, 4]),
    ],
)
def test_policies(ledger, experiments, bench, approval, waits):
    experiment = experiments.create(
        specification(
            approval=approval,
            parallel=4,
            budget=Budget(trials=4, money=1000),
            cost={"money": 5},
            space=specification().space,
        )
    )
    if approval.above:
        # The dear ones are those with a large x: told by the parameters, so by the reservation.
        experiment = experiments.create(
            specification(
                approval=Approval("above", above={"money": 10}),
                parallel=4,
                budget=Budget(trials=4, money=1000),
                cost={"money": "20 * x"},
            )
        )
    state = loop.advance(ledger, experiment, None, {"bench": bench})
    waiting = [trial.number for trial in state.trials if trial.state == "waiting"]
    if approval.above:
        assert waiting == [trial.number for trial in state.trials if 20 * trial.parameters["x"] > 10]
        assert 0 < len(waiting) < 4
    else:
        assert waiting == waits
    # In a bare notebook there is nobody else: the one person may, and the ledger says so.
    for number in waiting:
        experiments.approve(experiment, number)
    run(ledger, experiment, bench)
    report = verify_in(ledger, experiment)
    assert report.ok
    assert ("by the owner, who was alone" in repr(report)) == bool(waiting)


def test_policies_that_say_half_are_refused():
    for wrong in ({"policy": "above"}, {"policy": "first"}, {"policy": "each", "first": 2}, {"valid_s": 0}):
        with pytest.raises(InvalidInput, match=r"^\w+ cannot be made so: [^\n]+\.$"):
            Approval(**wrong)


def test_only_who_may_approve_launches_into_the_laboratory_without_approvals(lab):
    spec = specification(approval=Approval("never"))
    with pytest.raises(PermissionRefused, match="touches the laboratory"):
        lab.alice.create(spec)
    assert lab.advance(lab.erin.create(spec)).trials[0].state == "started"


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda e: [x for x in e if x.kind != "approval.used"], "nobody had approved it"),
        (lambda e: [x for x in e if x.kind != "approval.given"], "nobody gave"),
        (
            lambda e: [
                dataclasses.replace(x, body={**x.body, "expires": "2000-01-01T00:00:00.000000Z"})
                if x.kind == "approval.given"
                else x
                for x in e
            ],
            "after it had expired",
        ),
        (
            lambda e: [dataclasses.replace(x, actor="alice") if x.kind == "approval.given" else x for x in e],
            "their own experiment, and the event does not say so",
        ),
        (
            lambda e: [
                dataclasses.replace(x, body={k: v for k, v in x.body.items() if k != "approval"})
                if x.kind == "trial.proposed"
                else x
                for x in e
            ],
            "does not ask for the approval that it needs",
        ),
        (
            lambda e: [
                dataclasses.replace(x, body={**x.body, "parameters": {"x": 0.9, "z": 0.9}})
                if x.kind == "trial.proposed"
                else x
                for x in e
            ],
            "other arguments than its own",
        ),
        (
            lambda e: [
                dataclasses.replace(x, body={**x.body, "digest": "sha256:" + "0" * 64})
                if x.kind == "approval.given"
                else x
                for x in e
            ],
            "was for something else",
        ),
    ],
)
def test_what_was_forged_about_approvals_is_seen(ledger, lab, forge, words):
    experiment = lab.alice.create(specification(budget=Budget(trials=1)))
    lab.advance(experiment)
    lab.erin.approve(experiment, 1)
    while lab.advance(experiment).state != "ended":
        pass
    events = list(ledger.all(stream=stream(experiment)))
    assert fold(events).finding is not None
    check = next(each for each in verify(forge(events)).checks if each.name == "approvals")
    assert check.state == "fails"
    assert words in check.says
