"""The catalog."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel

from genesis_services.identity import person_with
from genesis_services.paging import Cursor, Limit, decode, encode
from genesis_workbench.core.access import Access, Person
from genesis_workbench.core.errors import InvalidInput, NotFound

router = APIRouter(prefix="/catalog", tags=["catalog"])
Reader = Annotated[Person, Depends(person_with("custom:catalog:read"))]
Steward = Annotated[Person, Depends(person_with("custom:catalog:harvest", fresh=True))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class HarvestRequest(BaseModel):
    """Which source to harvest."""

    source: str


@router.get("/datasets", response_model=None)
def search(
    request: Request,
    person: Reader,
    q: Annotated[
        str, Query(max_length=1000, description="What to look for: see docs/reference/search.md.")
    ] = "",
    agency: Annotated[str | None, Query(description="Exactly this agency.")] = None,
    field: Annotated[str | None, Query(description="Exactly this field of science.")] = None,
    format: Annotated[str | None, Query(description="Exactly this format.")] = None,  # noqa: A002 - the facet's name
    licence: Annotated[str | None, Query(description="Exactly this licence.")] = None,
    label: Annotated[str | None, Query(description="Exactly this access label.")] = None,
    year: Annotated[int | None, Query(description="Last changed in this year.")] = None,
    source: Annotated[str | None, Query(description="Listed by this source.")] = None,
    bbox: Annotated[
        str | None, Query(max_length=100, description="west,south,east,north in degrees.")
    ] = None,
    period: Annotated[
        str | None, Query(max_length=100, description="start,end; either may be empty.")
    ] = None,
    sort: Annotated[str, Query(description="relevance, newest or title.")] = "relevance",
    by_meaning: Annotated[
        bool, Query(description="Look for what is near in meaning too, where the site can.")
    ] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Search every source at once; the answer says of each how fresh it is."""
    found = request.app.state.context.catalog.search(
        q,
        person=person,
        agency=agency,
        field=field,
        format=format,
        licence=licence,
        label=label,
        year=year,
        source=source,
        bbox=None if bbox is None else bbox.split(","),
        period=None if period is None else period.split(","),
        sort=sort,
        by_meaning=by_meaning,
        limit=limit,
        cursor=cursor,
    )
    return Response(found.as_json, media_type="application/json")


@router.get("/datasets/{dataset:path}/native")
def native(request: Request, person: Reader, dataset: str) -> dict[str, Any]:
    """Return one record as its source gave it, with its hash."""
    found = request.app.state.context.catalog.native(dataset, person)
    return {"dataset": dataset, "native": found.text, "digest": found.digest}


@router.get("/datasets/{dataset:path}")
def get(request: Request, person: Reader, dataset: str) -> dict[str, Any]:
    """Return one record."""
    found: dict[str, Any] = request.app.state.context.catalog.get(dataset, person).model_dump(mode="json")
    return found


@router.post("/datasets/{dataset:path}/openings", status_code=201)
def record_opening(request: Request, person: Reader, dataset: str) -> dict[str, Any]:
    """Write into the ledger that a dataset was opened."""
    request.app.state.context.catalog.record_opening(dataset, person)
    return {"dataset": dataset}


@router.get("/items")
def items(
    request: Request,
    person: Reader,
    q: Annotated[str, Query(max_length=500, description="Words, for sources that search by them.")] = "",
    collection: Annotated[list[str] | None, Query(max_length=20)] = None,
    bbox: Annotated[str, Query(max_length=100, description="West,south,east,north in degrees.")] = "",
    start: Annotated[str, Query(max_length=40, description="Begin of a period, ISO 8601.")] = "",
    end: Annotated[str, Query(max_length=40, description="End of a period, ISO 8601.")] = "",
    element: Annotated[list[str] | None, Query(max_length=20, description="Chemical symbols.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Most items of each source.")] = 50,
    deadline_s: Annotated[float, Query(gt=0, le=25)] = 10,
) -> dict[str, Any]:
    """Ask item-level sources live; what came in time, and how each of them answered."""
    from genesis_workbench.catalog.federation import federate
    from genesis_workbench.catalog.sources._items import ItemQuery, read_bbox

    query = ItemQuery(q, tuple(collection or ()), read_bbox(bbox), start, end, tuple(element or ()), limit)
    sections = request.app.state.context.site.catalog.sources
    with federate(sections, query, person=person, deadline_s=deadline_s) as found:
        answer: dict[str, Any] = found.wait().result().as_dict()
    return answer


@router.get("/sources")
def sources(request: Request, person: Reader) -> dict[str, Any]:
    """Return the state of every source."""
    found = request.app.state.context.catalog.sources(person)
    return {"items": [asdict(each) for each in found], "next": None}


@router.get("/sources/{source}/rejected")
def rejected(
    request: Request, person: Steward, source: str, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """Return which records of a source's last harvest could not be listed, and why."""
    catalog = request.app.state.context.catalog
    section = catalog.section(source)
    if not Access(section.access_label, frozenset(section.groups)).permits(person):
        raise NotFound(f"The site has no source {source[:120]!r} that you may see.")
    after = decode(cursor) if cursor else "0"
    if not after.isdecimal() or len(after) > 18:
        raise InvalidInput(f"{cursor!r} is no cursor: pass on `next` of the page before.")
    found = catalog.rejected(source, after=int(after), limit=limit + 1)
    items = [{"number": number, **asdict(record)} for number, record in found[:limit]]
    return {"items": items, "next": encode(str(items[-1]["number"])) if len(found) > limit else None}


@router.post("/harvests", status_code=202)
def harvest(request: Request, person: Steward, body: HarvestRequest, key: Key = None) -> dict[str, Any]:
    """Ask the runner to harvest a source now; the same key asks once."""
    context = request.app.state.context
    names = {section.name for section in context.site.catalog.sources}
    if body.source not in names:
        raise NotFound(
            f"The site names no source {body.source[:80]!r}. It names: {', '.join(sorted(names))}."
        )
    stream, kind = f"catalog/source/{body.source}", "source.requested"
    for event in context.ledger.read(stream=stream, kinds=[kind]) if key else ():
        if (event.body.get("key"), event.actor) == (key, person.name):
            return {"source": body.source, "requested": event.time}
    asked = {"source": body.source, **({"key": key} if key else {})}
    event = context.ledger.append(stream, kind, asked, actor=person.name)
    return {"source": body.source, "requested": event.time}
