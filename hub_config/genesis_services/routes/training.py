"""Training runs: told by their owners' servers, seen, stopped and resumed by their owners from anywhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from genesis_services.identity import person_with
from genesis_services.paging import Cursor, Limit, page
from genesis_workbench.core.access import Person
from genesis_workbench.training.report import Report, curves
from genesis_workbench.training.request import Frozen
from genesis_workbench.training.told import RESUME, STOP, Line, ToldRuns

router = APIRouter(prefix="/training", tags=["training"])
Reader = Annotated[Person, Depends(person_with("custom:training:read"))]
Owner = Annotated[Person, Depends(person_with("custom:training:run"))]
# What starts machines is checked with the hub at this moment, not half a minute ago.
Starter = Annotated[Person, Depends(person_with("custom:training:run", fresh=True))]


class Told(Frozen):
    """A report, and lines of the curve from number `offset` on."""

    report: Report
    offset: int = Field(0, ge=0)
    lines: tuple[Line, ...] = Field((), max_length=5000)


class More(Frozen):
    """What a run is to be given when it goes on."""

    budget_node_hours: float | None = Field(
        None, gt=0, description="Node-hours in all; as before where left out."
    )


class Answered(Frozen):
    """What became of something that was asked; empty where it was done."""

    fault: str = Field("", max_length=1000)


def _runs(request: Request) -> ToldRuns:
    runs: ToldRuns = request.app.state.context.training
    return runs


@router.get("/runs")
def runs(request: Request, person: Reader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List one's own runs, newest first: state, progress, node-hours, checkpoints, and since when that is known."""
    return page(list(_runs(request).all(person))[::-1], limit, cursor)


@router.post("/runs")
def tell(request: Request, person: Owner, body: Told) -> dict[str, Any]:
    """Tell of one's own run; the answer says how many lines of its curve are here."""
    return {"offset": _runs(request).tell(body.report, body.lines, body.offset, person)}


@router.get("/asked")
def asked(request: Request, person: Owner) -> dict[str, Any]:
    """Return what one asked of one's runs and one's own server has not done yet."""
    return {"items": _runs(request).asked(person), "next": None}


@router.get("/runs/{run}")
def run(request: Request, person: Reader, run: str) -> dict[str, Any]:
    """Return where one's own run stands, as it was last told."""
    return _runs(request).get(run, person)


@router.get("/runs/{run}/metrics")
def metrics(
    request: Request, person: Reader, run: str, after: Annotated[int, Query(ge=0)] = 0, limit: Limit = 50
) -> dict[str, Any]:
    """Return lines of its curve after the first `after`."""
    found = _runs(request).lines(run, person)
    items = found[after : after + limit]
    return {"items": items, "next": after + len(items) if after + len(items) < len(found) else None}


@router.get("/runs/{run}/curves")
def drawn(request: Request, person: Reader, run: str) -> dict[str, Any]:
    """Return what is drawn of its curve: at most 300 points of each loss, and of samples a second."""
    return curves(_runs(request).lines(run, person))


@router.post("/runs/{run}/stop", status_code=202)
def stop(request: Request, person: Owner, run: str) -> dict[str, Any]:
    """Ask for it to end with a checkpoint; its owner's server does it as soon as it is there."""
    return _runs(request).ask(run, STOP, person)


@router.post("/runs/{run}/resume", status_code=202)
def resume(request: Request, person: Starter, run: str, body: More | None = None) -> dict[str, Any]:
    """Ask for it to go on from its last checkpoint; its owner's server submits it as soon as it is there."""
    told = body.model_dump(exclude_none=True) if body else {}
    return _runs(request).ask(run, RESUME, person, **told)


@router.post("/runs/{run}/asked/{number}", status_code=204)
def answer(request: Request, person: Owner, run: str, number: int, body: Answered) -> None:
    """Say what became of something that was asked."""
    _runs(request).answer(run, number, body.fault, person)
