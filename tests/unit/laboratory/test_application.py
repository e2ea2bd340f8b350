"""The gateway over HTTP: nothing without its token, errors as problem+json."""

from __future__ import annotations

import httpx
import pytest

from genesis_workbench.experiments.instruments.application import application
from unit.laboratory.twins import anneal, ended, mix, plan

TOKEN = "t" * 64


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
        ("POST", "/stop", {"who": "alice"}, 422, "invalid-input"),
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
