"""Waiting for an experiment in a bare notebook: it ends in time, says what is wanted, and one process at a time advances."""

from __future__ import annotations

import os
import socket
import threading
import time

import httpx
import pytest

from genesis_workbench.core import service as service_of
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.service import Service
from genesis_workbench.experiments import Approval, Budget, Run, advancing, loop, store
from genesis_workbench.experiments.executors._base import Unknown
from genesis_workbench.experiments.remote import RemoteExperiments
from genesis_workbench.experiments.state import stream
from unit.experiments.bench import ALICE, specification, until


@pytest.fixture
def launch(experiments):
    return lambda **changes: Run(experiments.create(specification(**changes)), experiments)


def kinds(run):
    return [event["kind"] for event in run.events()]


def test_a_wait_ends_in_time_while_nothing_happens(launch, bench):
    bench.slow = True
    run = launch()
    with pytest.raises(DeadlineExceeded, match=r"still running after 0.5 s. It goes on when you wait again"):
        run.wait(timeout_s=0.5)
    bench.slow = False
    assert run.wait(timeout_s=60)["decision"] == "supported"


def test_a_wait_for_points_says_so(launch):
    run = launch(proposer="person", budget=Budget(trials=1))
    with pytest.raises(Conflict, match=r"waits for points.*add_points\(\)"):
        run.wait(timeout_s=60)
    run.add_points({"x": 0.4, "z": 0.7})
    assert run.wait(timeout_s=60)["decision"] == "supported"


def test_a_wait_for_a_paused_experiment_says_how_it_goes_on(launch):
    run = launch()
    run.pause("tea")
    for ask in (run.wait, run.finding):
        with pytest.raises(Conflict, match=r"paused.*resume\(\)"):
            ask()
    run.resume()
    assert run.wait(timeout_s=60)["decision"] == "supported"


def test_a_wait_for_approvals_goes_as_far_as_it_can_and_names_them(launch, bench):
    run = launch(approval=Approval("first", first=1), parallel=2, budget=Budget(trials=3))
    with pytest.raises(Conflict, match=r"waits for a person: trial 1 for approval. See pending\(\)"):
        run.wait(timeout_s=60)
    assert [trial.state for trial in run.state().trials] == ["waiting", "observed", "observed"]
    run.approve(1)
    assert run.wait(timeout_s=60)["decision"] == "supported"


def test_all_events_of_a_long_experiment_come(launch, bench):
    run = launch(proposer="random", budget=Budget(trials=350))
    run.wait(timeout_s=120)
    assert len(list(run.follow())) == len(run.events()) > 1000


def test_nothing_is_slept_over_while_there_is_progress(launch, monkeypatch):
    slept = []
    monkeypatch.setattr(store, "time", _Counting(slept))
    launch(budget=Budget(trials=12), parallel=1).wait(timeout_s=60)
    assert slept == []


def test_pauses_grow_with_what_is_waited_for(launch, bench, monkeypatch):
    slept = []
    monkeypatch.setattr(store, "time", _Counting(slept))
    bench.slow = True
    run = launch()
    for _, event in zip(range(100), run._store.follow(run.id, beat_s=1), strict=False):
        if event is None and len(slept) > 60:
            break
    assert slept[0] == 0.005
    assert sorted(slept) == slept
    assert slept[-1] == 0.2


class _Counting:
    def __init__(self, slept):
        self._slept = slept

    def sleep(self, seconds):
        self._slept.append(seconds)


@pytest.fixture
def other(ledger):
    """Another process, which holds the lease on an experiment."""
    leases = Leases(ledger.engine)
    return lambda experiment, ttl_s=60: leases.acquire(stream(experiment), "elsewhere:1", ttl_s)


def test_who_does_not_hold_the_lease_only_looks(launch, bench, other, ledger):
    """As a page of progress in a second notebook does."""
    run = launch(budget=Budget(trials=2))
    lease = other(run.id)
    loop.advance(ledger, run.id, lease, {"bench": bench})
    # This process knows nothing of the trials that the other one computes.
    bench.observe = lambda _key: Unknown("who knows")
    with pytest.raises(DeadlineExceeded):
        run.wait(timeout_s=1)
    assert "trial.unknown" not in kinds(run)
    del bench.observe
    while loop.advance(ledger, run.id, lease, {"bench": bench}).state != "ended":
        pass
    assert run.wait(timeout_s=60)["decision"] == "supported"


def test_who_died_is_followed_at_once_and_who_hangs_when_its_lease_runs_out(launch, ledger, other):
    run, dead = launch(budget=Budget(trials=2)), _number_of_none()
    Leases(ledger.engine).acquire(stream(run.id), f"{socket.gethostname()}:{dead}", 3600)
    assert run.wait(timeout_s=60)["decision"] == "supported"
    run = launch(budget=Budget(trials=2))
    other(run.id, ttl_s=1)
    assert run.wait(timeout_s=60)["decision"] == "supported"


def _number_of_none():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_the_lease_is_let_go_with_the_last_look(launch, ledger, bench):
    run, leases = launch(), Leases(ledger.engine)
    bench.slow = True
    following = run._store.follow(run.id, beat_s=1)
    until(lambda: next(following) is None)
    assert leases.holder(stream(run.id)) == f"{socket.gethostname()}:{os.getpid()}"
    following.close()
    assert leases.holder(stream(run.id)) is None


def test_a_lease_is_held_through_a_long_turn(launch, ledger, monkeypatch):
    monkeypatch.setattr(advancing, "_TTL_S", 0.6)
    begun, go, advance = threading.Event(), threading.Event(), loop.advance

    def slowly(*given, **more):
        begun.set()
        go.wait(30)
        return advance(*given, **more)

    monkeypatch.setattr(loop, "advance", slowly)
    run = launch(budget=Budget(trials=2))
    waiting = threading.Thread(target=run.wait)
    waiting.start()
    begun.wait(30)
    for _ in range(15):
        assert Leases(ledger.engine).acquire(stream(run.id), "elsewhere:1", 60) is None
        time.sleep(0.1)
    go.set()
    waiting.join(60)
    assert run.finding()["decision"] == "supported"


def test_two_threads_of_one_notebook_take_turns_one_at_a_time(launch, monkeypatch):
    """As a cell that waits and a page of progress do."""
    inside, most, advance = [], [], loop.advance

    def counting(*given, **more):
        inside.append(1)
        most.append(len(inside))
        try:
            return advance(*given, **more)
        finally:
            inside.pop()

    monkeypatch.setattr(loop, "advance", counting)
    run, found = launch(), []
    threads = [threading.Thread(target=lambda: found.append(run.wait(timeout_s=60))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert [each["decision"] for each in found] == ["supported"] * 3
    assert max(most) == 1


class Quiet(Service):
    """A service that says nothing but that it is there."""

    def __init__(self, events):
        self._events = events

    def get(self, path, **params):
        after = params.get("after", 0)
        return {"items": [event for event in self._events if event["seq"] > after]}

    def events(self, path, after=0, *, idle_s=60, beat_s=None):
        assert beat_s is not None
        while True:
            time.sleep(0.05)
            yield None


def test_a_wait_for_the_service_ends_in_time_and_says_what_it_waits_for(launch):
    run = launch(approval=Approval("each"), parallel=1)
    with pytest.raises(Conflict):
        run.wait(timeout_s=60)
    there = Run(run.id, RemoteExperiments(Quiet(run.events())))
    with pytest.raises(
        DeadlineExceeded, match=r"after 0.2 s, and waits for a person: trial 1 for approval.*It goes on; wait"
    ):
        there.wait(timeout_s=0.2)
    run.pause("tea")
    there = Run(run.id, RemoteExperiments(Quiet(run.events())))
    with pytest.raises(Conflict, match=r"paused \(tea\).*resume\(\)"):
        there.wait(timeout_s=60)


class Dribble(httpx.SyncByteStream):
    """An answer that comes in parts, and may stop coming."""

    def __init__(self, *parts):
        self._parts = parts

    def __iter__(self):
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part


def test_a_silent_stream_of_events_beats_and_goes_on_after_the_last_event():
    asked = []
    answers = [
        Dribble(b'data: {"seq": 1}\n\n', b": still here\n\n", httpx.ReadTimeout("silent")),
        Dribble(b'data: {"seq": 2}\n\n', b"event: end\ndata: {}\n\n"),
    ]

    def answer(request):
        asked.append((request.url.params["after"], request.extensions["timeout"]["read"]))
        return httpx.Response(200, stream=answers[len(asked) % 2 - 1])

    service = Service("http://hub.invalid", "token")
    service.close()
    service._http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://hub.invalid/api/")
    assert list(service.events("x", beat_s=2)) == [{"seq": 1}, None, None, {"seq": 2}]
    assert asked == [("0", 2), ("1", 2)]
    # Who asks for no beats gets none.
    assert list(service.events("x")) == [{"seq": 1}, {"seq": 2}]
    assert asked[2:] == [("0", 60), ("1", 60)]
    service.close()


def test_a_stream_that_ends_too_early_is_not_asked_for_again_without_a_pause(monkeypatch):
    slept = []
    monkeypatch.setattr(service_of.time, "sleep", slept.append)
    answers = [Dribble(b'data: {"seq": 1}\n\n'), Dribble(), Dribble(b"event: end\ndata: {}\n\n")]
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=answers.pop(0)))
    service = Service("http://hub.invalid", "token")
    service.close()
    service._http = httpx.Client(transport=transport, base_url="http://hub.invalid/api/")
    assert list(service.events("x")) == [{"seq": 1}]
    assert len(slept) == 2
    assert all(0 < pause <= service_of._AGAIN_S for pause in slept)
    service.close()


def test_an_executor_that_lacks_something_here_is_named(launch, bench):
    """It was launched where a laboratory could be reached."""

    def away(*_):
        raise Unavailable("gone")

    def lacking(_arguments):
        raise NotFound("No laboratory here.")

    run = launch(budget=Budget(trials=2))
    # One that does not answer is asked again, and holds nobody's wait up.
    bench.submit, bench.check = away, away
    with pytest.raises(DeadlineExceeded):
        run.wait(timeout_s=1)
    bench.check = lacking
    with pytest.raises(Unavailable, match="No laboratory here"):
        run.wait(timeout_s=60)
    assert "trial.failed" not in kinds(run)
    del bench.submit, bench.check
    assert run.wait(timeout_s=60)["decision"] == "supported"
    assert ALICE.name == run.state().owner
