"""The gateway: a key is one plan, limits and interlocks hold, a stop stops, and what nobody knows is `unknown`."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from genesis_workbench.core.clock import now
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from genesis_workbench.experiments.instruments import execution, journal, watch
from genesis_workbench.experiments.instruments._base import DeviceState
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.experiments.instruments.laboratories import Laboratory
from unit.laboratory.twins import Twin, anneal, do, ended, gateway, load, mix, plan, section, uL, wait_until

SOON = "2999-01-01T00:00:00Z"


def test_a_film_is_made_annealed_and_measured_with_its_spectrum_kept(lab):
    measure = do("spectrometer", "measure", sample="s", integration={"value": 500, "unit": "ms"})
    lab.submit(plan("p", mix("s"), load("s"), anneal(), do("furnace", "unload"), measure))
    found = ended(lab, "p")
    assert (found["state"], found["simulated"]) == ("done", True)
    # Noh et al. (2013): 1.57 + 0.39 x + 0.33 x² at x = 0.4, where the handler's error moves x by some 0.01.
    assert found["values"]["peak_energy"] == {
        "value": pytest.approx(1.7788, abs=0.02),
        "unit": "eV",
        "uncertainty": pytest.approx(1e-4, rel=2),
    }
    spectrum = lab.files.read(found["files"]["spectrum.csv"]).decode().splitlines()
    assert spectrum[0] == "energy_eV,counts"
    assert len(spectrum) == 552


def test_a_key_is_one_plan_however_often_it_comes(lab, twin):
    threads = [threading.Thread(target=lab.submit, args=(plan("p", mix("s")),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended(lab, "p")
    lab.submit(plan("p", mix("s")))
    assert twin.ran() == [("handler", "mix")]
    with pytest.raises(Conflict, match="another plan"):
        lab.submit(plan("p", mix("other")))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (anneal(400), "limits are 25 to 350 degC"),
        (anneal(700, unit="kelvin"), "426.85 degC"),
        (anneal(float("nan")), "finite number"),
        (anneal(10**400), "finite number"),
        (anneal(700, unit="degF"), "371.111 degC"),
        (anneal(100, unit="s"), "cannot be given in degC"),
        (mix("s", iodide=True), "must be a finite number"),
        (do("handler", "mix", sample="../s", iodide=uL(1), bromide=uL(1)), "must be a name"),
        (do("handler", "mix", sample="s"), "takes sample, iodide, bromide"),
        (do("furnace", "explode"), "it can load"),
        (do("robot", "wave"), "has no device 'robot'"),
    ],
)
def test_no_request_crosses_a_limit_in_whatever_unit(lab, twin, step, words):
    with pytest.raises((InvalidInput, NotFound), match=words):
        lab.submit(plan("p", mix("s"), step))
    with pytest.raises(NotFound):
        lab.plan("p")
    assert not twin.ran()


def test_a_site_narrows_limits_and_cannot_widen_them(twin, tmp_path):
    lab = gateway(
        twin.folder, tmp_path / "lab", furnace={"limits": {"anneal.temperature": [300, 400, "kelvin"]}}
    )
    with pytest.raises(InvalidInput, match=r"26.85 to 126.85 degC"):
        lab.submit(plan("p", anneal(200)))
    lab.close()
    for limits, words in (
        ({"anneal.temperature": [400, 500, "degC"]}, "leave nothing"),
        ({"anneal.pressure": [0, 1, "bar"]}, "no quantity"),
        ({"anneal.temperature": [20, float("nan"), "degC"]}, "finite numbers"),
    ):
        with pytest.raises(InvalidInput, match=words):
            gateway(twin.folder, tmp_path / words[:2], furnace={"limits": limits})


def test_the_furnace_does_not_heat_with_its_door_open_or_empty(lab, twin):
    lab.submit(plan("empty", anneal()))
    assert "interlock of furnace.anneal" in ended(lab, "empty")["reason"]
    lab.submit(plan("open", mix("s"), load("s"), do("furnace", "open_door"), anneal()))
    assert "door = 'open'" in ended(lab, "open")["reason"]
    assert ("furnace", "anneal") not in twin.ran()


def test_a_site_adds_interlocks_across_devices(twin, tmp_path):
    lab = gateway(
        twin.folder, tmp_path / "lab", spectrometer={"interlocks": {"measure": "furnace_temperature < 10"}}
    )
    measure = do("spectrometer", "measure", sample="s", integration={"value": 1, "unit": "s"})
    lab.submit(plan("p", mix("s"), measure))
    assert "furnace_temperature = 22" in ended(lab, "p")["reason"]
    lab.close()


@pytest.mark.parametrize("silent", [False, True])
def test_a_misspelt_interlock_is_told_as_soon_as_its_device_answers(twin, tmp_path, silent):
    interlocks = {"anneal": 'dor == "closed"', "unload": "handler_operations < 500 and handler_weather > 1"}
    if silent:
        twin.off()
    lab = gateway(twin.folder, tmp_path / "lab", furnace={"interlocks": interlocks})
    if silent:
        wait_until(lambda: all(each["status"] == "does not answer" for each in lab.state()["devices"]))
        assert not lab.state()["warnings"]
        twin.on()
    wait_until(lambda: len(lab.state()["warnings"]) == 2)
    first, second = lab.state()["warnings"]
    assert "furnace.anneal names 'dor', which no device reads; furnace reads temperature, door" in first
    assert "handler_weather" in second
    assert "names 'dor'" in repr(Laboratory("lab", lab))
    lab.close()


@pytest.mark.parametrize("door", [float("nan"), float("inf"), None, ["open"]])
def test_an_interlock_does_not_hold_on_what_cannot_be_read(twin, tmp_path, door):
    lab = gateway(twin.folder, tmp_path / "lab", handler={"interlocks": {"mix": 'furnace_door != "open"'}})
    lab.devices["furnace"].instrument.state = lambda: DeviceState("idle", {"door": door})
    lab.submit(plan("p", mix("s")))
    assert "furnace_door = 'not known'" in ended(lab, "p")["reason"]
    assert not twin.ran()
    wait_until(lambda: lab.state()["devices"][1]["readings"] == {"door": str(door)})  # shown as it came
    lab.close()


@pytest.mark.parametrize("again", [True, False])
def test_an_interlock_does_not_hold_on_readings_that_have_become_old(twin, tmp_path, monkeypatch, again):
    monkeypatch.setattr(watch, "_EVERY_S", 60.0)
    monkeypatch.setattr(watch, "_FRESH_FOR_S", 0.5)
    condition = 'furnace_door == "closed" and spectrometer_operations < 500'
    lab = gateway(twin.folder, tmp_path / "lab", handler={"interlocks": {"mix": condition}})
    wait_until(lambda: all(each["status"] == "idle" for each in lab.state()["devices"]))
    furnace, spectrometer = (lab.devices[name].instrument for name in ("furnace", "spectrometer"))
    state, asked = spectrometer.state, []

    def slowly():
        asked.append(True)
        if again or len(asked) == 1:
            time.sleep(1.0)
            furnace.state = lambda: DeviceState("idle", {"door": "open"})
        return state()

    spectrometer.state = slowly
    lab.submit(plan("p", mix("s")))
    words = "devices answered too late (spectrometer in 1." if again else "furnace_door = 'open'"
    assert words in ended(lab, "p")["reason"]
    assert not twin.ran()
    lab.close()


def test_a_plan_that_cannot_be_written_down_says_so_and_goes_on(lab, twin, monkeypatch):
    settle, gate = lab.journal.settle, threading.Event()

    def full(*arguments):
        if not gate.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        settle(*arguments)

    monkeypatch.setattr(lab.journal, "settle", full)
    lab.submit(plan("p", mix("s")))
    wait_until(lambda: "broken off (database or disk is full)" in lab.state()["queue"][0]["reason"])
    gate.set()
    assert ended(lab, "p")["state"] == "done"
    assert twin.ran() == [("handler", "mix")]


def test_plans_share_the_laboratory_but_never_a_device(twin, tmp_path):
    twin.world._scale = 600.0
    lab = gateway(twin.folder, tmp_path / "lab")
    for number in range(4):
        lab.submit(plan(f"p{number}", mix(f"s{number}", 100, 100)))
    for number in range(4):
        assert ended(lab, f"p{number}")["state"] == "done"
    ends = [(run["began"], run["began"] + run["lasts_s"] / 600) for run in twin.world.history()]
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends))
    lab.close()


def test_a_reserved_device_waits_for_its_person_while_others_work(lab):
    lab.reserve("handler", "bob", _in_an_hour())
    lab.submit(plan("alices", mix("a")))
    lab.submit(plan("bobs", mix("b"), asker="bob"))
    assert ended(lab, "bobs")["state"] == "done"
    assert lab.plan("alices")["state"] == "queued"
    with pytest.raises(Conflict, match="reserved by bob"):
        lab.reserve("handler", "alice", _in_an_hour())
    with pytest.raises(InvalidInput, match="within the next 7 days"):
        lab.reserve("furnace", "alice", SOON)
    lab.reserve("handler", "bob", "")
    assert ended(lab, "alices")["state"] == "done"


def test_of_two_who_reserve_a_device_at_once_one_gets_it(lab, monkeypatch):
    read, both, got = lab.journal.fact, threading.Barrier(2), []

    def slowly(name):
        found = read(name)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # whoever has read waits a moment for the other to have read too
        return found

    def take(who):
        try:
            lab.reserve("handler", who, _in_an_hour())
        except Conflict as error:
            got.append(error.message)
        else:
            got.append(who)

    monkeypatch.setattr(lab.journal, "fact", slowly)
    threads = [threading.Thread(target=take, args=(who,)) for who in ("alice", "bob")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    monkeypatch.undo()
    (told,) = [each for each in got if each not in ("alice", "bob")]
    holder = lab.state()["devices"][0]["reserved"]["who"]
    assert holder in got
    assert f"is reserved by {holder}" in told


def test_a_reservation_lets_through_what_runs_on_behalf_of_its_holder(lab):
    lab.reserve("handler", "bob", _in_an_hour())
    lab.submit(plan("alices", mix("a"), asker="experiments", owner="alice"))
    lab.submit(plan("bobs", mix("b"), asker="experiments", owner="bob"))
    assert ended(lab, "bobs")["state"] == "done"
    assert [(each["key"], each["owner"]) for each in lab.state()["queue"]] == [("alices", "alice")]
    # An operator ends it, with a reason that everybody sees.
    with pytest.raises(Conflict, match="end it with a reason"):
        lab.reserve("handler", "carol", "")
    lab.reserve("handler", "carol", "", "bob has left for today")
    assert ended(lab, "alices")["state"] == "done"
    log = lab.state()["log"][0]
    assert (log["who"], log["what"]) == (
        "carol",
        "ended bob's reservation of handler: bob has left for today",
    )


def test_a_journal_of_plans_without_owners_is_read(lab, twin):
    body = plan("old", mix("s")).model_dump(mode="json", exclude={"owner", "simulated"})
    lab.journal._do(
        "INSERT INTO plans (key, body, submitted) VALUES (?, ?, ?)", "old", json.dumps(body), now()
    )
    lab.submit(plan("old", mix("s"), owner="alice", simulated=True))
    assert ended(lab, "old")["state"] == "done"
    assert twin.ran() == [("handler", "mix")]


@pytest.mark.parametrize("told", [True, False])
def test_a_plan_runs_on_no_other_kind_of_device_than_it_was_approved_for(lab, twin, told, monkeypatch):
    devices = {name: device.instrument for name, device in lab.devices.items()}
    for each in devices.values():
        each.simulated = told
    lab.reserve("handler", "bob", _in_an_hour())
    lab.submit(plan("queued", mix("s"), simulated=told))
    devices["handler"].simulated = not told
    with pytest.raises(Conflict, match=r"was approved for .* and now handler is"):
        lab.submit(plan("p", mix("s"), simulated=told))
    with pytest.raises(NotFound):
        lab.plan("p")
    assert lab.submit(plan("queued", mix("s"), simulated=told))["state"] == "queued", "its key is known"
    lab.submit(plan("other", do("furnace", "unload"), simulated=told))
    lab.submit(plan("nobody-asked", do("furnace", "unload")))
    lab.reserve("handler", "bob", "")
    assert "have it approved again" in ended(lab, "queued")["reason"]
    assert ended(lab, "other")["state"] == ended(lab, "nobody-asked")["state"] == "done"
    assert ("handler", "mix") not in twin.ran()


def test_a_laboratory_that_is_partly_simulated_takes_what_was_approved_for_real_devices(lab):
    lab.devices["furnace"].instrument.simulated = False
    lab.submit(plan("p", mix("s"), load("s"), simulated=False))
    found = ended(lab, "p")
    assert (found["state"], found["simulated"]) == ("done", True)


@pytest.mark.parametrize("was", [True, False])
def test_a_plan_tells_what_it_ran_on_after_its_devices_were_exchanged(lab, was):
    handler = lab.devices["handler"].instrument
    handler.simulated = was
    lab.submit(plan("p", mix("s"), simulated=was))
    ended(lab, "p")
    handler.simulated = not was
    assert lab.plan("p")["simulated"] is was


def _it_is(monkeypatch, moment):
    monkeypatch.setattr(execution, "datetime", SimpleNamespace(now=lambda _zone: moment))


def test_a_plan_whose_approval_expired_while_it_waited_starts_nothing(lab, twin, monkeypatch):
    until = datetime(2026, 1, 31, 8, tzinfo=UTC)
    lab.reserve("handler", "bob", _in_an_hour())
    lab.submit(plan("late", mix("s"), load("s"), approved_until=until))
    lab.submit(plan("in-time", mix("t"), approved_until=until + timedelta(hours=1)))
    _it_is(monkeypatch, until)
    lab.reserve("handler", "bob", "")
    assert ended(lab, "in-time")["state"] == "done"
    found = ended(lab, "late")
    assert (found["state"], found["steps"]) == ("failed", [])
    assert "Its approval expired at 2026-01-31 08:00:00 UTC, before it began" in found["reason"]
    assert "have it approved again" in found["reason"]
    assert twin.ran() == [("handler", "mix")]


def test_an_approval_that_expires_after_a_plan_has_begun_does_not_break_it_off(twin, tmp_path, monkeypatch):
    twin.world._scale = 60.0
    until = datetime(2026, 1, 31, 8, tzinfo=UTC)
    _it_is(monkeypatch, until - timedelta(seconds=1))
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s"), load("s"), approved_until=until))
    wait_until(twin.ran)
    _it_is(monkeypatch, until)
    assert ended(lab, "p")["state"] == "done"
    lab.close()


def test_steps_count_for_as_long_as_they_were_watched_and_no_longer(twin, tmp_path, monkeypatch):
    times = itertools.cycle(["2026-01-31T08:00:00.000000Z", "2026-01-31T07:00:00.000000Z"])
    monkeypatch.setattr(journal, "now", lambda: next(times))  # a clock that is set back
    twin.world._scale = 60.0
    watched, opened = 0.0, time.monotonic()
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s"), load("s")))
    wait_until(twin.ran)
    lab.close()
    watched += time.monotonic() - opened
    wait_until(lambda: not twin.world.state("handler")["running"])  # it goes on and ends, and nobody watches
    opened = time.monotonic()
    lab = gateway(twin.folder, tmp_path / "lab")
    seconds = [step["seconds"] for step in ended(lab, "p")["steps"]]
    lab.close()
    watched += time.monotonic() - opened
    assert all(each > 0 for each in seconds)
    assert sum(seconds) <= watched


def test_what_was_watched_before_a_gateway_died_counts(twin, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "_KEEP_EVERY_S", 0.0)
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s")))
    kept = wait_until(lambda: sum(step["seconds"] for step in lab.plan("p")["steps"]))
    # While it runs: nothing is left to do for a gateway that is killed now.
    assert lab.plan("p")["steps"][0]["state"] == "intended"
    assert ended(lab, "p")["steps"][0]["seconds"] >= kept
    lab.close()


def test_a_journal_of_before_is_read_and_knows_no_seconds(lab, twin):
    lab.submit(plan("p", mix("s")))
    ended(lab, "p")
    lab.close()
    with contextlib.closing(sqlite3.connect(lab.folder / "journal.sqlite")) as file:
        for name in ("simulated", "seconds"):
            file.execute(f"ALTER TABLE steps DROP COLUMN {name}")
        file.commit()
    again = gateway(twin.folder, lab.folder)
    found = again.plan("p")
    assert (found["state"], found["simulated"], found["steps"][0]["seconds"]) == ("done", True, None)
    again.submit(plan("q", mix("t")))
    assert ended(again, "q")["steps"][0]["seconds"] > 0
    again.close()


def test_a_known_key_is_answered_after_limits_were_narrowed(lab, twin):
    lab.submit(plan("p", mix("s", 60, 40)))
    ended(lab, "p")
    lab.close()
    again = gateway(twin.folder, lab.folder, handler={"limits": {"mix.iodide": [0, 50, "uL"]}})
    assert again.submit(plan("p", mix("s", 60, 40)))["state"] == "done"
    with pytest.raises(InvalidInput, match="limits are"):
        again.submit(plan("q", mix("s", 60, 40)))
    with pytest.raises(Conflict, match="another plan"):
        again.submit(plan("p", mix("s", 60, 41)))
    again.close()


def _without(lab, twin, name):
    """Close a laboratory, and open it with a site that has a device less."""
    lab.close()
    had = section(twin.folder)
    made = Gateway(
        had.model_copy(update={"devices": [each for each in had.devices if each.name != name]}), lab.folder
    )
    made.start()
    return made


@pytest.mark.parametrize("ran", [True, False])
def test_a_device_that_is_gone_blocks_nothing_and_its_plan_can_be_settled(twin, tmp_path, ran):
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s"), load("s")))
    wait_until(twin.ran)
    twin.off()
    twin.on()
    assert ended(lab, "p")["state"] == "unknown"
    twin.world._scale = 36_000.0
    lab = _without(lab, twin, "handler")
    lab.submit(
        plan("furnaces", do("spectrometer", "measure", sample="s", integration={"value": 1, "unit": "s"}))
    )
    assert ended(lab, "furnaces")["state"] == "failed", "there is no sample, but it had its turn"
    assert "This site has no device 'handler' any more." in lab.plan("p")["reason"]
    assert "no device 'handler'" in lab.state()["queue"][0]["reason"]
    assert lab.settle("p", ran=ran, values={}, who="alice", why="looked")["state"] == "failed"
    assert not lab.state()["queue"]
    lab.close()


def test_a_plan_that_ran_or_waited_on_a_device_that_is_gone_ends(twin, tmp_path):
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("ran", mix("s")))
    lab.submit(plan("waited", mix("t")))
    wait_until(twin.ran)
    lab = _without(lab, twin, "handler")
    assert ended(lab, "ran")["state"] == "unknown"
    lab.settle("ran", ran=False, values={}, who="alice", why="looked")
    assert "no device 'handler'" in ended(lab, "waited")["reason"]
    assert lab.plan("waited")["state"] == "failed"
    lab.close()


@pytest.mark.parametrize("value", ["59,8", True, None, float("nan"), float("inf"), 10**400])
def test_a_value_that_is_no_number_settles_nothing(twin, tmp_path, value):
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s")))
    wait_until(twin.ran)
    twin.off()
    twin.on()
    assert ended(lab, "p")["state"] == "unknown"
    values = {"dispensed_iodide": value, "dispensed_bromide": 40}
    with pytest.raises(InvalidInput, match="finite number"):
        lab.settle("p", ran=True, values=values, who="alice", why="read it off")
    assert lab.plan("p")["state"] == "unknown"
    settled = lab.settle(
        "p", ran=True, values=values | {"dispensed_iodide": 59.8}, who="alice", why="read it off"
    )
    assert (settled["state"], settled["values"]["dispensed_iodide"]["value"]) == ("done", 59.8)
    lab.close()


def _in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def test_an_emergency_stop_ends_what_runs_holds_the_queue_and_is_seen(twin, tmp_path):
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("hot", mix("s", 20, 0), load("s"), anneal(300, 7200)))
    wait_until(lambda: twin.world.state("furnace")["running"])
    lab.submit(plan("next", mix("t")))
    assert set(lab.stop("alice", "smoke")["devices"].values()) == {"stopped"}
    found = ended(lab, "hot")
    assert found["state"] == "failed"
    assert "stopped after" in found["reason"]
    assert "Emergency stop by alice: smoke" in found["reason"]
    seen = lab.state()
    assert (seen["stop"]["who"], seen["stop"]["why"]) == ("alice", "smoke")
    lab.close()
    # It holds through a restart of the gateway, until a person has looked.
    lab = gateway(twin.folder, tmp_path / "lab")
    assert lab.state()["stop"]["why"] == "smoke"
    assert lab.plan("next")["state"] == "queued"
    lab.reset("bob", "it was toast")
    twin.world._scale = 36_000.0
    assert ended(lab, "next")["state"] == "done"
    assert [each["who"] for each in lab.state()["log"]] == ["bob", "alice", "alice"]
    lab.close()


def test_a_stop_that_a_device_does_not_hear_is_told_and_cannot_be_reset(lab, twin):
    twin.off()
    told = lab.stop("alice", "test")
    assert all(answer.startswith("does not answer") for answer in told["devices"].values())
    with pytest.raises(Unavailable, match="stay stopped"):
        lab.reset("alice", "test")
    assert lab.state()["stop"]
    twin.on()
    lab.reset("alice", "devices are back")
    assert not lab.state()["stop"]


def test_what_a_device_lost_with_its_power_is_unknown_until_a_person_says(twin, tmp_path):
    twin.world._scale = 60.0
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s")))
    lab.submit(plan("after", mix("t")))
    wait_until(twin.ran)
    twin.off()
    twin.on()
    found = ended(lab, "p")
    assert found["state"] == "unknown"
    assert "lost its power" in found["reason"]
    assert lab.plan("after")["state"] == "queued", "its devices are kept until somebody has looked"
    with pytest.raises(InvalidInput, match="exactly the values"):
        lab.settle("p", ran=True, values={}, who="alice", why="looked")
    twin.world._scale = 36_000.0
    lab.settle("p", ran=False, values={}, who="alice", why="the vial is empty")
    assert "alice found" in lab.plan("p")["reason"]
    assert ended(lab, "after")["state"] == "done"
    assert twin.ran() == [("handler", "mix")] * 2
    lab.close()


def test_a_silent_device_makes_the_plan_unknown_and_is_read_back_when_it_speaks(twin, tmp_path):
    lab = gateway(twin.folder, tmp_path / "lab", patience_s=0.3)
    twin.world._scale = 60.0
    lab.submit(plan("p", mix("s")))
    wait_until(twin.ran)
    answers, twin.world.outcome = twin.world.outcome, _silence
    assert "does not answer" in ended(lab, "p")["reason"]
    twin.world._scale = 36_000.0
    twin.world.outcome = answers
    wait_until(lambda: lab.plan("p")["state"] == "done")
    assert lab.plan("p")["values"]["dispensed_iodide"]["unit"] == "uL"
    assert twin.ran() == [("handler", "mix")]
    lab.close()


def _silence(**_asked):
    raise Unavailable("the line is dead")


def test_a_failing_device_fails_the_plan_and_starts_nothing_after_it(tmp_path):
    twin = Twin(tmp_path / "twin", failure_rate=1.0)
    lab = gateway(twin.folder, tmp_path / "lab")
    lab.submit(plan("p", mix("s"), load("s")))
    assert "error of its own" in ended(lab, "p")["reason"]
    assert twin.ran() == [("handler", "mix")]
    lab.close()
    twin.off()


def test_a_queued_plan_can_be_canceled_and_one_laboratory_has_one_gateway(lab, twin):
    lab.reserve("handler", "bob", _in_an_hour())
    lab.submit(plan("p", mix("s")))
    assert lab.cancel("p", "alice")["state"] == "canceled"
    with pytest.raises(Conflict, match="running already"):
        gateway(twin.folder, lab.folder)
    assert not twin.ran()
