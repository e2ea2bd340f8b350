"""The model zoo."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from genesis_services.identity import person_with
from genesis_workbench.core.access import Person

router = APIRouter(prefix="/models", tags=["models"])
Reader = Annotated[Person, Depends(person_with("custom:models:read"))]


@router.get("")
def search(request: Request, person: Reader, q: Annotated[str, Query(max_length=500)] = "") -> dict[str, Any]:
    """Search by words."""
    found = request.app.state.context.zoo.search(q, person)
    return {"items": [each.model_dump(mode="json") for each in found], "next": None}


@router.get("/artifacts/{digest}")
def artifact(request: Request, person: Reader, digest: str) -> Response:
    """Return the bytes of a model that one may see."""
    data = request.app.state.context.zoo.artifact(digest, person)
    return Response(data, media_type="application/octet-stream")


@router.get("/{name}/{version}")
def get(request: Request, person: Reader, name: str, version: str) -> dict[str, Any]:
    """Return one version; ``latest`` is the newest."""
    reference = name if version == "latest" else f"{name}@{version}"
    found: dict[str, Any] = request.app.state.context.zoo.get(reference, person).model_dump(mode="json")
    return found
