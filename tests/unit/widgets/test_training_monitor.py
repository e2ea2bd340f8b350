"""The training monitor without a browser: a real run on this machine, followed, stopped, resumed with more budget, refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import genesis_workbench as gw
from genesis_workbench import catalog, models
from genesis_workbench.core.errors import NotFound

TINY = Path(__file__).parents[2] / "system" / "training" / "tiny"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for each in (catalog._catalog, models._zoo):
        each.cache_clear()
    yield
    for each in (catalog._catalog, models._zoo):
        each.cache_clear()


@pytest.fixture
def monitor():
    opened = []

    def make(*arguments):
        opened.append(gw.TrainingMonitor(*arguments))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def until(true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def say(widget, command, **more):
    widget._command(widget, {"command": command, "run": widget.chosen, **more}, [])
    until(lambda: not widget.busy)


@pytest.mark.slow  # two real jobs, each of which imports torch
@pytest.mark.timeout(300)
def test_a_run_is_followed_stopped_and_resumed_and_found_again(monitor):
    empty = monitor()
    assert empty.shown == {}, "nothing was trained yet"
    run = gw.train(TINY, name="tiny", epochs=100_000, log_steps=1, budget_node_hours=1)
    shown = monitor(run)
    until(lambda: shown.shown["step"] > 20)
    assert shown.shown["state"] == "active"
    assert shown.shown["budget_node_hours"] == 1
    assert shown.shown["node_hours"] > 0
    assert shown.shown["samples_per_s"] > 0
    assert shown.curves["training"][0][0] >= 1
    assert shown.curves["validation"]
    say(shown, "resume")
    assert "Wait for it, or stop() it first" in shown.message
    say(shown, "stop")
    until(lambda: shown.shown["can_resume"])
    assert shown.shown["state"] == "canceled"
    assert shown.shown["ended"] == "told to end"
    assert shown.shown["checkpoints"][-1]["step"] == shown.shown["step"]
    say(shown, "resume", budget_node_hours="much")
    assert "is no number of node-hours" in shown.message
    saved = shown.shown["step"]
    say(shown, "resume", budget_node_hours=shown.shown["node_hours"] + 1e-4)
    assert shown.message == ""
    until(lambda: shown.shown["ended"] == "budget")
    assert shown.shown["attempt"] == 2
    assert shown.shown["step"] > saved
    assert shown.shown["can_resume"], "with more budget"
    say(shown, "register")
    assert "is spent" in shown.message
    until(lambda: empty.chosen == run.id)
    assert monitor().shown["run"] == run.id, "what was looked at last"


def test_it_says_which_run_there_is_not(monitor):
    with pytest.raises(NotFound, match=r"no training run 'trn_none'.*gw\.training\.runs"):
        monitor("trn_none")


def test_a_page_can_ask_only_for_what_it_shows(monitor):
    widget = monitor()
    for content in (None, {"command": "stop", "run": "trn_other"}, {"command": "rm"}, {"command": "choose"}):
        widget._command(widget, content, [])
    assert (widget.message, widget.busy) == ("", "")
