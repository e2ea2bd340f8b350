"""The loop loses nothing, repeats nothing and says why it ends."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import (
    Budget,
    Categorical,
    Condition,
    Objective,
    Real,
    When,
    loop,
    store,
)
from genesis_workbench.experiments.executors._base import Observation
from genesis_workbench.experiments.proposers._base import CannotPropose
from genesis_workbench.experiments.proposers.gp import GaussianProcessProposer
from genesis_workbench.experiments.state import fold, stream
from unit.experiments.bench import ALICE, BOB, CAROL, run, specification


@pytest.mark.parametrize("proposer", ["sobol", "gp", "random"])
def test_it_runs_its_budget_and_decides(ledger, experiments, bench, proposer):
    experiment = experiments.create(specification(proposer=proposer))
    state = run(ledger, experiment, bench)
    assert len(state.observed) == 12
    assert state.finding["decision"] == "supported"
    assert state.finding["evidence"]["reaching"]
    assert state.finding["simulated"] is True
    assert state.finding["hypothesis_digest"] == specification().hypothesis.committed().digest
    assert [event.kind for event in ledger.all(stream=stream(experiment))][:2] == [
        "hypothesis.committed",
        "experiment.created",
    ]
    assert ledger.verify().ok


def test_a_kill_after_any_write_loses_and_repeats_nothing(ledger, experiments, bench, monkeypatch):
    """Every append and every submission is followed by a death, once; the next process goes on."""

    class Killed(BaseException):
        pass

    experiment = experiments.create(specification(budget=Budget(trials=6)))
    append, submit = Ledger.append_many, bench.submit
    died = {"at": 0, "count": 0}

    def maybe_die():
        died["count"] += 1
        if died["count"] > died["at"]:
            died["at"], died["count"] = died["at"] + 1, 0
            raise Killed

    def append_then_die(self, new, *, lease=None):
        events = append(self, new, lease=lease)
        maybe_die()
        return events

    def submit_then_die(key, parameters, arguments):
        submit(key, parameters, arguments)
        maybe_die()

    monkeypatch.setattr(Ledger, "append_many", append_then_die)
    monkeypatch.setattr(bench, "submit", submit_then_die)
    kills = 0
    for _ in range(200):
        try:
            if loop.advance(ledger, experiment, None, {"bench": bench}).state == "ended":
                break
        except Killed:
            kills += 1
    state = fold(ledger.all(stream=stream(experiment)))
    assert kills > 3
    assert state.state == "ended"
    assert [trial.number for trial in state.observed] == [1, 2, 3, 4, 5, 6]
    # A key may be submitted again, with the same parameters: the scheduler runs it once.
    assert len(bench.ran) == 6
    assert all(each == calls[0] for calls in bench.ran.values() for each in calls)
    kinds = [event.kind for event in ledger.all(stream=stream(experiment))]
    assert kinds.count("finding.made") == 1
    assert kinds.count("trial.observed") == 6


def test_a_runner_that_lost_its_lease_writes_nothing_more(ledger, experiments, bench):
    experiment = experiments.create(specification())
    leases = Leases(ledger.engine)
    old = leases.acquire(experiment, "one", 0)
    leases.acquire(experiment, "two", 60)
    with pytest.raises(Conflict, match="no longer holds"):
        loop.advance(ledger, experiment, old, {"bench": bench})
    assert bench.ran == {}


def test_failed_trials_are_kept_and_five_in_a_row_end_it(ledger, experiments, bench):
    bench.failing = {"all"}
    state = run(ledger, experiments.create(specification()), bench)
    assert "5 trials in a row failed" in state.reason
    assert "the lamp is out" in state.reason
    assert state.finding["decision"] == "undecided"


def test_a_proposer_that_raises_is_replaced_and_the_ledger_says_why(ledger, experiments, bench, monkeypatch):
    def broken(self, spec, trials, count):
        raise FloatingPointError("singular")

    experiment = experiments.create(specification(proposer="gp", budget=Budget(trials=2)))
    monkeypatch.setattr(GaussianProcessProposer, "propose", broken)
    state = run(ledger, experiment, bench)
    assert {trial.proposer for trial in state.trials} == {"sobol"}
    proposed = ledger.read(stream=stream(experiment), kinds=["trial.proposed"])[0]
    assert "gp failed: singular" in proposed.body["because"]


def test_a_proposer_that_cannot_honour_the_space_is_replaced_by_name(ledger, experiments, bench, monkeypatch):
    """It says so only when it is asked: sobol proposes."""

    def cannot(*_):
        raise CannotPropose("'z' is not always active, and this proposer has no way to say so. Use sobol.")

    monkeypatch.setattr(GaussianProcessProposer, "propose", cannot)
    bench.parameters, bench.optional = {"c": "", "x": "", "z": ""}, {"z"}
    space = (Categorical("c", ["a", "b"]), Real("x", 0, 1), Real("z", 0, 1, when=When("c", ["a"])))
    bench.observe = lambda _key: Observation({"y": (0.5, "degC", None)})
    experiment = experiments.create(specification(proposer="gp", space=space))
    state = run(ledger, experiment, bench)
    assert {trial.proposer for trial in state.trials} == {"sobol"}
    assert {"z" in trial.parameters for trial in state.trials} == {True, False}
    assert all(("z" in trial.parameters) == (trial.parameters["c"] == "a") for trial in state.trials)
    proposed = ledger.read(stream=stream(experiment), kinds=["trial.proposed"])[0]
    assert proposed.body["because"].startswith("gp cannot be used: ")
    bench.optional = set()
    with pytest.raises(InvalidInput, match="'z' is not always active"):
        experiments.create(specification(space=space))


def test_pause_resume_and_stop(ledger, experiments, bench):
    bench.slow = True
    experiment = experiments.create(specification())
    executors = {"bench": bench}
    assert len(loop.advance(ledger, experiment, None, executors).trials) == 2
    experiments.command(experiment, "pause", "lunch")
    bench.slow = False
    assert loop.advance(ledger, experiment, None, executors).state == "paused"
    state = loop.advance(ledger, experiment, None, executors)
    assert len(state.observed) == len(state.trials) == 2
    bench.slow = True
    experiments.command(experiment, "resume")
    loop.advance(ledger, experiment, None, executors)
    experiments.command(experiment, "stop", "enough seen")
    state = loop.advance(ledger, experiment, None, executors)
    assert state.state == "ended"
    assert "enough seen" in state.reason
    assert len(bench.canceled) == 2
    with pytest.raises(Conflict, match="has ended"):
        experiments.command(experiment, "pause")


def test_what_was_stopped_stays_stopped_with_its_first_reason(ledger, experiments, bench):
    bench.slow = True
    experiment = experiments.create(specification())
    loop.advance(ledger, experiment, None, {"bench": bench})
    experiments.command(experiment, "stop", "bad batch")
    experiments.command(experiment, "stop", "really")
    for what in ("pause", "resume"):
        with pytest.raises(Conflict, match="was stopped already: bad batch"):
            experiments.command(experiment, what, "coffee")
    # One that crossed the stop on its way into the ledger changes nothing either.
    for kind in ("paused", "resumed"):
        ledger.append(stream(experiment), f"experiment.{kind}", {"reason": "coffee"}, actor="alice")
    assert loop.advance(ledger, experiment, None, {"bench": bench}).reason == "It was stopped: bad batch"


def test_who_may_look_and_who_may_command(ledger, experiments, bench):
    experiment = experiments.create(specification())
    seen_by_bob = store.LedgerExperiments(ledger, BOB)
    assert seen_by_bob.summary(experiment)["title"] == "t"
    with pytest.raises(PermissionRefused, match="Only alice"):
        seen_by_bob.command(experiment, "stop")
    for call in ("summary", "events"):
        with pytest.raises(NotFound):
            getattr(store.LedgerExperiments(ledger, CAROL), call)(experiment)
    assert store.LedgerExperiments(ledger, CAROL).summaries() == []


def test_one_key_creates_one_experiment(ledger, experiments):
    first = experiments.create(specification(), key="k1")
    assert experiments.create(specification(), key="k1") == first
    assert experiments.create(specification(), key="k2") != first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        experiments.create(specification(title="other"), key="k1")
    assert len(experiments.summaries()) == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"proposer": "gpp"}, NotFound, "Did you mean 'gp'"),
        ({"space": (Real("x", 0, 1),)}, InvalidInput, "leaves out 'z'"),
        ({"space": (Real("x", 0, 1), Real("z", 0, 1), Real("q", 0, 1))}, InvalidInput, "no parameter 'q'"),
        ({"space": (Real("x", 0, 1, unit="m"), Real("z", 0, 1))}, InvalidInput, "given in m"),
        (
            {
                "space": (
                    Real("x", 0, 1),
                    Categorical("c", ["a", "b"]),
                    Real("z", 0, 1, when=When("c", ["a"])),
                )
            },
            InvalidInput,
            "no parameter 'c'",
        ),
        ({"constraints": (Condition("x + z > 2"),)}, InvalidInput, "Nothing fits"),
        ({"objective": Objective("w")}, InvalidInput, "does not observe 'w'"),
        ({"objective": Objective("y", "kg")}, InvalidInput, "cannot be given in kg"),
        ({"groups": ("fusion",)}, PermissionRefused, "not in the group 'fusion'"),
        ({"executor_arguments": {"broken": 1}}, InvalidInput, "broken"),
        ({"budget": Budget(trials=99_000)}, InvalidInput, "more than the 500"),
    ],
)
def test_what_could_never_run_is_refused_and_nothing_is_written(ledger, bench, changes, error, words):
    experiments = store.LedgerExperiments(ledger, ALICE, max_trials=500)
    with pytest.raises(error, match=words):
        experiments.create(specification(**changes))
    assert ledger.head()[0] == 0
