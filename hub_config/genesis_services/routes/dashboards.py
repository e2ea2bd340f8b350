"""Dashboards: publish, list, take back, and hand the script to the server that runs it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from starlette.concurrency import run_in_threadpool

from genesis_services.identity import person_with
from genesis_services.paging import Cursor, Limit, page
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, NotFound
from genesis_workbench.dashboards.record import DashboardRecord, Publication

router = APIRouter(prefix="/dashboards", tags=["dashboards"])
Reader = Annotated[Person, Depends(person_with("custom:dashboards:read"))]
Publisher = Annotated[Person, Depends(person_with("custom:dashboards:share", fresh=True))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


def _shown(request: Request, record: DashboardRecord) -> dict[str, Any]:
    return {
        **record.model_dump(mode="json", exclude={"removed"}),
        "url": request.app.state.context.site.origin(record.id, "dash") + "/",
    }


@router.post("", status_code=201)
def publish(request: Request, person: Publisher, publication: Publication, key: Key = None) -> dict[str, Any]:
    """Publish a dashboard."""
    context = request.app.state.context
    if not context.site.hub.origin_domain:
        raise Conflict(
            "This site has no domain for dashboards (hub.origin_domain), and on one origin a shared page could act as its "
            "viewer. Ask the operator."
        )
    return _shown(request, context.dashboards.publish(publication, person, key=key))


@router.get("")
def dashboards(request: Request, person: Reader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the dashboards that one may open, newest first."""
    found = [_shown(request, record) for record in request.app.state.context.dashboards.all(person)]
    return page(found[::-1], limit, cursor)


@router.get("/{dashboard}")
def get(request: Request, person: Reader, dashboard: str) -> dict[str, Any]:
    """Return one dashboard."""
    return _shown(request, request.app.state.context.dashboards.get(dashboard, person))


@router.delete("/{dashboard}", status_code=204)
async def unshare(request: Request, person: Publisher, dashboard: str) -> None:
    """Take a dashboard back; open pages close within half a minute."""
    await run_in_threadpool(request.app.state.context.dashboards.unshare, dashboard, person)
    await request.app.state.gate.stop(person.name, dashboard)


@router.get("/{dashboard}/app", include_in_schema=False)
def app(request: Request, person: Reader, dashboard: str) -> dict[str, Any]:
    """Hand the script to the owner's server, with the key by which it knows the gate."""
    context = request.app.state.context
    record = context.dashboards.get(dashboard, person)
    if record.owner != person.name:
        raise NotFound("There is no such dashboard, or it was taken back.")
    return {
        "title": record.title,
        "source": context.dashboards.script(record),
        "parameters": record.parameters,
        "gate_key": request.app.state.gate.key(record.id),
        "origin": context.site.origin(record.id, "dash"),
    }
