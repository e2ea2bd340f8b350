"""The gateway over HTTP: nothing without its token, errors as problem+json."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter

from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.experiments.instruments import client as door
from genesis_workbench.experiments.instruments import gateway as engine
from genesis_workbench.experiments.instruments.application import application
from unit.laboratory.twins import anneal, ended, mix, plan, wait_until

TOKEN = "t" * 64


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(engine, "_PROBE_EVERY_S", 0.2)


@pytest.fixture
async def client(lab):
    transport = httpx.ASGITransport(application(lab, TOKEN))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://lab", headers=headers) as made:
        yield made


@pytest.mark.parametrize("path", ["/laboratory", "/plans/p", "/files/x"])
async def test_nothing_is_said_without_the_token(client, path):
    for header in ("", "Bearer wrong", f"Basic {TOKEN}x"):
        answer = await client.get(path, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["code"]) == (401, "sign-in-required")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_nobody_stops_or_starts_anything_without_the_token(client, lab):
    body = plan("p", mix("s")).model_dump(mode="json")
    assert (await client.post("/plans", json=body, headers={"Authorization": ""})).status_code == 401
    stop = {"who": "x", "why": "y"}
    assert (await client.post("/stop", json=stop, headers={"Authorization": ""})).status_code == 401
    assert not lab.state()["stop"]


async def test_a_plan_goes_in_and_its_file_comes_out(client, lab):
    answer = await client.post("/plans", json=plan("p", mix("s")).model_dump(mode="json"))
    assert answer.json()["state"] in ("queued", "running", "done")
    ended(lab, "p")
    assert (await client.get("/plans/p")).json()["values"]["dispensed_bromide"]["unit"] == "uL"
    digest = lab.files.put(b"counts")
    assert (await client.get(f"/files/{digest}")).content == b"counts"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/plans", plan("p", anneal(900)).model_dump(mode="json"), 422, "invalid-input"),
        ("POST", "/plans", plan("p", anneal(10**400)).model_dump(mode="json"), 422, "invalid-input"),
        ("POST", "/plans/check", {"key": "p", "steps": []}, 422, "invalid-input"),
        (
            "POST",
            "/plans",
            {"key": "../p", "steps": [{"device": "furnace", "action": "unload"}]},
            422,
            "invalid-input",
        ),
        ("POST", "/reset", {"who": "alice", "why": "x"}, 409, "conflict"),
        ("POST", "/plans/p/settle", {"ran": "yes"}, 422, "invalid-input"),
        ("GET", "/plans/none", None, 404, "not-found"),
        ("GET", "/elsewhere", None, 404, "not-found"),
        ("GET", "/stop", None, 405, "method-not-allowed"),
    ],
)
async def test_what_is_wrong_is_a_problem_with_a_code(client, method, path, body, status, code):
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_body_that_is_too_large_is_refused(client):
    answer = await client.post("/plans", content=b"x" * (1 << 21))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize(
    ("content", "who", "why"),
    [
        (b'{"who": "alice", "why": "smoke"}', "alice", "smoke"),
        (b'{"who": "alice", "why": "%s"}' % (b"smoke " * 100), "alice", ("smoke " * 84)[:500].strip()),
        (b'{"who": "alice", "why": " "}', "alice", "no reason given"),
        (b'{"who": "alice", "why": null}', "alice", "no reason given"),
        (b'{"who": "alice", "why": "T\\udcfcr"}', "alice", "T?r"),
        (b'{"why": "smoke"}', "somebody", "smoke"),
        (b"", "somebody", "no reason given"),
        (b"smoke", "somebody", "no reason given"),
        (b"[" * 100_000, "somebody", "no reason given"),
        (b" " * (1 << 21), "somebody", "no reason given"),
    ],
)
async def test_a_stop_is_never_refused_for_its_wording(client, twin, content, who, why):
    answer = await client.post("/stop", content=content)
    assert (answer.status_code, set(answer.json()["devices"].values())) == (200, {"stopped"})
    assert twin.world.state("furnace")["status"] == "stopped"
    shown = (await client.get("/laboratory")).json()["stop"]
    assert (shown["who"], shown["why"]) == (who, why)


async def test_a_stop_gets_through_while_all_other_requests_wait(client, lab, twin, monkeypatch):
    gate, entered = threading.Event(), []
    monkeypatch.setattr(lab, "submit", lambda plan: entered.append(plan) or (gate.wait(60) and {}))
    body, most = plan("p", mix("s")).model_dump(mode="json"), current_default_thread_limiter().total_tokens
    waiting = [asyncio.create_task(client.post("/plans", json=body)) for _ in range(int(most) + 10)]
    try:
        await asyncio.to_thread(wait_until, lambda: len(entered) == most)
        answer = await asyncio.wait_for(client.post("/stop", json={"who": "alice", "why": "smoke"}), 30)
        assert set(answer.json()["devices"].values()) == {"stopped"}
        assert not any(each.done() for each in waiting)
    finally:
        gate.set()
        await asyncio.gather(*waiting)


async def test_a_journal_that_cannot_be_written_is_told_before_somebody_needs_it(client, lab, twin):
    twin.world.stop("furnace")
    other = sqlite3.connect(lab.folder / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # such as a backup
    released = []
    lab.devices["furnace"].instrument.release = lambda: released.append(True)
    words = f"cannot be written (database is locked): end the program that has {lab.folder / 'journal.sqlite'} open"
    await asyncio.to_thread(wait_until, lambda: lab.state()["warnings"])
    assert words in (await client.get("/laboratory")).json()["warnings"][0]
    answer = await client.post("/plans", json=plan("p", mix("s")).model_dump(mode="json"))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert words in answer.json()["detail"]
    answer = await client.post("/reset", json={"who": "alice", "why": "looked"})
    assert answer.status_code == 503
    assert "the reset cannot be written down, and all stay stopped" in answer.json()["detail"]
    assert not released
    other.execute("ROLLBACK")
    other.close()
    await asyncio.to_thread(wait_until, lambda: not lab.state()["warnings"])
    assert (await client.post("/plans", json=plan("p", mix("s")).model_dump(mode="json"))).status_code == 200


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, {"code": "error", "detail": "It broke."}, Unavailable),
        (501, {"code": "missing-dependency", "detail": "It broke."}, Unavailable),
        (401, {"code": "sign-in-required", "detail": "It broke."}, Unavailable),
        (503, {"code": "unavailable", "detail": "It broke."}, Unavailable),
        (504, {"code": "deadline-exceeded", "detail": "It broke."}, DeadlineExceeded),
        (502, None, Unavailable),
        (422, {"code": "invalid-input", "detail": "It broke."}, InvalidInput),
    ],
)
def test_what_a_gateway_has_itself_is_no_refusal(status, body, kind):
    error = door._error(httpx.Response(status, json=body), "lab")
    assert type(error) is kind
    assert "It broke." in error.message or body is None
