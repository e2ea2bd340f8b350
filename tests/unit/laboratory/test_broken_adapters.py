"""An adapter that raises, lies or hangs costs its own device, and nothing else of the laboratory."""

from __future__ import annotations

import threading

import pytest

from genesis_workbench.core.errors import DeadlineExceeded
from genesis_workbench.experiments.instruments import watch
from genesis_workbench.experiments.instruments._base import DeviceState, Done
from unit.laboratory.twins import do, ended, gateway, mix, plan, wait_until


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(watch, "_EVERY_S", 0.1)


def broken(*_):
    raise KeyError("temperature")


def status(lab, name):
    return next(each for each in lab.state()["devices"] if each["name"] == name)


def test_a_state_that_raises_is_silence_and_the_watch_goes_on(lab):
    instrument = lab.devices["furnace"].instrument
    state = instrument.state
    for answer in (broken, lambda: None):
        instrument.state = answer
        wait_until(lambda: status(lab, "furnace")["status"] == "does not answer")
        assert "adapter of furnace" in status(lab, "furnace")["reason"]
        instrument.state = state
        wait_until(lambda: status(lab, "furnace")["status"] == "idle")
    assert all(thread.is_alive() for thread in lab._threads)


def test_a_reading_that_is_no_number_is_shown_in_words(lab):
    lab.devices["furnace"].instrument.state = lambda: DeviceState("idle", {"temperature": float("nan")})
    wait_until(lambda: status(lab, "furnace")["readings"] == {"temperature": "nan"})


def test_a_stop_that_raises_is_told_and_the_others_are_stopped(lab):
    lab.devices["handler"].instrument.stop = broken
    answer = lab.stop("alice", "smoke")["devices"]
    assert "KeyError: 'temperature'" in answer["handler"]
    assert (answer["furnace"], answer["spectrometer"]) == ("stopped", "stopped")


@pytest.mark.parametrize("answer", [broken, lambda key: "done"])
def test_an_outcome_that_is_none_leaves_the_plan_unknown_and_not_running_for_ever(twin, tmp_path, answer):
    lab = gateway(twin.folder, tmp_path / "lab", patience_s=0.3)
    lab.devices["handler"].instrument.outcome = answer
    lab.submit(plan("p", mix("s")))
    found = ended(lab, "p")
    assert found["state"] == "unknown"
    assert "adapter of handler" in found["reason"]
    # What waits for other devices goes on.
    lab.submit(plan("q", do("furnace", "open_door")))
    assert ended(lab, "q")["state"] == "done"
    lab.close()


def test_a_start_that_raises_may_have_been_heard(lab, twin):
    instrument = lab.devices["handler"].instrument
    start = instrument.start

    def heard(*arguments):
        start(*arguments)
        raise RuntimeError("the answer was cut off")

    instrument.start = heard
    lab.submit(plan("p", mix("s")))
    assert ended(lab, "p")["state"] == "done"
    assert twin.ran() == [("handler", "mix")]


def test_an_uncertainty_that_is_no_number_fails_the_step(lab):
    values = {"dispensed_iodide": 1.0, "dispensed_bromide": 1.0}
    lab.devices["handler"].instrument.outcome = lambda key: Done(values, {"dispensed_iodide": float("nan")})
    lab.submit(plan("p", mix("s")))
    assert "finite number was expected" in ended(lab, "p")["reason"]


def test_a_silent_device_delays_no_plan_that_does_not_need_it(lab):
    gate = threading.Event()

    def hang():
        gate.wait(30)
        raise DeadlineExceeded("no answer")

    lab.devices["spectrometer"].instrument.state = hang
    lab.submit(plan("p", do("furnace", "open_door"), do("furnace", "close_door"), mix("s")))
    assert ended(lab, "p")["state"] == "done"
    assert not gate.is_set()
    gate.set()


def test_an_unknown_plan_on_a_silent_device_delays_no_other(twin, tmp_path):
    twin.world._scale = 60.0
    lab, gate = gateway(twin.folder, tmp_path / "lab", patience_s=0.2), threading.Event()
    lab.submit(plan("u", mix("a")))
    wait_until(twin.ran)
    asked = []

    def hang(key):
        asked.append(key)
        gate.wait(0.1 if len(asked) < 5 else 30)
        raise DeadlineExceeded("no answer")

    lab.devices["handler"].instrument.outcome = hang
    assert ended(lab, "u")["state"] == "unknown"
    wait_until(lambda: len(asked) >= 5)
    twin.world._scale = 36_000.0
    for key in ("p", "q"):
        lab.submit(plan(key, do("furnace", "open_door")))
        assert ended(lab, key)["state"] == "done"
    assert not gate.is_set()
    gate.set()
    lab.close()
