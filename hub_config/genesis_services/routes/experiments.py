"""Experiments and their events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from genesis_services.identity import person_with
from genesis_services.paging import Cursor, Limit, page
from genesis_workbench.core.access import Person
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.store import LedgerExperiments

router = APIRouter(prefix="/experiments", tags=["experiments"])
Reader = Annotated[Person, Depends(person_with("custom:experiments:read"))]
# What starts work is checked with the hub at this moment, not half a minute ago.
Scientist = Annotated[Person, Depends(person_with("custom:experiments:run", fresh=True))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]

_LOOK_EVERY_S = 0.25
_HEARTBEAT_S = 15


class Command(BaseModel):
    """Why."""

    reason: str = Field("", max_length=500)


class Change(BaseModel):
    """Another hypothesis, and why."""

    hypothesis: Hypothesis
    reason: str = Field(min_length=1, max_length=2000)


def _experiments(request: Request, person: Person) -> LedgerExperiments:
    context = request.app.state.context
    most = context.site.experiments.max_trials
    return LedgerExperiments(context.ledger, person, max_trials=most, blobs=BlobStore(context.state.blobs))


@router.post("", status_code=201)
def create(request: Request, person: Scientist, spec: ExperimentSpec, key: Key = None) -> dict[str, Any]:
    """Commit the hypothesis and launch the experiment; the runner advances it."""
    experiments = _experiments(request, person)
    return experiments.summary(experiments.create(spec, key=key))


@router.get("")
def summaries(request: Request, person: Reader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List one's own experiments and those shared with one's groups, newest first."""
    return page(_experiments(request, person).summaries(), limit, cursor)


@router.get("/{experiment}")
def summary(request: Request, person: Reader, experiment: str) -> dict[str, Any]:
    """Return state, best trial and finding."""
    return _experiments(request, person).summary(experiment)


@router.get("/{experiment}/verification")
def verification(request: Request, person: Reader, experiment: str) -> dict[str, Any]:
    """Check it from the ledger alone: chain, commitment, trials, attachments and decision."""
    return _experiments(request, person).verify(experiment).as_dict()


@router.get("/{experiment}/events", response_model=None)
async def events(
    request: Request, person: Reader, experiment: str, after: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """Return events after a number; as they come where text/event-stream is asked for."""
    experiments = _experiments(request, person)
    found = await run_in_threadpool(experiments.events, experiment, after)
    if "text/event-stream" not in request.headers.get("accept", ""):
        return JSONResponse({"items": found, "next": None})
    return StreamingResponse(
        _follow(request, experiments, experiment, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/{experiment}/hypothesis")
def change_hypothesis(request: Request, person: Scientist, experiment: str, body: Change) -> dict[str, Any]:
    """Record a changed hypothesis as a deviation: the committed one still decides."""
    experiments = _experiments(request, person)
    experiments.change_hypothesis(experiment, body.hypothesis, body.reason)
    return experiments.summary(experiment)


@router.post("/{experiment}/{what}")
def command(
    request: Request, person: Scientist, experiment: str, what: str, body: Command | None = None
) -> dict[str, Any]:
    """Pause, resume or stop."""
    experiments = _experiments(request, person)
    experiments.command(experiment, what, body.reason if body else "")
    return experiments.summary(experiment)


async def _follow(
    request: Request, experiments: LedgerExperiments, experiment: str, after: int
) -> AsyncIterator[str]:
    quiet, over = 0.0, False
    while not await request.is_disconnected():
        found = await run_in_threadpool(experiments.events, experiment, after)
        for event in found:
            after = event["seq"]
            yield f"id: {after}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
            if event["kind"] == "experiment.ended":
                yield "event: end\ndata: {}\n\n"
                return
        if not found and over:
            yield "event: end\ndata: {}\n\n"
            return
        # Its last events may have come since these were read: what is over is looked at once more.
        over = not found and await run_in_threadpool(_ended, experiments, experiment)
        quiet = 0.0 if found else quiet + _LOOK_EVERY_S
        if quiet >= _HEARTBEAT_S:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_EVERY_S)


def _ended(experiments: LedgerExperiments, experiment: str) -> bool:
    return experiments.state(experiment).state == "ended"
