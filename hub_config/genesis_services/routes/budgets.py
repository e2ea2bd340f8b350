"""Budgets that several experiments draw from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from genesis_services.identity import person_with
from genesis_workbench.core.access import Person
from genesis_workbench.experiments.accounts import Accounts

router = APIRouter(prefix="/budgets", tags=["budgets"])
Reader = Annotated[Person, Depends(person_with("custom:experiments:read"))]
# Who may approve single trials may say beforehand what many of them may use.
Approver = Annotated[Person, Depends(person_with("custom:experiments:approve", fresh=True))]


class Opened(BaseModel):
    """What may be used, and by whose members."""

    limits: dict[str, float] = Field(min_length=1, max_length=5)
    groups: list[str] = Field(default_factory=list, max_length=100)
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")


class Changed(BaseModel):
    """Other limits, and why."""

    limits: dict[str, float] = Field(min_length=1, max_length=5)
    reason: str = Field(min_length=1, max_length=500)


def _accounts(request: Request) -> Accounts:
    return Accounts(request.app.state.context.ledger)


@router.get("")
def budgets(request: Request, person: Reader) -> dict[str, Any]:
    """List the shared budgets that one may draw from."""
    return {"items": [each.summary() for each in _accounts(request).all_seen_by(person)], "next": None}


@router.get("/{name}")
def budget(request: Request, person: Reader, name: str) -> dict[str, Any]:
    """Return limits, what is reserved and what is spent."""
    return _accounts(request).seen_by(name, person).summary()


@router.post("/{name}", status_code=201)
def open_budget(request: Request, person: Approver, name: str, body: Opened) -> dict[str, Any]:
    """Open a shared budget for one's groups."""
    accounts = _accounts(request)
    return accounts.open(name, body.limits, person, groups=body.groups, currency=body.currency).summary()


@router.post("/{name}/limits")
def change(request: Request, person: Approver, name: str, body: Changed) -> dict[str, Any]:
    """Set other limits; what is reserved and spent already stays so."""
    return _accounts(request).change(name, body.limits, person, body.reason).summary()
