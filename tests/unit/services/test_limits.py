"""The service reads no request without end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from genesis_services import limits, problems


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    monkeypatch.setattr(limits, "MOST_BYTES", 1000)
    app = FastAPI()
    problems.install(app)
    app.add_middleware(limits.LimitedBodies)

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


async def test_what_is_small_enough_arrives_whole(client: httpx.AsyncClient) -> None:
    assert (await client.post("/size", content=b"x" * 1000)).json() == 1000
    assert (await client.post("/size", content=pieces(10))).json() == 1000


async def test_what_is_larger_is_refused_with_what_to_do(client: httpx.AsyncClient) -> None:
    for content in (b"x" * 1001, pieces(11)):  # by its header, and without one
        answer = await client.post("/size", content=content)
        assert answer.status_code == 413
        assert "in parts" in answer.json()["detail"]
