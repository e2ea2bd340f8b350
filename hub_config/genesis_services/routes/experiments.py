"""Experiments and their events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Base64Bytes, BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from genesis_services.identity import person_with, while_allowed
from genesis_services.paging import Cursor, Limit, page
from genesis_workbench.core.access import Person
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.people import Returned
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.store import LedgerExperiments

router = APIRouter(prefix="/experiments", tags=["experiments"])
_may_read = person_with("custom:experiments:read")
Reader = Annotated[Person, Depends(_may_read)]
Author = Annotated[Person, Depends(person_with("custom:experiments:run"))]
# What starts work is checked with the hub at this moment, not half a minute ago.
Scientist = Annotated[Person, Depends(person_with("custom:experiments:run", fresh=True))]
Approver = Annotated[Person, Depends(person_with("custom:experiments:approve", fresh=True))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]

_LARGEST_FILE = 10 * 2**20
_LOOK_EVERY_S = 0.25
_HEARTBEAT_S = 15


class Command(BaseModel):
    """Why."""

    reason: str = Field("", max_length=500)


class Change(BaseModel):
    """Another hypothesis, and why."""

    hypothesis: Hypothesis
    reason: str = Field(min_length=1, max_length=2000)


class Approve(BaseModel):
    """An approval of exactly what was shown."""

    digest: str = Field("", max_length=80, description="As the list of what waits shows it.")


class Refuse(BaseModel):
    """A refusal."""

    reason: str = Field(min_length=1, max_length=500)


class Word(BaseModel):
    """What became of a trial, or of one of its steps, by a person's word."""

    became: Literal["observed", "failed", "again"]
    step: str | None = Field(None, max_length=80)
    values: dict[str, Any] | None = Field(None, max_length=100)
    reason: str = Field("", max_length=500)


class Call(BaseModel):
    """What became of a call of a function in a notebook."""

    key: str = Field(max_length=200, description="Of the execution, as its event `started` names it.")
    became: Returned


class Points(BaseModel):
    """Points that are tried next."""

    points: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)


class File(BaseModel):
    """A file that trials need, in base64."""

    base64: Base64Bytes = Field(max_length=_LARGEST_FILE)


def _experiments(request: Request, person: Person) -> LedgerExperiments:
    context = request.app.state.context
    return LedgerExperiments(
        context.ledger,
        person,
        max_trials=context.site.experiments.max_trials,
        blobs=BlobStore(context.state.blobs),
        service=True,
        executors=context.executors,
    )


@router.post("", status_code=201)
def create(request: Request, person: Scientist, spec: ExperimentSpec, key: Key = None) -> dict[str, Any]:
    """Commit the hypothesis and launch the experiment; the runner advances it."""
    experiments = _experiments(request, person)
    return experiments.summary(experiments.create(spec, key=key))


@router.get("")
def summaries(request: Request, person: Reader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List one's own experiments and those shared with one's groups, newest first."""
    return page(_experiments(request, person).summaries(), limit, cursor)


@router.get("/choices")
def choices(request: Request, person: Reader) -> dict[str, Any]:
    """List what a description can choose from: executors with their settings, proposers, rules."""
    return _experiments(request, person).choices()


@router.post("/preview")
def preview(request: Request, person: Author, spec: ExperimentSpec) -> dict[str, Any]:
    """Say what launching it would do, and launch nothing: what refuses it, what it costs, who must agree."""
    return _experiments(request, person).preview(spec)


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
    request: Request,
    person: Reader,
    experiment: str,
    after: Annotated[int, Query(ge=0)] = 0,
    last: Annotated[int, Header(alias="Last-Event-ID", ge=0)] = 0,
) -> Response:
    """Return events after a number; as they come where text/event-stream is asked for.

    `next` is the number after which there may be more. A reader whose stream was cut off says with ``Last-Event-ID`` where it was.
    """
    experiments, after = _experiments(request, person), max(after, last)
    found = await run_in_threadpool(experiments.events, experiment, after)
    if "text/event-stream" not in request.headers.get("accept", ""):
        return JSONResponse({"items": found, "next": found[-1]["seq"] if found else None})
    return StreamingResponse(
        while_allowed(request, _may_read, person, _follow(request, experiments, experiment, after)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/{experiment}/hypothesis")
def change_hypothesis(request: Request, person: Scientist, experiment: str, body: Change) -> dict[str, Any]:
    """Record a changed hypothesis as a deviation: the committed one still decides."""
    experiments = _experiments(request, person)
    experiments.change_hypothesis(experiment, body.hypothesis, body.reason)
    return experiments.summary(experiment)


@router.get("/{experiment}/pending")
def pending(request: Request, person: Reader, experiment: str) -> dict[str, Any]:
    """List what waits for a person: trials to approve, values to enter, trials of which nobody knows what became."""
    return {"items": _experiments(request, person).pending(experiment), "next": None}


@router.get("/{experiment}/queue")
def queue(request: Request, person: Reader, experiment: str) -> dict[str, Any]:
    """List the executions under way, each with where it stands in its executor's queue."""
    return {"items": _experiments(request, person).queue(experiment), "next": None}


@router.post("/{experiment}/trials/{trial}/approval")
def approve(
    request: Request, person: Approver, experiment: str, trial: int, body: Approve | None = None
) -> dict[str, Any]:
    """Approve a trial, for exactly its arguments: used once, and not for ever."""
    experiments = _experiments(request, person)
    experiments.approve(experiment, trial, body.digest if body else "")
    return experiments.summary(experiment)


@router.post("/{experiment}/trials/{trial}/refusal")
def refuse(request: Request, person: Approver, experiment: str, trial: int, body: Refuse) -> dict[str, Any]:
    """Refuse a trial; the reason stays with it."""
    experiments = _experiments(request, person)
    experiments.refuse(experiment, trial, body.reason)
    return experiments.summary(experiment)


@router.post("/{experiment}/trials/{trial}/outcome")
def say(request: Request, person: Scientist, experiment: str, trial: int, body: Word) -> dict[str, Any]:
    """Enter what was measured by hand, or say what became of a trial of which nobody knows."""
    experiments = _experiments(request, person)
    experiments.say(experiment, trial, body.became, step=body.step, values=body.values, reason=body.reason)
    return experiments.summary(experiment)


@router.post("/{experiment}/trials/{trial}/call", status_code=204)
def tell(request: Request, person: Author, experiment: str, trial: int, body: Call) -> None:
    """Tell what became of a call of one's own function, from the notebook that made it. Said twice, it counts once."""
    _experiments(request, person).tell(experiment, trial, body.key, body.became)


@router.post("/{experiment}/points")
def add_points(request: Request, person: Scientist, experiment: str, body: Points) -> dict[str, Any]:
    """Add points that are tried next, before the proposer's own."""
    experiments = _experiments(request, person)
    experiments.add_points(experiment, body.points)
    return experiments.summary(experiment)


@router.get("/{experiment}/files/{digest}")
def file(request: Request, person: Reader, experiment: str, digest: str) -> Response:
    """Return a file that one of its trials left."""
    data = _experiments(request, person).file(experiment, digest)
    # Nobody here knows what an instrument wrote: no browser is to show it as a page.
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
    )


@router.post("/files", status_code=201)
def keep_file(request: Request, person: Scientist, body: File) -> dict[str, str]:
    """Keep a file that trials need, and return its hash."""
    return {"digest": _experiments(request, person).keep_file(body.base64)}


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
) -> AsyncGenerator[str]:
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
    return experiments.ended(experiment)
