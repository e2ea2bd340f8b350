"""Whatever is changed afterwards is seen, by somebody who has the events and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Event, Ledger, schema
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import (
    Arm,
    Budget,
    Hypothesis,
    Mean,
    Posterior,
    Prior,
    Sequential,
    Threshold,
    loop,
    store,
)
from genesis_workbench.experiments.executors._base import Observation
from genesis_workbench.experiments.finding import decide
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import Report, verify, verify_in
from unit.experiments.bench import ALICE, CAROL, Bench, run, specification

FIRST_SLICE = Path(__file__).parent / "data" / "first_slice.jsonl"


def done(folder):
    """An experiment that ended, with a deviation, as a list of events."""
    ledger = Ledger.open(f"sqlite:///{folder / 'workbench.sqlite'}")
    bench = Bench()
    bench.failing = {4}
    claim = Hypothesis(statement="s", rule=Mean(metric="y", at_least=0.5, unit="degC"))
    mended = pytest.MonkeyPatch()
    mended.setattr(store, "local_executors", lambda: {"bench": bench})
    try:
        experiments = store.LedgerExperiments(ledger, ALICE)
        experiment = experiments.create(specification(hypothesis=claim, budget=Budget(trials=6)))
        easier = Hypothesis(statement="t", rule=Threshold(metric="y", at_least=0.1, unit="degC"))
        experiments.change_hypothesis(experiment, easier, "why not")
        run(ledger, experiment, bench)
        return experiment, list(ledger.all(stream=stream(experiment)))
    finally:
        mended.undo()
        ledger.close()


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return done(tmp_path_factory.mktemp("state"))[1]


def states(report):
    return {check.name: check.state for check in report.checks}


def forged(events, change):
    """The events after `change` has edited them as dictionaries, with all hashes made to fit again."""
    bodies = json.loads(json.dumps([event.as_dict() for event in events]))
    bodies = change(bodies) or bodies
    made = []
    for version, fields in enumerate(bodies, start=1):
        fields |= {"version": version, "seq": events[0].seq + version - 1}
        fields["previous"] = made[-1].hash if made else events[0].previous
        event = Event(**fields)
        made.append(dataclasses.replace(event, hash=event.expected_hash()))
    return made


def kind(events, name, number=0):
    return [event for event in events if event["kind"] == name][number]


def test_an_honest_experiment_holds_line_by_line(ended):
    report = verify(ended)
    assert report.ok
    assert states(report) == {
        "chain": "unknown",
        "events": "holds",
        "hypothesis": "holds",
        "analysis": "holds",
        "trials": "holds",
        "approvals": "holds",
        "budget": "holds",
        "attachments": "holds",
        "stopping": "holds",
        "deviations": "holds",
        "decision": "holds",
    }
    assert "supported" in repr(report)
    assert "changed 1 times (after 0 observations)" in repr(report)
    assert Report.from_dict(json.loads(json.dumps(report.as_dict()))) == report


def test_an_experiment_of_the_first_slice_still_folds_and_holds():
    """Its events were written before repeats, arms, rules and deviations were known."""
    events = [Event(**json.loads(line)) for line in FIRST_SLICE.read_text().splitlines()]
    state = fold(events)
    assert (len(state.observed), state.finding["decision"]) == (6, "supported")
    assert state.summary()["best"]["value"] > 0.9
    report = verify(events)
    assert report.ok
    assert states(report)["analysis"] == "unknown"
    assert states(report)["decision"] == "holds"
    wrong = forged(events, lambda all_: kind(all_, "finding.made")["body"].update(decision="not supported"))
    assert states(verify(wrong))["decision"] == "fails"


def _set(event, **values):
    event["body"].update(values)


def _swap(events):
    return [events[1], events[0], *events[2:]]


def _second_outcome(events):
    end = next(place for place, event in enumerate(events) if event["kind"] == "finding.made")
    again = json.loads(json.dumps(kind(events, "trial.observed")))
    return [*events[:end], again, *events[end:]]


def _cut(events):
    """The last two trials never happened; the finding is the one that follows from the rest."""
    kept = [each for each in events if each["body"].get("trial", 0) < 5]
    body = kind(kept, "finding.made")["body"]
    body.update(decide(fold(Event(**each) for each in kept if each["kind"] != "finding.made")))

    return kept


def _rename(events):
    for event in events:
        event["stream"] += "x"


FORGERIES = {
    "a nicer decision": (lambda e: _set(kind(e, "finding.made"), decision="not supported"), "decision"),
    "another number as evidence": (
        lambda e: kind(e, "finding.made")["body"]["evidence"].update(n=600),
        "decision",
    ),
    "a deviation left out": (lambda e: _set(kind(e, "finding.made"), deviations=[]), "decision"),
    "another outcome": (
        lambda e: kind(e, "trial.observed")["body"]["values"]["y"].update(value=-40.0),
        "decision",
    ),
    "an outcome left out": (lambda e: [x for x in e if x is not kind(e, "trial.observed", 1)], "decision"),
    "a failure left out": (lambda e: [x for x in e if x["kind"] != "trial.failed"], "decision"),
    "another hypothesis": (
        lambda e: kind(e, "hypothesis.committed")["body"]["hypothesis"].update(statement="z"),
        "hypothesis",
    ),
    "another rule in the description": (
        lambda e: kind(e, "experiment.created")["body"]["spec"]["hypothesis"]["rule"].update(at_least=0.1),
        "hypothesis",
    ),
    "a commitment after the creation": (_swap, "hypothesis"),
    "a changed change": (
        lambda e: kind(e, "hypothesis.changed")["body"]["hypothesis"].update(statement="z"),
        "deviations",
    ),
    "a point outside": (lambda e: kind(e, "trial.proposed")["body"]["parameters"].update(x=7.0), "trials"),
    "another key": (lambda e: _set(kind(e, "trial.proposed"), key="0" * 40), "trials"),
    "a second outcome": (_second_outcome, "trials"),
    "a trial counted to another arm": (lambda e: _set(kind(e, "trial.proposed"), arm="control"), "trials"),
    "a trial made a repeat": (lambda e: _set(kind(e, "trial.proposed", 3), point=1), "trials"),
    "a smaller budget": (
        lambda e: kind(e, "experiment.created")["body"]["spec"]["budget"].update(trials=3),
        "trials",
    ),
    "other words": (lambda e: _set(kind(e, "finding.made"), says="The mean is 600."), "decision"),
    "an end before it was due": (_cut, "stopping"),
    "events of another experiment": (_rename, "trials"),
    "a trial after the finding": (
        lambda e: [*e, json.loads(json.dumps(kind(e, "trial.observed")))],
        "trials",
    ),
    "a body that is no trial": (lambda e: kind(e, "trial.observed").update(body={"trial": 99}), "events"),
    "no values": (lambda e: _set(kind(e, "trial.observed"), values={"y": None}), "decision"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_whose_hashes_fit_is_seen(ended, what):
    change, where = FORGERIES[what]
    report = verify(
        forged(ended, lambda events: result if isinstance(result := change(events), list) else None)
    )
    assert not report.ok
    assert where in {check.name for check in report.checks if check.state == "fails"}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_changed_event_is_seen_by_its_hash(ended, data):
    place = data.draw(st.integers(0, len(ended) - 1))
    field = data.draw(st.sampled_from(["time", "actor", "kind", "id", "previous", "hash", "body"]))
    changed = {"other": 1} if field == "body" else getattr(ended[place], field) + "0"
    events = [*ended[:place], dataclasses.replace(ended[place], **{field: changed}), *ended[place + 1 :]]
    report = verify(events)
    assert states(report)["events"] == "fails"
    assert not report.ok


def test_who_stops_a_test_for_one_look_is_told_with_the_finding_and_in_the_report(ledger, experiments, bench):
    """Five values of which the mean is clear, and a person who had seen them."""
    mean = Hypothesis(statement="s", rule=Mean(metric="y", at_least=0.2, unit="degC"))
    for claim, state in ((mean, "unknown"), (specification().hypothesis, "holds")):
        experiment = experiments.create(specification(hypothesis=claim, budget=Budget(trials=40)))
        for _ in range(4):
            loop.advance(ledger, experiment, None, {"bench": bench})
        experiments.command(experiment, "stop", "we have seen enough")
        finding = run(ledger, experiment, bench).finding
        assert finding["decision"] == "supported"
        assert bool(finding["caution"]) == (state == "unknown")
        report = experiments.verify(experiment)
        assert report.ok
        assert states(report)["stopping"] == state
        assert ("more often than its confidence" in repr(report)) == (state == "unknown")


def test_a_bound_that_was_not_reached_is_undecided_until_the_budget_is_used(ledger, experiments, bench):
    high = Hypothesis(statement="s", rule=Threshold(metric="y", at_least=2, unit="degC"))
    experiment = experiments.create(specification(hypothesis=high, budget=Budget(trials=40)))
    for _ in range(3):
        loop.advance(ledger, experiment, None, {"bench": bench})
    experiments.command(experiment, "stop", "lunch")
    finding = run(ledger, experiment, bench).finding
    assert (finding["decision"], finding["evidence"]["reaching"]) == ("undecided", [])
    assert "Others may, 6 of 40 trials were carried out." in finding["says"]
    assert experiments.verify(experiment).ok
    whole = experiments.create(specification(hypothesis=high, budget=Budget(trials=4)))
    assert run(ledger, whole, bench).finding["decision"] == "not supported"
    bench.failing = {"all"}
    broken = experiments.create(specification(hypothesis=high, budget=Budget(trials=40)))
    assert run(ledger, broken, bench).finding["decision"] == "undecided"


def test_who_stops_counts_trials_that_were_carried_out_and_not_those_that_were_begun(
    ledger, experiments, bench
):
    mean = Hypothesis(statement="s", rule=Mean(metric="y", at_least=0.2, unit="degC"))
    spec = specification(hypothesis=mean, budget=Budget(trials=8), parallel=8)
    experiment = experiments.create(spec)
    bench.slow = True
    loop.advance(ledger, experiment, None, {"bench": bench})
    experiments.command(experiment, "stop", "we have seen enough")
    state = run(ledger, experiment, bench)
    assert len(state.trials) == 8
    assert "after 0 of 8 trials" in state.finding["caution"]


def test_a_point_that_the_end_cut_off_does_not_turn_what_it_ended_on(ledger, experiments, bench):
    """Two repeats of a point tell that the claim holds; first repeats of other points would not have counted, and do not."""
    prior = Prior(mean=0, observations=0.1, shape=1, scale=1)
    posterior = Posterior(metric="y", at_least=0, unit="degC", prior=prior, probability=0.9)
    claim = Hypothesis(statement="s", rule=posterior, stopping="decided")
    experiment = experiments.create(specification(hypothesis=claim, repeats=2, parallel=8))
    bench.measure = lambda number, _x: {"y": (2.0 if number < 3 else -30.0, "degC", 0.01)}
    told, bench.observe = (
        bench.observe,
        lambda key: told(key) if list(bench.ran).index(key) in (0, 1, 2, 4) else None,
    )
    state = run(ledger, experiment, bench)
    assert state.reason.startswith("The rule has decided")
    assert state.finding["decision"] == "supported"
    assert states(experiments.verify(experiment))["stopping"] == "holds"


def test_points_that_people_add_when_they_have_seen_outcomes_are_told_with_the_finding(
    ledger, experiments, bench
):
    mean = Hypothesis(statement="s", rule=Mean(metric="y", at_least=0.2, unit="degC"))
    for seen in (False, True):
        experiment = experiments.create(specification(hypothesis=mean))
        if seen:
            loop.advance(ledger, experiment, None, {"bench": bench})
            loop.advance(ledger, experiment, None, {"bench": bench})
        experiments.add_points(experiment, [{"x": 0.4, "z": 0.7}] * 3)
        finding = run(ledger, experiment, bench).finding
        assert finding["evidence"]["proposers"] == {"sobol": 9, "person": 3}
        assert ("3 of 12 trials are of points that people added" in finding["caution"]) == seen
        assert experiments.verify(experiment).ok


def test_the_arms_are_where_the_description_puts_them(ledger, experiments, bench):
    arms = (Arm("nothing", every=2, parameters={"x": 0.0, "z": 0.0}),)
    experiment = experiments.create(specification(arms=arms, repeats=2))
    run(ledger, experiment, bench)
    events = list(ledger.all(stream=stream(experiment)))
    assert states(verify(events))["trials"] == "holds"

    def dress(all_):
        proposed = next(
            each for each in all_ if each["kind"] == "trial.proposed" and each["body"]["arm"] == "nothing"
        )
        proposed["body"]["parameters"] = {"x": 0.5, "z": 0.0}

    assert "has not the parameters of the arm" in repr(verify(forged(events, dress)))


def test_an_end_that_the_rule_or_the_failures_called_for_holds(ledger, experiments, bench):
    rule = Sequential(metric="y", at_least=0.2, unit="degC")
    decided = experiments.create(
        specification(
            hypothesis=Hypothesis(statement="s", rule=rule, stopping="decided"), budget=Budget(trials=90)
        )
    )
    run(ledger, decided, bench)
    bench.failing = {"all"}
    failed = experiments.create(specification())
    run(ledger, failed, bench)
    assert "once the rule had decided" in repr(experiments.verify(decided))
    assert "in a row failed" in repr(experiments.verify(failed))
    assert experiments.verify(decided).ok
    assert experiments.verify(failed).ok


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
)


def _leaves(value, at=()):
    if isinstance(value, dict | list):
        yield at
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*at, name))
    else:
        yield at


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_body_there_is_a_report(ended, data):
    """Any value anywhere may be replaced by any other, with hashes that fit: verification says so, and never crashes."""
    place = data.draw(st.integers(0, len(ended) - 1))
    where = data.draw(st.sampled_from([at for at in _leaves(ended[place].body) if at]))
    value = data.draw(JSON)

    def replace(events):
        inner = events[place]["body"]
        for name in where[:-1]:
            inner = inner[name]
        inner[where[-1]] = value

    report = verify(forged(ended, replace))
    assert {check.state for check in report.checks} <= {"holds", "fails", "unknown"}
    json.dumps(report.as_dict(), allow_nan=False)


def test_what_no_hash_can_be_made_of_fails_and_is_no_crash(ended):
    body = {**ended[5].body, "x": float("inf")}
    report = verify([*ended[:5], dataclasses.replace(ended[5], body=body), *ended[6:]])
    assert states(report)["events"] == "fails"


def test_a_missing_event_is_seen(ended):
    for place in range(1, len(ended)):
        if place < len(ended) - 1:
            assert states(verify([*ended[:place], *ended[place + 1 :]]))["events"] == "fails"


def test_no_events_are_no_experiment():
    assert not verify([]).ok


def test_attachments_are_compared_with_their_hashes(ledger, bench, tmp_path):
    blobs = BlobStore(tmp_path / "blobs")
    spectrum = blobs.put(b"a spectrum")
    bench.observe = lambda _key: Observation({"y": (1.0, "degC", None)}, {"spectrum.csv": spectrum})
    experiments = store.LedgerExperiments(ledger, ALICE, blobs=blobs)
    experiment = experiments.create(specification(budget=Budget(trials=2)))
    run(ledger, experiment, bench)
    assert experiments.verify(experiment).ok
    assert states(experiments.verify(experiment))["chain"] == "holds"
    assert states(verify_in(ledger, experiment))["attachments"] == "unknown"
    file = blobs.path(spectrum)
    file.chmod(0o600)
    file.write_bytes(b"a nicer spectrum")
    assert "was changed" in repr(experiments.verify(experiment))
    file.unlink()
    report = experiments.verify(experiment)
    assert not report.ok
    assert "is missing" in repr(report)
    with pytest.raises(NotFound):
        store.LedgerExperiments(ledger, CAROL).verify(experiment)


def command(folder, *arguments):
    return subprocess.run(
        [str(Path(sys.executable).parent / "workbench"), "verify", *arguments, "--state", str(folder)],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def test_the_command_says_line_by_line_what_holds_and_answers_with_its_status(tmp_path):
    experiment, _ = done(tmp_path)
    held = command(tmp_path, experiment)
    assert held.returncode == 0, held.stderr
    assert held.stdout.count("holds") == 11
    assert command(tmp_path, "exp_none").returncode == 1
    assert command(tmp_path / "nowhere", experiment).returncode == 1
    assert command(tmp_path).returncode == 2
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'workbench.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER ledger_no_update"))
        edited = sa.func.replace(schema.events.c.body, '"supported"', '"undecided"')
        connection.execute(
            sa.update(schema.events).where(schema.events.c.kind == "finding.made").values(body=edited)
        )
    engine.dispose()
    broken = command(tmp_path, experiment, "--json")
    assert broken.returncode == 1
    report = json.loads(broken.stdout)
    assert report["ok"] is False
    assert {check["name"] for check in report["checks"] if check["state"] == "fails"} == {
        "chain",
        "events",
        "decision",
    }


def test_a_ledger_whose_end_was_cut_off_is_found_by_a_hash_that_was_written_down(tmp_path):
    experiment, _ = done(tmp_path)
    chain = re.search(r"up to (sha256:[0-9a-f]{64})", command(tmp_path, experiment).stdout)[1]
    held = command(tmp_path, experiment, "--known", chain)
    assert held.returncode == 0, held.stdout
    assert re.search(r"holds +known", held.stdout)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'workbench.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER ledger_no_delete"))
        last = sa.select(sa.func.max(schema.events.c.seq)).scalar_subquery()
        connection.execute(sa.delete(schema.events).where(schema.events.c.seq == last))
    engine.dispose()
    assert command(tmp_path, experiment).returncode == 0  # what is left is a whole chain
    cut = command(tmp_path, experiment, "--known", chain)
    assert cut.returncode == 1
    assert re.search(r"fails +known +There is no event " + chain, cut.stdout)
    assert "A whole hash is needed" in command(tmp_path, experiment, "--known", chain[:20]).stderr
