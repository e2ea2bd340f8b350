"""Inside a hub the service asks for calls of a notebook's function: made once, told once, by whoever waits; decided by a person after a crash."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import pytest

from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    PermissionRefused,
    Unavailable,
)
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments import (
    Budget,
    Experiment,
    Hypothesis,
    Objective,
    Real,
    Run,
    Threshold,
    calling,
    loop,
    notebook,
    store,
)
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors import _identity, function
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.people import Returned
from unit.experiments.bench import ALICE, BOB, specification, until

SITE = Site(name="test")


class Behind:
    """What a notebook of a person has of the service: everything but its ledger."""

    alone = False

    def __init__(self, ledger, person, executors):
        self._there = store.LedgerExperiments(ledger, person, service=True, executors=executors)

    def __getattr__(self, name):
        return getattr(self._there, name)

    def follow(self, experiment, after=0, *, beat_s=None):
        def events(beat_s):
            seen, beat = after, time.monotonic()
            while True:
                ended = self._there.ended(experiment)
                for event in self._there.events(experiment, seen):
                    seen = event["seq"]
                    yield event
                if ended:
                    return
                time.sleep(0.01)
                if beat_s is not None and time.monotonic() - beat > beat_s:
                    beat = time.monotonic()
                    yield None

        return calling.attended(self, experiment, events, beat_s)


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")) as opened:
        yield opened


@pytest.fixture
def service(tmp_path, ledger):
    """The service's executors, with a runner that takes turns."""
    executors = Executors(Place(SITE, State(tmp_path / "service"), service=True))
    over = threading.Event()

    def run():
        while not over.wait(0.02):
            for event in store.all_created(ledger):
                try:
                    loop.advance(ledger, event.stream.removeprefix("experiment/"), None, executors)
                except Conflict:
                    continue  # somebody said something in between

    runner = threading.Thread(target=run)
    runner.start()
    yield executors
    over.set()
    runner.join()


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return a function that begins as a new kernel of a home would: nothing is known but what is in the home."""

    def begin(home="home"):
        mine = Executors(Place(SITE, State(tmp_path / home)))
        monkeypatch.setattr(_identity, "_functions", {})
        monkeypatch.setattr(store, "local_executors", lambda: mine)
        return mine["function"]

    monkeypatch.setattr(calling, "_LOOK_S", 0.05)
    monkeypatch.setattr(calling, "me", lambda: ALICE)
    begin()
    return begin


@pytest.fixture
def alice(ledger, service, kernel, monkeypatch):
    behind = Behind(ledger, ALICE, service)
    monkeypatch.setattr(notebook, "store", lambda: behind)
    return behind


def experiment(executor, **changes):
    fields = {
        "title": "t",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.5)),
        "space": [Real("x", 0, 1)],
        "objective": Objective("y"),
        "proposer": "sobol",
        "budget": Budget(trials=5),
        "groups": ("solar",),
    }
    return Experiment(executor=executor, **{**fields, **changes})


def test_a_function_runs_in_the_notebook_that_waits_and_its_outcomes_are_as_of_any_executor(alice):
    def bake(x):
        if x > 0.8:
            raise ValueError("too hot")
        return {"y": (x, 0.1), "temperature": 300, "odd": float("nan") if x < 0.3 else "hot"}

    run = experiment(
        bake, executor_arguments={"outcomes": {"temperature": "K"}}, budget=Budget(trials=8)
    ).launch()
    assert run.wait(timeout_s=60)["decision"] == "supported"
    trials = run.trials()
    failed = trials[trials.x > 0.8]
    assert len(failed)
    assert set(failed.reason) == {"ValueError: too hot"}
    good = trials[trials.x <= 0.8]
    assert good.y.tolist() == good.x.tolist()
    first = next(trial for trial in run.state().trials if trial.state == "observed")
    assert first.values["temperature"] == {"value": 300, "unit": "K"}
    assert first.values["y"]["uncertainty"] == 0.1
    odd = {body["unusable"]["odd"] for event in run.events() if (body := event["body"]).get("unusable")}
    assert {"nan" in why or "hot" in why for why in odd} == {True}
    assert len(odd) == 2
    assert run.verify().ok


def test_whoever_waits_besides_makes_no_call_again(alice):
    called = []
    run = experiment(lambda x: called.append(x) or x, parallel=4, budget=Budget(trials=20)).launch()
    others = [threading.Thread(target=lambda: list(run.follow())) for _ in range(3)]
    for other in others:
        other.start()
    run.wait(timeout_s=60)
    for other in others:
        other.join(60)
    assert sorted(called) == sorted(run.trials().x)


def test_an_experiment_that_is_stopped_lets_go_of_calls_that_hang(alice, monkeypatch):
    monkeypatch.setattr(function, "_MOST_AT_ONCE", 1)
    go = threading.Event()
    run = experiment(lambda x: go.wait(60) and x).launch()
    with pytest.raises(DeadlineExceeded):
        run.wait(timeout_s=1)
    run.stop("it hangs")
    run.wait(timeout_s=60)
    assert experiment(lambda x: x).launch().wait(timeout_s=60)["evidence"]["observed"] == 5
    go.set()


def test_nothing_is_called_while_nobody_waits_and_the_queue_says_so(alice):
    called = []
    run = experiment(lambda x: called.append(x) or x, parallel=1).launch()
    [asked] = until(run.queue)
    assert "waits for the notebook that has its function" in asked["words"]
    assert called == run.pending() == []
    run.wait(timeout_s=60)
    assert len(called) == 5


def test_of_a_call_that_a_dead_kernel_cut_off_a_person_decides(alice, kernel):
    def f(x):
        return x

    run = experiment(f, parallel=1).launch()
    until(run.queue)
    [key] = [event["body"]["key"] for event in run.events() if event["kind"] == "trial.started"]
    kernel()._notes.begin(key, {"process": [socket.gethostname(), 2**22 + 1, 0.0]})
    _identity.name_of(f)  # the cell that defines it is run again
    waiting = threading.Thread(target=lambda: run.wait(timeout_s=60))
    waiting.start()
    [asked] = until(run.pending)
    assert asked["for"] == "resolution"
    assert "not known" in asked["why"]
    run.resolve(1, "again")
    waiting.join(60)
    assert run.status()["trials"]["observed"] == 5


def test_what_could_not_be_told_is_told_later(alice, monkeypatch):
    tell, lost = alice._there.tell, []

    def away(*told):
        if len(lost) < 3:
            lost.append(told)
            raise Unavailable("The service does not answer.")
        tell(*told)

    monkeypatch.setattr(alice._there, "tell", away)
    called = []
    run = experiment(lambda x: called.append(x) or x).launch()
    run.wait(timeout_s=60)
    assert len(lost) == 3
    assert len(called) == run.status()["trials"]["observed"] == 5


def test_a_kernel_without_the_function_is_told_what_to_run_again(alice, kernel, monkeypatch):
    monkeypatch.setattr(calling, "_PATIENCE_S", 0.2)
    run = experiment(lambda x: x).launch()
    kernel()
    with pytest.raises(Unavailable, match="describe the experiment with it again"):
        run.wait(timeout_s=60)
    again = experiment(lambda x: 2 * x)
    with pytest.raises(Unavailable):
        run.wait(timeout_s=60)
    assert again.launch().wait(timeout_s=60)
    assert run.status()["trials"]["observed"] == 0


def test_only_the_notebooks_of_who_launched_it_are_heard(alice, ledger, service, monkeypatch):
    called = []
    run = experiment(lambda x: called.append(x) or x, parallel=1).launch()
    until(run.queue)
    [key] = [event["body"]["key"] for event in run.events() if event["kind"] == "trial.started"]
    bob = Behind(ledger, BOB, service)
    with pytest.raises(PermissionRefused, match="Only alice"):
        bob.tell(run.id, 1, key, Returned(values={"y": {"value": 9.0}}))
    monkeypatch.setattr(calling, "me", lambda: BOB)
    following = bob.follow(run.id, beat_s=0.05)
    while next(following) is not None:
        pass
    assert called == []
    monkeypatch.setattr(calling, "me", lambda: ALICE)
    # A call of an execution that nobody asked for changes nothing, nor does the second word on one.
    alice.tell(run.id, 1, "another", Returned(values={"y": {"value": 9.0}}))
    alice.tell(run.id, 1, key, Returned(values={"y": {"value": 0.25}}))
    alice.tell(run.id, 1, key, Returned(failed="no"))
    run.wait(timeout_s=60)
    assert run.trials().y[1] == 0.25
    assert len(called) == 4
    alice.tell(run.id, 1, key, Returned(failed="it has ended"))
    assert run.trials().y[1] == 0.25


def test_what_another_executor_does_cannot_be_told(alice):
    spec = specification(executor="person", executor_arguments={"outcomes": {"y": "degC"}})
    run = Run(alice.create(spec), alice)
    until(run.pending)
    key = next(event["body"]["key"] for event in run.events() if event["kind"] == "trial.started")
    with pytest.raises(Conflict, match="tells itself"):
        alice.tell(run.id, 1, key, Returned(values={"y": {"value": 1.0, "unit": "degC"}}))


@pytest.mark.parametrize("became", [{}, {"values": {}}, {"values": {"y": {"value": 1.0}}, "failed": "no"}])
def test_a_call_has_become_one_thing(became):
    with pytest.raises(InvalidInput, match=r"give one of them|at least 1"):
        Returned(**became)
