"""What is committed decides: a later change is told with the finding and does not decide."""

from __future__ import annotations

import contextlib

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, PermissionRefused
from genesis_workbench.experiments import (
    Arm,
    Budget,
    Hypothesis,
    Limit,
    Mean,
    Sequential,
    Superiority,
    Threshold,
    loop,
    store,
)
from genesis_workbench.experiments.rules import source_digest
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import BOB, run, specification


def claim(rule, **more):
    return Hypothesis(statement="s", rule=rule, **more)


def test_the_committed_hypothesis_carries_the_digest_of_its_rules_source(ledger, experiments, bench):
    experiment = experiments.create(specification())
    committed = ledger.read(stream=stream(experiment))[0]
    expected = specification().hypothesis.committed()
    assert committed.kind == "hypothesis.committed"
    assert committed.body == {"hypothesis": expected.model_dump(mode="json"), "digest": expected.digest}
    assert committed.body["hypothesis"]["analysis"].startswith("sha256:")
    finding = run(ledger, experiment, bench).finding
    assert finding["analysis"]["committed"] == finding["analysis"]["used"] == expected.analysis
    other = specification(
        hypothesis=claim(Threshold(metric="y", at_least=1, unit="degC"), analysis="sha256:" + "0" * 64)
    )
    with pytest.raises(Conflict, match="another source"):
        experiments.create(other)


def test_a_later_change_is_told_and_does_not_decide(ledger, experiments, bench):
    experiment = experiments.create(specification())
    loop.advance(ledger, experiment, None, {"bench": bench})
    loop.advance(ledger, experiment, None, {"bench": bench})
    easier = claim(Threshold(metric="y", at_least=2, unit="degC"))
    experiments.change_hypothesis(experiment, easier, "The lamp was weaker than we thought.")
    state = run(ledger, experiment, bench)
    assert state.finding["decision"] == "supported"
    [deviation] = state.finding["deviations"]
    assert deviation["would_decide"] == "not supported"
    assert deviation["reason"] == "The lamp was weaker than we thought."
    assert (deviation["observed"], deviation["actor"], deviation["rule"]) == (2, "alice", "y ≥ 2 degC")
    assert deviation["digest"] == easier.committed().digest
    assert state.summary()["hypothesis"]["deviations"] == 1
    with pytest.raises(Conflict, match="has ended"):
        experiments.change_hypothesis(experiment, easier, "again")


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        (claim(Threshold(metric="w", at_least=2)), "why", "does not observe 'w'"),
        (claim(Superiority(metric="y", unit="degC")), "why", "the arm 'control'"),
        (claim(Threshold(metric="y", at_least=2, unit="degC")), " ", "needs a reason"),
    ],
)
def test_a_change_that_could_never_decide_is_refused(ledger, experiments, changed, reason, words):
    experiment = experiments.create(specification())
    with pytest.raises(InvalidInput, match=words):
        experiments.change_hypothesis(experiment, changed, reason)
    assert len(ledger.read(stream=stream(experiment))) == 2


def test_a_change_and_a_command_that_cross_the_end_leave_the_finding_as_it_is(
    ledger, experiments, bench, monkeypatch
):
    """The runner ends the experiment between the person's look and the person's event."""
    easier = claim(Threshold(metric="y", at_least=0.1, unit="degC"))
    for call in (
        lambda experiment: experiments.change_hypothesis(experiment, easier, "late"),
        lambda experiment: experiments.command(experiment, "stop", "late"),
        lambda experiment: experiments.command(experiment, "pause", "late"),
    ):
        experiment = experiments.create(specification(budget=Budget(trials=4)))
        look = store.LedgerExperiments.state

        def late(self, name, look=look):
            seen = look(self, name)
            monkeypatch.setattr(store.LedgerExperiments, "state", look)
            run(ledger, name, bench)
            return seen

        monkeypatch.setattr(store.LedgerExperiments, "state", late)
        with contextlib.suppress(Conflict):
            call(experiment)
        summary = experiments.summary(experiment)
        assert (summary["state"], summary["finding"]["deviations"]) == ("ended", [])
        assert experiments.verify(experiment).ok


def test_only_who_launched_it_may_change_it(ledger, experiments):
    experiment = experiments.create(specification())
    with pytest.raises(PermissionRefused, match="Only alice"):
        store.LedgerExperiments(ledger, BOB).change_hypothesis(
            experiment, claim(Threshold(metric="y", at_least=2, unit="degC")), "why"
        )


def test_an_experiment_may_end_when_a_sequential_rule_has_decided(ledger, experiments, bench):
    bench.measure = lambda number, _x: {"y": (5 + 0.1 * (number % 3), "degC", None)}
    rule = Sequential(metric="y", at_least=4, unit="degC")
    experiment = experiments.create(
        specification(hypothesis=claim(rule, stopping="decided"), budget=Budget(trials=100), parallel=3)
    )
    state = run(ledger, experiment, bench)
    assert state.finding["decision"] == "supported"
    assert len(state.trials) < 12
    assert state.reason.startswith("The rule has decided: After ")
    assert state.finding["evidence"]["n"] <= len(state.observed)


def test_stopping_on_a_test_for_one_look_is_refused():
    with pytest.raises(ValueError, match="far more often than its confidence"):
        claim(Mean(metric="y", at_least=1), stopping="decided")


def test_the_optimiser_is_compared_with_its_control(ledger, experiments, bench):
    rule = Superiority(metric="y", unit="degC", control="control")
    experiment = experiments.create(
        specification(
            hypothesis=claim(rule),
            arms=(Arm("control"),),
            proposer="gp",
            budget=Budget(trials=40),
            parallel=4,
        )
    )
    finding = run(ledger, experiment, bench).finding
    assert finding["decision"] == "supported"
    assert (finding["evidence"]["n"], finding["evidence"]["n_control"]) == (20, 20)
    with pytest.raises(ValueError, match="the arm 'control'"):
        specification(hypothesis=claim(rule))


def hot(number, x):
    """Trial 1 reaches the bound and is too hot; trial 2 is cool and short of it; trial 3 is not measured for heat."""
    heat = {"temperature": (90.0 if number == 1 else 20.0, "degC", None)}
    return {"y": (0.95 if number != 2 else 0.4, "degC", None), **(heat if number < 3 else {})}


@pytest.fixture
def too_hot(bench):
    bench.outcomes = {"y": "degC", "temperature": "degC"}
    bench.measure = hot
    return specification(
        outcome_constraints=(Limit(metric="temperature", at_most=50, unit="degC"),),
        budget=Budget(trials=3),
        parallel=1,
    )


@pytest.mark.parametrize("stopping", ["budget", "decided"])
def test_a_point_that_breaks_a_limit_shows_nothing(ledger, experiments, bench, too_hot, stopping):
    rule = too_hot.hypothesis.rule
    spec = too_hot.model_copy(update={"hypothesis": claim(rule, stopping=stopping)})
    experiment = experiments.create(spec)
    state = run(ledger, experiment, bench)
    assert (state.finding["decision"], state.finding["evidence"]["reaching"]) == ("not supported", [])
    assert len(state.trials) == 3  # it did not stop at the first
    assert "2 more would, but break a limit on outcomes, and do not count" in state.finding["says"]
    assert state.finding["evidence"]["best"]["trial"] == 2
    assert verify_in(ledger, experiment).ok
    bench.measure = lambda number, x: {**hot(number, x), "temperature": (20.0, "degC", None)}
    experiment = experiments.create(spec.model_copy(update={"seed": 1}))
    assert run(ledger, experiment, bench).finding["decision"] == "supported"


def test_what_was_committed_before_limits_counted_is_computed_as_it_was(
    ledger, experiments, bench, too_hot, monkeypatch
):
    def before(hypothesis):
        return hypothesis.model_copy(update={"analysis": source_digest(hypothesis.rule)})

    with monkeypatch.context() as patched:
        patched.setattr(Hypothesis, "committed", before)
        experiment = experiments.create(too_hot)
    assert run(ledger, experiment, bench).finding["decision"] == "supported"
    report = verify_in(ledger, experiment)
    assert {check.name: check.state for check in report.checks}["decision"] == "holds"
