"""The ledger, for those who may read all of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from genesis_services.identity import person_with
from genesis_services.paging import Cursor, Limit, decode, encode
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput

router = APIRouter(prefix="/ledger", tags=["ledger"])
Auditor = Annotated[Person, Depends(person_with("custom:ledger:read"))]


@router.get("/events")
def events(
    request: Request,
    _person: Auditor,
    stream: Annotated[str | None, Query(max_length=200)] = None,
    kind: Annotated[str | None, Query(max_length=80)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Read events in order."""
    after = 0
    if cursor is not None:
        text = decode(cursor)
        if not text.isdecimal():
            raise InvalidInput("This is no cursor of the ledger: pass on `next` of the page before.")
        after = int(text)
    found = request.app.state.context.ledger.read(
        stream=stream, kinds=[kind] if kind else None, after=after, limit=limit
    )
    more = encode(str(found[-1].seq)) if len(found) == limit else None
    return {"items": [event.as_dict() for event in found], "next": more}


@router.get("/verification")
def verification(request: Request, _person: Auditor) -> dict[str, Any]:
    """Check the whole chain of hashes."""
    found = request.app.state.context.ledger.verify()
    return {"ok": found.ok, **asdict(found)}
