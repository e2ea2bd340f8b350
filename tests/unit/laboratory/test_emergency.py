"""The emergency stop holds against a reset that is under way, a device that missed it, and a disk that is full."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable
from genesis_workbench.experiments.instruments import gateway as engine
from genesis_workbench.experiments.instruments import watch
from genesis_workbench.experiments.instruments.laboratories import Laboratory
from genesis_workbench.experiments.instruments.simulated import twin as devices
from unit.laboratory.twins import anneal, ended, gateway, load, mix, plan, section, wait_until

NAMES = ("handler", "furnace", "spectrometer")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(watch, "_EVERY_S", 0.1)


def statuses(twin):
    return {twin.world.state(name)["status"] for name in NAMES}


def full(*_):
    raise sqlite3.OperationalError("database or disk is full")


def held(instrument):
    """Let a device's first stop hang; return what is set once it does, and what lets it go on."""
    entered, gate, stop = threading.Event(), threading.Event(), instrument.stop

    def slowly():
        if not entered.is_set():
            entered.set()
            gate.wait(20)
        stop()

    instrument.stop = slowly
    return entered, gate


def test_a_stop_that_comes_while_devices_are_released_holds_on(lab, twin):
    lab.stop("alice", "first")
    instrument, entered, gate, told = (
        lab.devices["handler"].instrument,
        threading.Event(),
        threading.Event(),
        [],
    )
    release = instrument.release

    def slowly():
        entered.set()
        gate.wait(20)
        release()

    def reset():
        with pytest.raises(Conflict, match="carol stopped the laboratory while it was being reset") as caught:
            lab.reset("bob", "it looks fine")
        told.append(caught.value)

    instrument.release = slowly
    thread = threading.Thread(target=reset)
    thread.start()
    assert entered.wait(20)
    assert set(lab.stop("carol", "FIRE")["devices"].values()) == {"stopped"}, "a stop waits for no reset"
    gate.set()
    thread.join()
    assert told
    assert lab.state()["stop"]["why"] == "FIRE"
    wait_until(lambda: statuses(twin) == {"stopped"})
    lab.submit(plan("after", mix("z")))
    lab._begin_what_can()
    assert lab.plan("after")["state"] == "queued"
    instrument.release = release
    lab.close()
    again = gateway(twin.folder, lab.folder)
    assert again.state()["stop"]["why"] == "FIRE", "in the journal too"
    again.reset("bob", "it is out")
    assert ended(again, "after")["state"] == "done"
    again.close()


def test_nothing_is_released_while_devices_are_still_told_to_stop(lab, twin):
    entered, gate = held(lab.devices["handler"].instrument)
    thread = threading.Thread(target=lab.stop, args=("alice", "smoke"))
    thread.start()
    assert entered.wait(20)
    with pytest.raises(Conflict, match="still being told to stop"):
        lab.reset("bob", "it looks fine")
    gate.set()
    thread.join()
    lab.reset("bob", "it looks fine")
    assert statuses(twin) == {"idle"}


def test_a_device_that_was_out_of_reach_is_stopped_as_soon_as_it_answers(twin, tmp_path):
    twin.world._scale = 600.0
    lab = gateway(twin.folder, tmp_path / "lab", patience_s=60)
    lab.submit(plan("hot", mix("s", 20, 0), load("s"), anneal(300, 86_000)))
    wait_until(lambda: ("furnace", "anneal") in twin.ran())
    # The line is cut; the device itself goes on.
    twin._server.shutdown()
    twin._thread.join()
    twin._server.server_close()
    assert lab.stop("alice", "smoke")["devices"]["furnace"].startswith("does not answer")
    assert twin.world.state("furnace")["status"] == "busy"
    twin._server = devices.serve(twin.world, twin.folder)
    twin._thread = threading.Thread(target=twin._server.serve_forever, kwargs={"poll_interval": 0.01})
    twin._thread.start()
    wait_until(lambda: statuses(twin) == {"stopped"})
    wait_until(lambda: set(lab.state()["stop"]["devices"].values()) == {"stopped"})
    assert ended(lab, "hot")["state"] == "failed"
    lab.close()
    again = gateway(twin.folder, tmp_path / "lab")
    assert set(again.state()["stop"]["devices"].values()) == {"stopped"}, "it is written down"
    again.close()


def test_a_device_that_was_switched_off_and_on_is_stopped_again(lab, twin):
    lab.stop("alice", "smoke")
    twin.off()
    twin.on()
    wait_until(lambda: statuses(twin) == {"stopped"})
    lab.reset("alice", "looked")
    assert statuses(twin) == {"idle"}
    wait_until(lambda: all(each["status"] == "idle" for each in lab.state()["devices"]))
    assert statuses(twin) == {"idle"}, "nobody is told of a stop that is over"


def test_a_stop_that_cannot_be_written_down_holds_and_says_so(lab, twin, monkeypatch):
    keep = lab.journal.keep
    monkeypatch.setattr(lab.journal, "keep", full)
    answer = lab.stop("alice", "smoke")
    assert set(answer["devices"].values()) == {"stopped"}
    assert "disk is full" in answer["warning"]
    assert lab.state()["stop"]["why"] == "smoke"
    with pytest.raises(Unavailable, match=r"disk is full\): make room on .*the reset cannot be written down"):
        lab.reset("alice", "looked")
    assert lab.state()["stop"], "what cannot be written down is not ended"
    assert statuses(twin) == {"stopped"}
    monkeypatch.setattr(lab.journal, "keep", keep)
    wait_until(lambda: lab.journal.fact("stop"))  # as soon as there is room
    lab.reset("alice", "looked")
    assert not lab.journal.fact("stop")


def test_a_notebook_is_told_of_a_stop_that_is_not_written_down(lab, monkeypatch):
    monkeypatch.setattr(lab.journal, "keep", full)
    with pytest.raises(Unavailable, match="holds only until the gateway ends"):
        Laboratory("lab", lab).stop("smoke")


def test_whoever_stops_and_gets_no_answer_is_told_to_use_the_switch(lab, monkeypatch):
    def silent(*_):
        raise DeadlineExceeded("The workbench service did not answer.")

    monkeypatch.setattr(lab, "stop", silent)
    with pytest.raises(
        DeadlineExceeded, match=r"use the switch on the device itself\. The workbench service did"
    ):
        Laboratory("lab", lab).stop()


def test_a_stop_is_answered_while_the_journal_is_busy(lab, twin, monkeypatch):
    monkeypatch.setattr(engine, "_WRITE_WITHIN_S", 0.1)
    keep, gate = lab.journal.keep, threading.Event()
    monkeypatch.setattr(lab.journal, "keep", lambda *arguments: gate.wait(20) and keep(*arguments))
    answer = lab.stop("alice", "smoke")
    assert set(answer["devices"].values()) == {"stopped"}
    assert "has not been written in 0.1 s" in answer["warning"]
    assert not gate.is_set()
    gate.set()
    wait_until(lambda: lab.journal.fact("stop"))


def test_nothing_starts_that_was_being_written_down_when_the_stop_came(lab, twin, monkeypatch):
    monkeypatch.setattr(watch, "_START_WITHIN_S", 0.1)
    intend, entered, gate = lab.journal.intend, threading.Event(), threading.Event()
    handler = lab.devices["handler"].instrument
    told, start = [], handler.start
    handler.start = lambda *arguments: told.append(arguments) or start(*arguments)

    def slowly(*arguments, **more):
        entered.set()
        gate.wait(20)
        intend(*arguments, **more)

    monkeypatch.setattr(lab.journal, "intend", slowly)
    lab.submit(plan("p", mix("s")))
    assert entered.wait(20)
    lab.stop("alice", "smoke")
    gate.set()
    assert "not started" in ended(lab, "p")["reason"]
    assert not told


def test_a_silent_device_holds_back_no_stop_when_a_gateway_starts(lab, twin):
    lab.stop("alice", "smoke")
    lab.close()
    twin.off()
    twin.on()  # so that no device knows of the stop
    gate, gave_up = threading.Event(), []
    interlocks = {"mix": "furnace_temperature < 50"}
    again = engine.Gateway(section(twin.folder, handler={"interlocks": interlocks}), lab.folder)

    def hang():
        gave_up.append(not gate.wait(30))
        raise DeadlineExceeded("no answer")

    spectrometer = again.devices["spectrometer"].instrument
    again.devices["furnace"].instrument.state = spectrometer.state = spectrometer.stop = hang
    again.start()
    for name in ("handler", "furnace"):  # a furnace that says nothing may still hear
        wait_until(lambda name=name: twin.world.state(name)["status"] == "stopped")
    assert not gave_up
    gate.set()
    again.close()


def test_of_two_who_stop_the_first_is_shown_and_the_second_beside_it(lab, twin):
    lab.stop("alice", "smoke at the furnace")
    since = lab.state()["stop"]["since"]
    answer = lab.stop("bob", "I heard the alarm")
    assert set(answer["devices"].values()) == {"stopped"}
    before = lab.state()["stop"]
    lab.close()
    again = gateway(twin.folder, lab.folder)
    for shown in (before, again.state()["stop"]):
        assert (shown["who"], shown["why"], shown["since"]) == ("alice", "smoke at the furnace", since)
        assert [(each["who"], each["why"]) for each in shown["later"]] == [("bob", "I heard the alarm")]
    words = repr(Laboratory("lab", again))
    assert "EMERGENCY STOP by alice" in words
    assert "again by bob" in words
    again.reset("carol", "looked")
    again.stop("bob", "once more")
    assert (again.state()["stop"]["who"], again.state()["stop"]["later"]) == ("bob", [])
    again.close()


def test_the_log_puts_nobodys_words_into_anothers_mouth(lab):
    entered, gate = held(lab.devices["handler"].instrument)
    thread = threading.Thread(target=lab.stop, args=("alice", "alice's reason"))
    thread.start()
    assert entered.wait(20)
    lab.stop("bob", "bob's reason")
    gate.set()
    thread.join()
    log = lab.state()["log"]
    assert {each["who"] for each in log if each["what"].startswith("stopped: ")} == {"alice", "bob"}
    said = {each["what"]: each["who"] for each in log if "reason" in each["what"]}
    assert said == {"emergency stop: alice's reason": "alice", "emergency stop: bob's reason": "bob"}


def test_devices_that_hold_a_stop_of_which_nothing_is_on_record_can_be_released(lab, twin):
    twin.world.stop("furnace")
    lab.reset("alice", "the journal was lost")
    assert statuses(twin) == {"idle"}
    with pytest.raises(Conflict, match="no emergency stop"):
        lab.reset("alice", "again")


def test_a_device_whose_start_hangs_does_not_keep_the_others_from_stopping(lab, twin, monkeypatch):
    monkeypatch.setattr(watch, "_START_WITHIN_S", 0.1)
    instrument, gate, begun = lab.devices["handler"].instrument, threading.Event(), threading.Event()
    start = instrument.start

    def slowly(*arguments):
        begun.set()
        gate.wait(20)
        start(*arguments)

    instrument.start = slowly
    lab.submit(plan("p", mix("s")))
    assert begun.wait(20)
    answer = lab.stop("alice", "smoke")["devices"]
    assert "may still arrive" in answer["handler"]
    assert (answer["furnace"], answer["spectrometer"]) == ("stopped", "stopped")
    gate.set()
    assert ended(lab, "p")["state"] == "failed"
    assert not twin.ran()


def test_the_heartbeat_is_of_the_last_look_and_stops_with_the_watch(lab, monkeypatch):
    first = lab.state()["heartbeat"]
    wait_until(lambda: lab.state()["heartbeat"] > first)
    monkeypatch.setattr(watch.Watch, "ask", lambda self, name: 1 / 0)
    gate = threading.Event()
    gate.wait(0.5)
    stale = lab.state()["heartbeat"]
    gate.wait(0.5)
    assert lab.state()["heartbeat"] == stale
    monkeypatch.undo()
    monkeypatch.setattr(watch, "_EVERY_S", 0.1)
    wait_until(lambda: lab.state()["heartbeat"] > stale)


def test_a_silent_device_is_shown_with_when_it_was_last_heard_of(lab, twin):
    wait_until(lambda: all(each["status"] == "idle" for each in lab.state()["devices"]))
    twin.off()
    wait_until(lambda: "does not answer, last heard of" in repr(Laboratory("lab", lab)))
    twin.on()


def test_an_old_heartbeat_is_shown(lab):
    state = lab.state() | {"heartbeat": "2020-01-01T00:00:00Z"}
    lab.state = lambda: state
    assert "last looked at" in repr(Laboratory("lab", lab))
