"""Who may move an alias, change a stage or deprecate a version, and the event that says so.

draft -> candidate -> approved -> retired. Whoever registered a version proposes it; another person, who holds the right
to approve, approves exactly that record. What is retired can only come back as a draft.
"""

from __future__ import annotations

from typing import Any

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, PermissionRefused
from genesis_workbench.core.ledger import NewEvent
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.reference import check_alias
from genesis_workbench.models.standing import (
    ALIAS_MOVED,
    DEPRECATED,
    DEPRECATION_LIFTED,
    SIGNED,
    STAGE_CHANGED,
    Named,
    Stage,
)

APPROVE = "custom:models:approve"
_NEXT: dict[str, tuple[str, ...]] = {
    "draft": ("candidate", "retired"),
    "candidate": ("approved", "draft", "retired"),
    "approved": ("retired",),
    "retired": ("draft",),
}
_MOST_REASON = 500


def moved(
    named: Named, name: str, alias: str, version: ModelVersion | None, person: Person, reason: str
) -> NewEvent:
    """Point an alias to a version, or take it away."""
    check_alias(alias)
    _keeper(named, name, person)
    number = version.version if version else None
    if number == named.target(alias):
        where = "points to nothing" if number is None else f"points to {name}@{number}"
        raise Conflict(f"{name}@{alias} {where} already.")
    if number is not None and named.standing(number).stage == "retired":
        raise Conflict(
            f"{name}@{number} is retired: no alias may point to it. Bring it back as a draft first."
        )
    body = {
        "alias": alias,
        "version": number,
        "digest": version.digest if version else "",
        "previous_version": named.target(alias),
        "reason": _reason(reason),
    }
    return _event(named, name, ALIAS_MOVED, body, person)


def undone(named: Named, name: str, alias: str, person: Person, reason: str) -> NewEvent:
    """Point an alias back to where it pointed before its last move."""
    moves = named.moves.get(check_alias(alias), ())
    if not moves:
        raise Conflict(f"{name}@{alias} was never moved, so there is nothing to undo.")
    before = moves[-2].version if len(moves) > 1 else None
    version = None if before is None else named.versions[before]
    return moved(named, name, alias, version, person, reason or f"undoes the move of {moves[-1].when}")


def staged(
    named: Named, version: ModelVersion, stage: Stage, person: Person, reason: str, digest: str
) -> NewEvent:
    """Change the stage of a version."""
    now = named.standing(version.version)
    if stage not in _NEXT[now.stage]:
        raise Conflict(
            f"{version.reference} is {now.stage}; from there it becomes {' or '.join(_NEXT[now.stage])}, not {stage}."
        )
    if digest and digest != version.digest:
        raise Conflict(
            f"{version.reference} has the digest {version.digest}, not {digest}: what was looked at is another record."
        )
    if stage == "approved":
        _approver(version, now.steps[-1].who, person)
    else:
        _keeper(named, version.name, person)
    body = {
        "version": version.version,
        "digest": version.digest,
        "stage": stage,
        "previous_stage": now.stage,
        "reason": _reason(reason, wanted=(now.stage, stage) == ("candidate", "draft")),
    }
    return _event(named, version.name, STAGE_CHANGED, body, person)


def deprecated(named: Named, version: ModelVersion, reason: str, successor: str, person: Person) -> NewEvent:
    """Say why a version should no longer be used. `successor` is known to exist."""
    _keeper(named, version.name, person)
    body = {
        "version": version.version,
        "digest": version.digest,
        "reason": _reason(reason, wanted=True),
        "successor": successor,
    }
    return _event(named, version.name, DEPRECATED, body, person)


def lifted(named: Named, version: ModelVersion, person: Person) -> NewEvent:
    """Take a deprecation back."""
    _keeper(named, version.name, person)
    if named.standing(version.version).deprecation is None:
        raise Conflict(f"{version.reference} is not deprecated.")
    body = {"version": version.version, "digest": version.digest}
    return _event(named, version.name, DEPRECATION_LIFTED, body, person)


def signed(named: Named, version: ModelVersion, bundle: dict[str, Any], person: Person) -> NewEvent:
    """Attach a signature that was verified."""
    _keeper(named, version.name, person)
    body = {"version": version.version, "digest": version.digest, "bundle": bundle}
    return _event(named, version.name, SIGNED, body, person)


def _event(named: Named, name: str, kind: str, body: dict[str, Any], person: Person) -> NewEvent:
    # Decided on what is known now: if somebody changed something meanwhile, the ledger refuses it.
    return NewEvent(f"model/{name}", kind, body, person.name, len(named.life))


def _keeper(named: Named, name: str, person: Person) -> None:
    if person.name != named.owner and APPROVE not in person.scopes:
        raise PermissionRefused(
            f"You may not change this: {name} belongs to {named.owner or 'nobody'}, and you do not hold {APPROVE}."
        )


def _approver(version: ModelVersion, proposer: str, person: Person) -> None:
    if APPROVE not in person.scopes:
        raise PermissionRefused(f"You may not approve {version.reference}: it needs the right {APPROVE}.")
    if person.name in (version.owner, proposer):
        raise PermissionRefused(
            f"You registered or proposed {version.reference} yourself: another person who holds {APPROVE} approves it."
        )


def _reason(text: str, *, wanted: bool = False) -> str:
    text = text.strip()
    if wanted and not text:
        raise InvalidInput("Say why: a reason is needed here.")
    if len(text) > _MOST_REASON:
        raise InvalidInput(f"The reason has {len(text)} characters; at most {_MOST_REASON} are taken.")
    return text
