"""Laboratories: what their gateways say, and the emergency stop. The gateways themselves are reached only from here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from genesis_services.identity import person_with, while_allowed
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import GenesisError, NotFound
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.client import Client
from genesis_workbench.experiments.instruments.emergency import tidied

_LOOK_EVERY_S = 1.0
_HEARTBEAT_S = 15.0
_STOPS = anyio.CapacityLimiter(20)  # all other requests share one set of threads, which may all be waiting
log = logging.getLogger(__name__)
router = APIRouter(prefix="/laboratories", tags=["laboratories"])
_may_read = person_with("custom:laboratories:read")
Reader = Annotated[Person, Depends(_may_read)]
Stopper = Annotated[Person, Depends(person_with("custom:laboratories:stop"))]
# What moves devices again is checked with the hub at this moment, not half a minute ago.
Operator = Annotated[Person, Depends(person_with("custom:laboratories:operate", fresh=True))]


class Why(BaseModel):
    """The reason, which everybody sees."""

    why: str = Field(min_length=1, max_length=500)


class Stopping(BaseModel):
    """The reason of a stop, which everybody sees. A stop is not refused for its wording."""

    why: Annotated[str, BeforeValidator(tidied)] = tidied("")


class Settlement(Why):
    """What somebody found who looked."""

    ran: bool
    values: dict[str, FiniteFloat] = Field(default_factory=dict, max_length=100)


class Reservation(BaseModel):
    """Until when; empty to give it back, and with a reason to end another person's."""

    until: str = Field("", max_length=40)
    why: str = Field("", max_length=500)


def _client(request: Request, name: str) -> Client:
    context = request.app.state.context
    for section in address.laboratories(context.site, context.state):
        if section.name == name:
            return Client(section, context.state)
    raise NotFound(f"This site has no laboratory {name!r}.")


@router.get("")
def laboratories(request: Request, person: Reader) -> dict[str, Any]:
    """List the names of the site's laboratories, and which procedures run in each."""
    context = request.app.state.context
    found = address.laboratories(context.site, context.state)
    procedures = {section.name: section.procedures for section in found}
    return {"items": [section.name for section in found], "procedures": procedures}


@router.get("/{name}")
def laboratory(request: Request, person: Reader, name: str) -> dict[str, Any]:
    """Return devices, queue, emergency stop and what people did last."""
    return _client(request, name).state()


@router.get("/{name}/events")
async def events(request: Request, person: Reader, name: str) -> StreamingResponse:
    """Return the laboratory as it is, and again whenever that has changed, as server-sent events."""
    client = await run_in_threadpool(_client, request, name)
    return StreamingResponse(
        while_allowed(request, _may_read, person, _changes(request, client)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/{name}/plans/{key}")
def plan(request: Request, person: Reader, name: str, key: str) -> dict[str, Any]:
    """Return a plan: its steps, how far it is, and what it gave."""
    return _client(request, name).plan(key)


@router.post("/{name}/stop")
async def stop(request: Request, person: Stopper, name: str, body: Stopping | None = None) -> dict[str, Any]:
    """Emergency stop: every device into its safe state at once. It says which device confirmed it."""
    why = (body or Stopping()).why
    return await anyio.to_thread.run_sync(_stop, request, person, name, why, limiter=_STOPS)


def _stop(request: Request, person: Person, name: str, why: str) -> dict[str, Any]:
    answer = _client(request, name).stop(person.name, why)
    try:
        _tell(request, person, name, "laboratory.stopped", {"why": why, "devices": answer["devices"]})
    except Exception:  # whatever the database has, the devices were stopped, and that is what must be told
        log.exception("the stop of %s by %s is not in the ledger", name, person.name)
        words = f"{answer.get('warning', '')} The ledger could not be written: tell the operator.".strip()
        answer["warning"] = words
    return answer


@router.post("/{name}/reset")
def reset(request: Request, person: Operator, name: str, body: Why) -> dict[str, Any]:
    """End the emergency stop."""
    answer = _client(request, name).reset(person.name, body.why)
    _tell(request, person, name, "laboratory.reset", {"why": body.why})
    return answer


@router.post("/{name}/plans/{key}/settle")
def settle(request: Request, person: Operator, name: str, key: str, body: Settlement) -> dict[str, Any]:
    """Say what became of a plan that is unknown. Nothing is run again."""
    answer = _client(request, name).settle(key, who=person.name, **body.model_dump())
    _tell(request, person, name, "laboratory.settled", {"plan": key, **body.model_dump()})
    return answer


@router.post("/{name}/reservations/{device}")
def reserve(request: Request, person: Operator, name: str, device: str, body: Reservation) -> dict[str, Any]:
    """Reserve a device, or give it back."""
    answer = _client(request, name).reserve(device, person.name, body.until, body.why)
    if body.why and not body.until:
        _tell(request, person, name, "laboratory.reservation-ended", {"device": device, "why": body.why})
    return answer


async def _changes(request: Request, client: Client) -> AsyncGenerator[str]:
    last, quiet = "", 0.0
    while not await request.is_disconnected():
        try:
            told = await run_in_threadpool(client.state)
        except GenesisError as error:
            told = {"trouble": error.message}
        # What only says that somebody looked is no change.
        devices = [{**each, "seen": ""} for each in told.get("devices", ())]
        now = json.dumps({**told, "heartbeat": "", "devices": devices}, sort_keys=True)
        if now != last:
            last, quiet = now, 0.0
            yield f"event: laboratory\ndata: {json.dumps(told)}\n\n"
        else:
            quiet += _LOOK_EVERY_S
        if quiet >= _HEARTBEAT_S:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_EVERY_S)


def _tell(request: Request, person: Person, name: str, kind: str, body: dict[str, Any]) -> None:
    request.app.state.context.ledger.append(f"laboratory/{name}", kind, body, actor=person.name)
