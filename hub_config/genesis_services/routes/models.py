"""The model zoo: search, load, send in parts, register, and what becomes of versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.concurrency import run_in_threadpool

from genesis_services.identity import person_with
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, TooLarge, Unavailable
from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.models import signing
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.life import APPROVE
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature
from genesis_workbench.models.standing import Entry, Stage
from genesis_workbench.models.uploads import MOST_BYTES, PART_BYTES, Uploads
from genesis_workbench.models.zoo import LocalZoo

router = APIRouter(prefix="/models", tags=["models"])
Reader = Annotated[Person, Depends(person_with("custom:models:read"))]
Writer = Annotated[Person, Depends(person_with("custom:models:write", fresh=True))]
Approver = Annotated[Person, Depends(person_with(APPROVE, fresh=True))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
Reason = Annotated[str, Field(max_length=500, description="Why.")]

_TESTS = threading.BoundedSemaphore(2)
"""Each registration holds its artifact in memory and runs a process that may use 2 GB."""
_PATIENCE_S = 20


class Body(BaseModel):
    """What is sent; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Begun(Body):
    """A file that will be sent."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0, le=MOST_BYTES)


class Registration(Body):
    """A model whose artifact was sent before."""

    format: str = Field(max_length=60)
    artifact: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    signature: Signature
    card: ModelCard
    self_test: SelfTest
    lineage: dict[str, Any] = Field(default_factory=dict)
    reuse: bool = False
    domain: Domain | None = None
    intervals: Intervals | None = None


class Why(Body):
    """A reason."""

    reason: Reason = ""


class Aim(Why):
    """Where an alias points from now on; null takes it away."""

    version: int | None = Field(ge=1)


class Change(Why):
    """A stage, for the record with this digest."""

    stage: Stage
    digest: str = Field("", max_length=80)


class Deprecated(Body):
    """Why a version should no longer be used, and what to use instead."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    successor: str = Field("", max_length=200)


class Signed(Body):
    """A bundle of OpenSSF model signing."""

    bundle: dict[str, Any]

    @field_validator("bundle")
    @classmethod
    def _bundle_is_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(canonical_json(value)) > signing.MOST_BYTES:
            raise ValueError(f"a signature has at most {signing.MOST_BYTES:,} bytes.")
        return value


def _zoo(request: Request) -> LocalZoo:
    zoo: LocalZoo = request.app.state.context.zoo
    return zoo


def _uploads(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.context.uploads
    return uploads


def _reference(name: str, version: str) -> str:
    return name if version == "latest" else f"{name}@{version}"


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        **entry.version.model_dump(mode="json"),
        "standing": entry.standing.model_dump(mode="json"),
    }


@router.get("")
def search(request: Request, person: Reader, q: Annotated[str, Query(max_length=500)] = "") -> dict[str, Any]:
    """Search by words; each model by its newest version, with its stage, aliases and deprecation."""
    return {"items": [_shown(each) for each in _zoo(request).entries(q, person)], "next": None}


@router.get("/artifacts/{digest}")
def artifact(request: Request, person: Reader, digest: str) -> Response:
    """Return the bytes of a model that one may see."""
    return Response(_zoo(request).artifact(digest, person), media_type="application/octet-stream")


@router.post("/uploads", status_code=201)
def begin(request: Request, person: Writer, body: Begun) -> dict[str, Any]:
    """Begin to send a file, or go on with it: `offset` bytes are here already, parts have at most `part_bytes`."""
    offset = _uploads(request).begin(person.name, body.digest, body.size_bytes)
    return {"digest": body.digest, "offset": offset, "part_bytes": PART_BYTES}


@router.get("/uploads/{digest}")
def arrived(request: Request, person: Writer, digest: str) -> dict[str, Any]:
    """Say how much of one's own file is here."""
    return {"digest": digest, "offset": _uploads(request).offset(person.name, digest)}


@router.patch("/uploads/{digest}")
async def part(
    request: Request,
    person: Writer,
    digest: str,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, description="Where the part begins.")],
) -> dict[str, Any]:
    """Add a part, as raw bytes."""
    data = await read_body(request, PART_BYTES)
    here = await run_in_threadpool(_uploads(request).append, person.name, digest, offset, data)
    return {"digest": digest, "offset": here}


@router.delete("/uploads/{digest}", status_code=204)
def forget(request: Request, person: Writer, digest: str) -> None:
    """Delete what one has sent of a file."""
    _uploads(request).forget(person.name, digest)


@router.get("/{name}")
def versions(request: Request, person: Reader, name: str) -> dict[str, Any]:
    """Return all versions of a name, newest first."""
    return {"items": [_shown(each) for each in _zoo(request).versions(name, person)], "next": None}


@router.get("/{name}/history")
def history(request: Request, person: Reader, name: str) -> dict[str, Any]:
    """Return who moved, approved or deprecated what, when and why."""
    return {"items": _zoo(request).history(name, person), "next": None}


@router.post("/{name}/versions", status_code=201)
def register(
    request: Request, person: Writer, name: str, body: Registration, key: Key = None
) -> dict[str, Any]:
    """Test a model whose artifact was sent, and add it as the next version of its name."""
    zoo, uploads = _zoo(request), _uploads(request)
    before = zoo.registered_before(name, person.name, key or "")
    if before is not None:  # the answer was lost on the way
        return _shown(zoo.entry(before.reference, person))
    with _one_of_few():
        data = uploads.whole(person.name, body.artifact)
        record = zoo.register(
            name,
            body.format,
            data,
            body.signature,
            body.card,
            body.self_test,
            actor=person.name,
            lineage=body.lineage,
            reuse=body.reuse,
            domain=body.domain,
            intervals=body.intervals,
            person=person,
            key=key or "",
        )
    uploads.forget(person.name, body.artifact)
    return _shown(zoo.entry(record.reference, person))


@router.post("/{name}/aliases/{alias}")
def move_alias(request: Request, person: Writer, name: str, alias: str, body: Aim) -> dict[str, Any]:
    """Point an alias to a version, or take it away."""
    zoo = _zoo(request)
    zoo.move_alias(name, alias, body.version, person, reason=body.reason)
    return versions(request, person, name)


@router.post("/{name}/aliases/{alias}/undo")
def undo_alias(request: Request, person: Writer, name: str, alias: str, body: Why) -> dict[str, Any]:
    """Point an alias back to where it pointed before its last move."""
    _zoo(request).undo_alias(name, alias, person, reason=body.reason)
    return versions(request, person, name)


@router.get("/{name}/{version}")
def get(request: Request, person: Reader, name: str, version: str) -> dict[str, Any]:
    """Return one version by number or alias; ``latest`` is the newest."""
    return _shown(_zoo(request).entry(_reference(name, version), person))


@router.post("/{name}/{version}/stage")
def stage(request: Request, person: Writer, name: str, version: str, body: Change) -> dict[str, Any]:
    """Propose a version, take it back, refuse or retire it."""
    if body.stage == "approved":
        raise InvalidInput("A version is approved at …/approval, by whoever holds the right to.")
    changed = _zoo(request).set_stage(
        _reference(name, version), body.stage, person, reason=body.reason, digest=body.digest
    )
    return _shown(changed)


@router.post("/{name}/{version}/approval")
def approve(request: Request, person: Approver, name: str, version: str, body: Change) -> dict[str, Any]:
    """Approve a candidate that somebody else registered; `digest` names the record that was looked at."""
    if body.stage != "approved" or not body.digest:
        raise InvalidInput(
            "An approval needs stage 'approved' and the digest of the record that was looked at."
        )
    changed = _zoo(request).set_stage(
        _reference(name, version), "approved", person, reason=body.reason, digest=body.digest
    )
    return _shown(changed)


@router.post("/{name}/{version}/deprecation")
def deprecate(request: Request, person: Writer, name: str, version: str, body: Deprecated) -> dict[str, Any]:
    """Say that a version should no longer be used, and what to use instead."""
    reference = _reference(name, version)
    return _shown(_zoo(request).deprecate(reference, body.reason, person, successor=body.successor))


@router.delete("/{name}/{version}/deprecation")
def lift_deprecation(request: Request, person: Writer, name: str, version: str) -> dict[str, Any]:
    """Take a deprecation back."""
    return _shown(_zoo(request).lift_deprecation(_reference(name, version), person))


@router.post("/{name}/{version}/signature")
def attach_signature(
    request: Request, person: Writer, name: str, version: str, body: Signed
) -> dict[str, Any]:
    """Attach the signature of a key that the site trusts; it is verified first."""
    return _shown(_zoo(request).attach_signature(_reference(name, version), body.bundle, person))


async def read_body(request: Request, most: int) -> bytes:
    """Read a body that may not be larger than `most`, whatever its header says."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise TooLarge(f"The body is larger than {most:,} bytes. Send smaller parts.")
    return bytes(data)


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _TESTS.acquire(timeout=_PATIENCE_S):
        raise Unavailable("Other models are being tested at this moment. Try again in a minute.")
    try:
        yield
    finally:
        _TESTS.release()
