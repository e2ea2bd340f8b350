"""Who am I."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from genesis_services.identity import person_with
from genesis_workbench.core.access import Person

router = APIRouter(tags=["people"])


@router.get("/me")
def who(person: Annotated[Person, Depends(person_with(""))]) -> dict[str, Any]:
    """Return the name, groups and rights of whoever the token belongs to."""
    return {
        "name": person.name,
        "groups": sorted(person.groups),
        "scopes": sorted(scope for scope in person.scopes if scope.startswith("custom:")),
        "admin": person.admin,
    }
