"""kill -9 of a gateway at random moments: nothing runs twice, nothing is lost, what nobody knows is `unknown`.

Gateway and devices are real processes; the devices write down every run that physically began.
"""

from __future__ import annotations

import random
import sqlite3
import time

import pytest

from genesis_workbench.core.errors import DeadlineExceeded, Unavailable
from genesis_workbench.experiments.executors._base import Observation, Request, Unknown
from genesis_workbench.experiments.executors.perovskite_film import PerovskiteFilm
from unit.laboratory.twins import mix, plan


def _retried(call, *arguments):
    """Do what the runner does: ask again while the gateway is away."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call(*arguments)
        except (Unavailable, DeadlineExceeded):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _campaign(laboratory, monkeypatch, trials, kills, seed):
    monkeypatch.setenv("GENESIS_SITE", str(laboratory.site_file))
    monkeypatch.setenv("GENESIS_STATE", str(laboratory.state.folder))
    executor, chance = PerovskiteFilm(laboratory.place()), random.Random(seed)
    keys = [f"trial-{number}" for number in range(trials)]
    for number, key in enumerate(keys):
        recipe = {"bromide": number / trials, "anneal_temperature": 100.0, "anneal_duration": 600.0}
        executor.submit(key, recipe, {})
    found, deadline = {}, time.monotonic() + 240
    while len(found) < trials:
        assert time.monotonic() < deadline
        if laboratory.kills < kills:
            time.sleep(chance.uniform(0.0, 0.4))
            laboratory.kill()
            laboratory.start()
        for key in set(keys) - set(found):
            outcome = _retried(executor.observe, key)
            if outcome is not None:
                found[key] = outcome
        time.sleep(0.02)
    return executor, found


def _nothing_lost_nothing_twice(laboratory, monkeypatch, trials, kills):
    executor, found = _campaign(laboratory, monkeypatch, trials, kills, seed=7)
    assert laboratory.kills == kills
    assert all(isinstance(each, Observation) for each in found.values()), found
    ran = laboratory.ran()
    assert len(ran) == 6 * trials
    assert set(ran.values()) == {1}
    assert all(executor.observe(key) == outcome for key, outcome in found.items())
    # The energies follow the composition: each trial has its own outcome, and no other's.
    energies = [found[f"trial-{number}"].values["peak_energy"][0] for number in range(trials)]
    assert energies == sorted(energies)
    return executor, found


def test_a_gateway_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(start, monkeypatch):
    laboratory = start()
    _, found = _nothing_lost_nothing_twice(laboratory, monkeypatch, trials=3, kills=3)
    # The spectra are in the store of files of whoever observes.
    digest = found["trial-0"].attachments["spectrum.csv"].removeprefix("sha256:")
    assert (laboratory.state.blobs / digest[:2] / digest).read_text().startswith("energy_eV,counts")


@pytest.mark.slow
def test_sixty_kills_lose_nothing_and_repeat_nothing(start, monkeypatch):
    _nothing_lost_nothing_twice(start(), monkeypatch, trials=40, kills=60)


def test_what_a_forgetful_device_did_through_a_kill_is_unknown_and_never_done_again(start):
    laboratory = start(forgetful=True, time_scale=20.0)
    laboratory.client.submit(plan("p", mix("s")))
    deadline = time.monotonic() + 20
    while not laboratory.ran():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    laboratory.kill()
    laboratory.start()
    while (found := laboratory.client.plan("p"))["state"] == "running":
        time.sleep(0.05)
    assert found["state"] == "unknown"
    assert "does not remember" in found["reason"]
    time.sleep(1)  # long enough for a gateway that would try again
    assert list(laboratory.ran().values()) == [1]
    laboratory.client.settle("p", ran=False, values={}, who="alice", why="the vial is empty")
    assert laboratory.client.plan("p")["state"] == "failed"


@pytest.mark.slow
def test_devices_that_recognise_no_key_are_never_told_twice(start):
    """Here nothing but the gateway's own order of writing and asking keeps a run from happening twice."""
    laboratory, chance = start(forgetful=True, time_scale=200.0), random.Random(3)
    keys = [f"p{number}" for number in range(6)]
    for key in keys:
        laboratory.client.submit(plan(key, mix(f"sample-{key}")))
    deadline, settled = time.monotonic() + 120, set()
    while any(laboratory.client.plan(key)["state"] not in ("done", "failed") for key in keys):
        assert time.monotonic() < deadline
        if laboratory.kills < 3:
            time.sleep(chance.uniform(0.1, 0.6))
            laboratory.kill()
            laboratory.start()
        for key in keys:
            if laboratory.client.plan(key)["state"] == "unknown":
                laboratory.client.settle(key, ran=False, values={}, who="alice", why="not looked at")
                settled.add(key)
    ran = laboratory.ran()
    assert set(ran.values()) == {1}
    done = {key for key in keys if laboratory.client.plan(key)["state"] == "done"}
    assert done | settled == set(keys)
    assert len(done) >= 1
    assert len(ran) >= len(done)


def test_a_stop_while_the_gateway_is_killed_holds_when_it_comes_back(start, monkeypatch):
    laboratory = start(time_scale=20.0)
    laboratory.client.submit(plan("p", mix("s")))
    assert set(laboratory.client.stop("alice", "smoke")["devices"].values()) == {"stopped"}
    laboratory.kill()
    laboratory.start()
    assert laboratory.client.state()["stop"]["why"] == "smoke"
    laboratory.client.submit(plan("q", mix("t")))
    time.sleep(0.7)
    assert laboratory.client.plan("q")["state"] == "queued"
    laboratory.client.reset("alice", "looked")


def test_the_token_is_for_this_account_alone_and_needed(start):
    laboratory = start()
    path = laboratory.state.laboratories / "lab" / "token"
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o600)
    path.write_text("x" * 64)
    with pytest.raises(Unavailable, match="does not take the token: This laboratory needs its bearer token"):
        laboratory.client.state()


def test_a_journal_that_is_locked_refuses_no_trial(start, monkeypatch):
    laboratory = start()
    monkeypatch.setenv("GENESIS_SITE", str(laboratory.site_file))
    monkeypatch.setenv("GENESIS_STATE", str(laboratory.state.folder))
    executor = PerovskiteFilm(laboratory.place())
    recipe = {"bromide": 0.5, "anneal_temperature": 100.0, "anneal_duration": 600.0}
    file = sqlite3.connect(laboratory.state.laboratories / "lab" / "journal.sqlite", isolation_level=None)
    file.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"journal cannot be written \(database is locked\)"):
        executor.submit_all([Request("trial", recipe, {})])
    file.execute("ROLLBACK")
    file.close()
    assert executor.submit_all([Request("trial", recipe, {})]) == {}


def test_of_a_trial_that_the_journal_does_not_know_nobody_knows(start, monkeypatch):
    laboratory = start()
    monkeypatch.setenv("GENESIS_SITE", str(laboratory.site_file))
    monkeypatch.setenv("GENESIS_STATE", str(laboratory.state.folder))
    executor = PerovskiteFilm(laboratory.place())
    told = executor.observe("never")
    assert isinstance(told, Unknown)
    assert "journal" in told.reason
    signature = executor.signature({})
    assert (signature.simulated, signature.laboratory) == (True, False)
