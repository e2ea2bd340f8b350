"""Training runs over REST: told by their owner's processes, stopped and resumed from anywhere, nobody else's business."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.core.service import Service
from genesis_workbench.training.report import Report

pytestmark = pytest.mark.timeout(300)
TINY = Path(__file__).parents[1] / "system" / "training" / "tiny"


def report(**changes):
    told = {"run": new_id("trn"), "name": "tiny", "recipe": "tiny", "state": "active", "can_stop": True}
    return Report(**{**told, **changes}).model_dump(mode="json")


def line(step, **values):
    return {"kind": "step", "step": step, "time": "2026-01-01T00:00:00+00:00", **values}


def test_a_run_is_seen_stopped_and_resumed_by_its_owner_alone(client, browser, workbench):
    alice, bob = client("alice"), client("bob")
    now = report(data=["cec-pv-modules"])
    lines = [line(1, loss=2.0), line(2, loss=1.0, samples_per_s=50.0)]
    assert alice.post("training/runs", {"report": now, "lines": lines}) == {"offset": 2}
    run = f"training/runs/{now['run']}"
    seen = alice.get(run)
    assert (seen["owner"], seen["state"], seen["data"]) == ("alice", "active", ["cec-pv-modules"])
    assert [each["loss"] for each in alice.get(f"{run}/metrics", after=1)["items"]] == [1.0]
    assert alice.get(f"{run}/curves")["training"] == [[1, 2.0], [2, 1.0]]
    assert [each["id"] for each in alice.get("training/runs")["items"]] == [now["run"]]
    assert bob.get("training/runs")["items"] == []
    for path in (run, f"{run}/metrics", f"{run}/curves"):
        with pytest.raises(NotFound):
            bob.get(path)
    for path in (f"{run}/stop", f"{run}/resume"):
        with pytest.raises(NotFound):
            bob.post(path)
    with pytest.raises(NotFound):
        bob.post("training/runs", {"report": now})

    assert [each["what"] for each in alice.post(f"{run}/stop")["asked"]] == ["stop"]
    (asked,) = alice.get("training/asked")["items"]
    assert bob.get("training/asked")["items"] == []
    alice.post(f"{run}/asked/{asked['id']}", {"fault": ""})
    with pytest.raises(Conflict, match="is active"):
        alice.post(f"{run}/resume")
    reading = Service(
        workbench.service_url, browser("alice").make_token("alice", scopes=["custom:training:read"])
    )
    assert reading.get(run)["id"] == now["run"]
    with pytest.raises(PermissionRefused, match="custom:training:run"):
        reading.post(f"{run}/stop")
    reading.close()


def test_what_is_told_is_checked(client):
    alice = client("alice")
    with pytest.raises(NotFound, match="no-such-data"):
        alice.post("training/runs", {"report": report(data=["no-such-data"])})
    for wrong in ({"kind": "gossip"}, {"step": -1}, {"loss": "low"}, {"note": "x"}, {"ended": "x" * 50}):
        with pytest.raises(InvalidInput):
            alice.post("training/runs", {"report": report(), "lines": [{**line(1), **wrong}]})
    for name in ("../../etc/passwd", "", "trn 1"):
        with pytest.raises((InvalidInput, NotFound)):
            alice.post("training/runs", {"report": {**report(), "run": name}})


@pytest.mark.slow  # two real jobs, each of which imports torch
def test_a_person_far_from_their_notebook_stops_and_resumes_a_real_run(client, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    import genesis_workbench as gw
    from genesis_workbench.training.courier import Courier

    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alice = client("alice")
    run = gw.train(TINY, name="tiny", epochs=100_000, log_steps=1)
    courier, place = Courier(alice), f"training/runs/{run.id}"

    def told_until(true):
        deadline = time.monotonic() + 120
        courier.carry()
        while not true(seen := alice.get(place)):
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
            courier.carry()
        return seen

    told_until(lambda seen: seen["step"] > 10)
    alice.post(f"{place}/stop")
    stopped = told_until(lambda seen: seen["can_resume"])
    assert (stopped["state"], stopped["ended"], stopped["asked"]) == ("canceled", "told to end", [])
    alice.post(f"{place}/resume", {"budget_node_hours": stopped["node_hours"] + 1e-4})
    # Another process of hers is the courier now: it begins with nothing, and sends only what is missing.
    courier = Courier(alice)
    spent = told_until(lambda seen: seen["ended"] == "budget")
    assert spent["attempt"] == 2
    assert spent["step"] > stopped["step"]
    curve, after = [], 0
    while after is not None:
        part = alice.get(f"{place}/metrics", after=after, limit=200)
        curve, after = [*curve, *part["items"]], part["next"]
    assert [each["step"] for each in curve if each["kind"] == "step"] == list(range(1, spent["step"] + 1))
    assert gw.training.get(run.id).record.request.attempt == 2
