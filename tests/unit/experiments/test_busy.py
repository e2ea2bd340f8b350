"""An experiment that a notebook advances in a thread of its own keeps the server; one that waits for a person does not."""

from __future__ import annotations

import contextlib
import threading

import pytest

from genesis_workbench.core import busy
from genesis_workbench.core.errors import Conflict
from genesis_workbench.experiments import Approval, Budget, loop
from unit.experiments.bench import specification, until


@pytest.fixture(autouse=True)
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/alice/")
    # A moment is what two minutes are elsewhere.
    monkeypatch.setattr(busy, "_FRESH_S", 1.0)
    monkeypatch.setattr(busy, "_AGAIN_S", 0.1)


@pytest.fixture
def follow(experiments):
    """Follow an experiment in a thread, as a widget does; it is stopped at the end."""
    threads = []

    def begin(experiment):
        threads.append(threading.Thread(target=lambda: list(experiments.follow(experiment))))
        threads[0].start()
        return experiment

    yield begin
    for experiment in [each["id"] for each in experiments.summaries() if each["state"] != "ended"]:
        with contextlib.suppress(Conflict):  # its last trial may be done by now
            experiments.command(experiment, "stop")
    for thread in threads:
        thread.join(30)


def test_an_experiment_under_way_keeps_the_server_until_it_has_ended(experiments, bench, follow):
    bench.slow = True
    follow(experiments.create(specification(title="Film", budget=Budget(trials=2))))
    until(lambda: bench.ran)
    for _ in range(24):  # longer than what was once said is believed
        threading.Event().wait(0.05)
        assert busy.heard() == ["the experiment Film"]
    bench.slow = False
    until(lambda: busy.heard() == [])
    assert experiments.summaries()[0]["state"] == "ended"


def test_a_proposer_that_thinks_for_long_keeps_the_server(experiments, monkeypatch, follow):
    thinks, done, advance = threading.Event(), threading.Event(), loop.advance

    def slowly(*given, **more):
        thinks.set()
        done.wait(30)
        return advance(*given, **more)

    monkeypatch.setattr(loop, "advance", slowly)
    follow(experiments.create(specification(title="Film")))
    assert thinks.wait(30)
    for _ in range(24):
        threading.Event().wait(0.05)
        assert busy.heard() == ["the experiment Film"]
    done.set()


def test_an_experiment_that_waits_for_a_person_does_not(experiments, follow):
    waiting = specification(title="Film", approval=Approval(policy="each"))
    experiment = follow(experiments.create(waiting))
    until(lambda: experiments.pending(experiment))
    until(lambda: busy.heard() == [])
    assert experiments.summary(experiment)["state"] == "running"
