"""What a person sees of a laboratory, and what they may do: in a bare notebook, and through the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from fastapi import FastAPI

import genesis_workbench as gw
from genesis_services import problems
from genesis_services.routes import laboratories as routes
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, NotFound, Unavailable
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import load_site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.client import Client
from genesis_workbench.experiments.instruments.plan import FINAL
from genesis_workbench.experiments.loop import advance
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.store import LedgerExperiments, local_executors
from unit.laboratory.twins import mix, plan, wait_until


@pytest.fixture
def here(start, monkeypatch):
    laboratory = start(time_scale=20.0)
    monkeypatch.setenv("GENESIS_SITE", str(laboratory.site_file))
    monkeypatch.setenv("GENESIS_STATE", str(laboratory.state.folder))
    return laboratory


def test_a_notebook_shows_the_laboratory_and_stops_it(here):
    lab = gw.laboratories()["lab"]
    here.client.submit(plan("p", mix("s")))
    here.client.submit(plan("q", mix("t")))
    wait_until(lambda: "busy" in repr(lab))
    text = repr(gw.laboratories())
    assert "handler (simulated)" in text
    assert "plan q  queued, step 0 of 1" in text
    lab.stop("<b>smoke</b>")
    assert "EMERGENCY STOP by" in repr(lab)
    assert "&lt;b&gt;smoke" in gw.laboratories()._repr_html_()
    wait_until(lambda: "Emergency stop" in here.client.plan("p")["reason"])
    wait_until(lambda: "plan p" not in repr(lab))
    lab.reset("looked")
    assert "EMERGENCY" not in repr(lab)
    token = here.state.laboratories / "lab" / "token"
    token.chmod(0o644)
    with pytest.raises(InvalidInput, match=r"mode 644.*chmod 600"):
        lab.reset("looked")
    lab.stop("x" * 600)  # is refused neither for its token's file nor for its length
    token.chmod(0o600)
    assert lab.state()["stop"]["why"] == "x" * 500
    here.kill()
    assert "does not answer" in repr(gw.laboratories())
    with pytest.raises(Unavailable, match="use the switch on the device itself"):
        lab.stop("smoke")
    here.start()
    with pytest.raises(NotFound, match="There is lab"):
        gw.laboratories()["other"]


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_one_command_runs_the_simulated_laboratory_and_leaves_nothing_behind(way, tmp_path):
    command = [str(Path(sys.executable).with_name("workbench")), "laboratory"]
    unknown = subprocess.run(
        [*command, "nope", "--state", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 1
    assert "has no laboratory 'nope'" in unknown.stderr
    options = ["--simulated", "--state", str(tmp_path), "--time-scale", "600"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline().startswith("The laboratory simulated is at")
    twin = tmp_path / "laboratories/simulated/twin/twin.json"
    number = json.loads(wait_until(lambda: twin.exists() and twin.read_text()))["pid"]
    family = psutil.Process(process.pid).children(recursive=True)
    if way == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    process.wait(timeout=30)
    process.stdout.close()
    wait_until(lambda: not psutil.pid_exists(number))
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_one_command_says_how_fast_and_how_often_devices_fail_and_another_stops_it(tmp_path):
    command = [str(Path(sys.executable).with_name("workbench")), "laboratory"]
    options = ["--state", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--simulated", *options, "--time-scale", "36000", "--failure-rate", "1"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline().startswith("The laboratory simulated is at")
        state = State(tmp_path)
        client = Client(address.simulated_laboratory(state), state)
        # 80 simulated seconds in 2 ms; the first look comes later.
        client.submit(plan("p", mix("s")))
        found = wait_until(lambda: _ended(client, "p"))
        assert "error of its own" in found["reason"]
        stopped = subprocess.run(
            [*command, "stop", *options, "--why", b"T\xfcr"], capture_output=True, text=True, check=False
        )
        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert "The laboratory simulated is stopped: handler stopped, furnace stopped" in stopped.stdout
        assert client.state()["stop"]["why"] == "T?r"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        process.stdout.close()


def _ended(client, key):
    found = client.plan(key)
    return found if found["state"] in FINAL else None


class _Identity:
    """Knows people by their token, which is the right that they have."""

    async def person(self, token, *, fresh=False):
        return Person(name="alice", scopes=frozenset({f"custom:laboratories:{token}"}))


async def test_the_service_lets_people_do_what_their_rights_say_and_writes_it_down(here, tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    app = FastAPI()
    app.state.context = SimpleNamespace(site=load_site(here.site_file), state=here.state, ledger=ledger)
    app.state.identity = _Identity()
    problems.install(app)
    app.include_router(routes.router)

    async def ask(method, path, right, **body):
        headers = {"Authorization": f"Bearer {right}", "Content-Type": "application/json"}
        content = json.dumps(body) if body else None
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.request(method, f"/laboratories{path}", headers=headers, content=content)

    told = {"items": ["lab"], "procedures": {"lab": ["perovskite_film"]}}
    assert (await ask("GET", "", "read")).json() == told
    assert (await ask("GET", "/lab", "read")).json()["simulated"] is True
    assert (await ask("GET", "/other", "read")).status_code == 404
    assert (await ask("POST", "/lab/stop", "read", why="smoke")).status_code == 403
    assert set((await ask("POST", "/lab/stop", "stop", why="smoke")).json()["devices"].values()) == {
        "stopped"
    }
    assert (await ask("GET", "/lab", "read")).json()["stop"]["who"] == "alice"
    assert (await ask("POST", "/lab/reset", "stop", why="looked")).status_code == 403
    assert (await ask("POST", "/lab/reset", "operate", why="looked")).json()["stop"] == {}
    assert (
        await ask("POST", "/lab/plans/none/settle", "operate", why="looked", ran=False)
    ).status_code == 404
    wrong = {"why": "looked", "ran": True, "values": {"x": "nan"}}
    assert (await ask("POST", "/lab/plans/none/settle", "operate", **wrong)).status_code == 422
    here.client.reserve("handler", "bob", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert (await ask("POST", "/lab/reservations/handler", "operate", until="")).status_code == 409
    freed = await ask("POST", "/lab/reservations/handler", "operate", why="bob has left")
    assert freed.json()["devices"][0]["reserved"] == {}
    here.client.submit(plan("p", mix("s")))
    assert (await ask("GET", "/lab/plans/p", "read")).json()["plan"]["steps"][0]["device"] == "handler"
    assert (await ask("GET", "/lab/plans/none", "read")).status_code == 404
    said = "\ud800 smoke " + "x" * 600
    for body in ({"why": said}, {"why": ""}, {}):
        assert set((await ask("POST", "/lab/stop", "stop", **body)).json()["devices"].values()) == {"stopped"}
    stop = (await ask("GET", "/lab", "read")).json()["stop"]
    assert [each["why"] for each in (stop, *stop["later"])] == [
        f"? smoke {'x' * 492}", "no reason given", "no reason given",
    ]  # fmt: skip
    assert (await ask("POST", "/lab/reset", "operate", why="")).status_code == 422
    kinds = [event.kind for event in ledger.all(stream="laboratory/lab")]
    assert kinds == [
        "laboratory.stopped", "laboratory.reset", "laboratory.reservation-ended", *["laboratory.stopped"] * 3,
    ]  # fmt: skip

    # A ledger that cannot be written keeps nobody from stopping, nor from hearing that it has worked.
    def full(*_arguments, **_more):
        raise OSError("no space left on device")

    ledger.append = full
    answer = (await ask("POST", "/lab/stop", "stop", why="smoke")).json()
    assert set(answer["devices"].values()) == {"stopped"}
    assert "ledger could not be written" in answer["warning"]
    ledger.close()


async def test_whoever_follows_a_laboratory_is_told_when_something_changes(here, monkeypatch):
    monkeypatch.setattr(routes, "_LOOK_EVERY_S", 0.05)
    gone = []
    request = SimpleNamespace(is_disconnected=lambda: asyncio.sleep(0, bool(gone)))
    stream = routes._changes(request, here.client)

    async def told():
        return json.loads((await asyncio.wait_for(anext(stream), 60)).partition("data: ")[2])

    assert (await told())["stop"] == {}
    here.client.stop("bob", "smoke")
    while not (found := await told())["stop"]:
        pass
    assert (found["stop"]["who"], found["stop"]["why"]) == ("bob", "smoke")
    here.kill()
    while "trouble" not in (found := await told()):
        pass
    assert "does not answer" in found["trouble"]
    here.start()
    while "trouble" in (found := await told()):
        pass
    assert found["stop"]["who"] == "bob"
    gone.append(True)
    assert [line async for line in stream] == []


def test_a_campaign_of_films_runs_through_kills_and_can_be_verified(start, monkeypatch, tmp_path):
    laboratory = start(time_scale=4000.0)
    monkeypatch.setenv("GENESIS_SITE", str(laboratory.site_file))
    monkeypatch.setenv("GENESIS_STATE", str(laboratory.state.folder))
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    experiments = LedgerExperiments(ledger, Person("alice"), blobs=BlobStore(laboratory.state.blobs))
    spec = ExperimentSpec(
        title="Bright films",
        hypothesis=gw.Hypothesis(
            statement="A mixed film emits 2,000 counts a second",
            rule=gw.Threshold(metric="peak_intensity", at_least=2000, unit="1/s"),
        ),
        space=(
            gw.Real("bromide", 0, 1),
            gw.Real("anneal_temperature", 85, 115, unit="degC"),
            gw.Real("anneal_duration", 300, 1800, unit="s"),
        ),
        objective=gw.Objective("peak_intensity", unit="1/s"),
        executor="perovskite_film",
        proposer="sobol",
        budget=gw.Budget(trials=6),
        parallel=2,
    )
    experiment = experiments.create(spec)
    executors = local_executors()
    while (state := advance(ledger, experiment, None, executors)).state == "running":
        if laboratory.kills < len(state.observed) // 2:
            laboratory.kill()
            laboratory.start()
        time.sleep(0.1)
    assert (state.simulated, len(state.observed), set(laboratory.ran().values())) == (True, 6, {1})
    assert state.finding["decision"] == "supported"
    assert laboratory.kills == 2
    report = experiments.verify(experiment)
    assert report.ok, report
    assert "All 6 files are there" in repr(report)
    ledger.close()
