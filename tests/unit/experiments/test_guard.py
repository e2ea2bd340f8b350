"""A proposer that raises, hangs or dies is stopped and told, and the experiment goes on with its fall-back."""

from __future__ import annotations

import importlib.metadata
import os
import time

import pytest

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput
from genesis_workbench.experiments import Budget, Real, loop
from genesis_workbench.experiments.guard import Apart, ProposerFailed, _Process, in_thread
from genesis_workbench.experiments.planning import PATIENCE, plan
from genesis_workbench.experiments.proposers._base import CannotPropose
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import run, specification

BAD = {
    name: f"unit.experiments.bad_proposers:{name.title()}"
    for name in ("hangs", "raises", "dies", "leaves", "few")
}


@pytest.fixture
def bad(monkeypatch):
    """Proposers that do everything wrong, registered as other people's plug-ins are."""
    known = dict(plugins._registered("proposers"))
    for name, where in BAD.items():
        known[name] = importlib.metadata.EntryPoint(name, where, "genesis_workbench.proposers")
    monkeypatch.setattr(plugins, "_registered", lambda group: known if group == "proposers" else {})


@pytest.mark.parametrize(
    ("proposer", "words"),
    [
        ("raises", "raises failed: singular"),
        ("hangs", "hangs was stopped: it had proposed nothing after 0.2 s"),
        ("leaves", "must be between"),
    ],
)
def test_it_is_told_and_the_named_fall_back_goes_on(ledger, experiments, bench, bad, proposer, words):
    spec = specification(
        proposer=proposer, fall_back="random", proposer_limit_s=0.2, budget=Budget(trials=8), parallel=1
    )
    experiment = experiments.create(spec)
    state = run(ledger, experiment, bench)
    assert {trial.proposer for trial in state.trials} == {"random"}
    told = ledger.read(stream=stream(experiment), kinds=["proposer.failed"])
    assert len(told) == PATIENCE  # then it is not asked any more
    assert words in told[0].body["reason"]
    assert told[0].body["fall_back"] == "random"
    assert verify_in(ledger, experiment).ok


def test_one_that_does_not_know_how_is_replaced_without_being_called_a_failure(
    ledger, experiments, bench, bad
):
    experiment = experiments.create(specification(proposer="few", budget=Budget(trials=4), parallel=2))
    state = run(ledger, experiment, bench)
    assert {trial.proposer for trial in state.trials} == {"sobol"}
    assert state.proposer_failures == []
    assert (
        ledger.read(stream=stream(experiment), kinds=["trial.proposed"])[0]
        .body["because"]
        .startswith("few cannot be used")
    )


@pytest.fixture
def apart():
    made = Apart(processes=1)
    yield made
    made.close()


def settled(apart, state, count=1):
    for _ in range(6000):
        found = apart(state, count)
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("no answer came")


def test_a_process_of_its_own_proposes_the_same_as_this_one(ledger, experiments, bench, apart):
    experiment = experiments.create(specification(proposer="gp", budget=Budget(trials=9)))
    run(ledger, experiment, bench)
    state = fold(ledger.all(stream=stream(experiment)))
    state.spec = state.spec.model_copy(update={"budget": Budget(trials=20)})
    assert settled(apart, state, 2).trials == plan(state, 2).trials


def test_it_never_holds_up_whoever_asks_and_what_dies_or_hangs_is_killed(
    ledger, experiments, apart, monkeypatch
):
    state = fold(ledger.all(stream=stream(experiments.create(specification(proposer="gp")))))
    # The process is another one: what it does wrong is asked of it in its own words.
    spec, trials = state.spec.model_copy(update={"proposer_limit_s": 0.3}), []
    warm = apart.ask(state.spec, trials, "gp", 1)
    assert len(warm) == 1
    process = apart._idle.queue[0]._process
    process.kill()
    process.wait()
    with pytest.raises(ProposerFailed, match="process died"):
        apart.ask(spec, trials, "gp", 1)
    assert len(apart.ask(state.spec, trials, "gp", 1)) == 1
    monkeypatch.setattr("genesis_workbench.experiments.guard.json.dumps", lambda _question: "")
    stopped = apart._idle.queue[0]._process
    import signal

    stopped.send_signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded, match=r"gp was stopped: it had proposed nothing after 0\.3 s"):
        apart.ask(spec, trials, "gp", 1)
    assert stopped.poll() is not None


LOUD = '''
import os, subprocess, sys

class Loud:
    """Answers, and writes to standard output by every other way as well."""

    def propose(self, spec, trials, count):
        line = '{"points": [{"x": 0.125, "z": 0.125}]}\\n'
        print(line)
        os.write(1, line.encode())
        subprocess.run([sys.executable, "-c", f"import sys; sys.stdin.read(); print({line!r})"], check=True)
        return [{"x": spec.seed / 8, "z": 0.0}] * count
'''


@pytest.fixture
def loud(tmp_path, monkeypatch):
    """A proposer of another package, as a process of its own finds it."""
    (tmp_path / "loud_proposer.py").write_text(LOUD)
    package = tmp_path / "loud_proposer-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-proposer\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[genesis_workbench.proposers]\nloud = loud_proposer:Loud\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


def test_what_a_proposer_or_its_children_write_is_no_answer_to_anybody(loud, apart):
    for seed in (1, 2, 3):
        assert apart.ask(specification(seed=seed), [], "loud", 1) == [{"x": seed / 8, "z": 0.0}]
    assert len(apart._all) == 1


@pytest.mark.parametrize(
    "line", ["Solver 3.1, licensed to nobody", '{"points": [{"x": 1.0, "z": 1.0}], "id": 0}']
)
def test_a_process_that_writes_something_else_is_ended_and_not_asked_again(apart, line):
    process = _Process()
    apart._all.add(process)
    apart._idle.put(process)
    process._lines.put(line)
    with pytest.raises(ProposerFailed, match="something else than an answer"):
        apart.ask(specification(), [], "gp", 1)
    assert process._process.poll() is not None
    assert apart._idle.empty()
    assert not apart._all


def test_an_answer_that_comes_too_late_goes_to_nobody(apart):
    slow = specification(proposer_limit_s=0.01)  # importing takes longer
    with pytest.raises(DeadlineExceeded):
        apart.ask(slow, [], "gp", 1)
    assert apart._idle.empty()


def test_what_it_raises_there_is_raised_here(experiments, ledger, apart):
    from genesis_workbench.experiments import Categorical, When

    space = (Categorical("c", ["a", "b"]), Real("x", 0, 1), Real("z", 0, 1, when=When("c", ["a"])))
    with pytest.raises(CannotPropose, match="'z'"):
        apart.ask(specification(space=space), [], "cma", 1)


def test_a_hanging_proposer_in_a_notebook_is_left_behind(bad):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        in_thread(specification(proposer_limit_s=0.1), [], "hangs", 1)
    assert time.monotonic() - started < 30  # it hangs for minutes


def test_points_that_people_add_come_first_and_an_experiment_may_live_from_them(ledger, experiments, bench):
    experiment = experiments.create(specification(proposer="person", budget=Budget(trials=3), parallel=2))
    executors = {"bench": bench}
    for _ in range(3):
        state = loop.advance(ledger, experiment, None, executors)
    assert (state.state, state.trials) == ("running", [])
    experiments.add_points(experiment, [{"x": 0.1, "z": 0.2}, {"x": 0.3, "z": 0.4}, {"x": 0.5, "z": 0.6}])
    state = run(ledger, experiment, bench)
    assert [trial.parameters for trial in state.trials] == [
        {"x": 0.1, "z": 0.2},
        {"x": 0.3, "z": 0.4},
        {"x": 0.5, "z": 0.6},
    ]
    assert {trial.proposer for trial in state.trials} == {"person"}
    assert verify_in(ledger, experiment).ok
    mixed = experiments.create(specification(budget=Budget(trials=4), parallel=2))
    loop.advance(ledger, mixed, None, executors)
    experiments.add_points(mixed, [{"x": 0.9, "z": 0.9}])
    state = run(ledger, mixed, bench)
    assert [trial.proposer for trial in state.trials] == ["sobol", "sobol", "person", "sobol"]
    other = experiments.create(specification())
    with pytest.raises(InvalidInput, match="must be between"):
        experiments.add_points(other, [{"x": 2, "z": 0}])
