"""The model zoo behind the service."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import DeadlineExceeded, Unavailable
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.core.service import Service
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.reference import Reference, parse
from genesis_workbench.models.signature import Signature
from genesis_workbench.models.standing import Entry, Stage

_TRIES = 5
_TESTED_S = 150.0
"""Longer than the quarantine on the other side may take."""


class RemoteZoo:
    """Asks the service, which knows by the token who asks: `person` and `actor` are not sent and do not count."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model. See :class:`~genesis_workbench.models.contract.Zoo`."""
        return [entry.version for entry in self.entries(text, person)]

    def entries(self, text: str, person: Person) -> list[Entry]:
        """Return the newest version of each model, with where it stands. See ``contract.Zoo``."""
        return [_entry(item) for item in self._service.get("models", q=text or None)["items"]]

    def versions(self, name: str, person: Person) -> list[Entry]:
        """Return all versions of a name. See ``contract.Zoo``."""
        return [_entry(item) for item in self._service.get(f"models/{_name(name)}")["items"]]

    def history(self, name: str, person: Person) -> list[dict[str, Any]]:
        """Return who moved, approved or deprecated what. See ``contract.Zoo``."""
        found: list[dict[str, Any]] = self._service.get(f"models/{_name(name)}/history")["items"]
        return found

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return one version. See ``contract.Zoo``."""
        return self.entry(reference, person).version

    def entry(self, reference: str, person: Person) -> Entry:
        """Return one version with where it stands. See ``contract.Zoo``."""
        return _entry(self._service.get(_path(parse(reference))))

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact. They are compared with the hash by whoever loads them."""
        return self._service.download(f"models/artifacts/{quote(digest, safe=':')}")

    def register(
        self,
        name: str,
        format: str,  # noqa: A002 - the record's word
        artifact: bytes,
        signature: Signature,
        card: ModelCard,
        self_test: SelfTest,
        *,
        actor: str = "",
        lineage: dict[str, Any] | None = None,
        reuse: bool = False,
        domain: Domain | None = None,
        intervals: Intervals | None = None,
    ) -> ModelVersion:
        """Send the bytes in parts, then register them. See ``contract.Zoo``.

        What a lost connection interrupted goes on where it stopped; it is registered once.
        """
        body = {
            "format": format,
            "artifact": self._send(artifact),
            "signature": signature.model_dump(mode="json"),
            "card": card.model_dump(mode="json"),
            "self_test": self_test.model_dump(mode="json"),
            "lineage": lineage or {},
            "reuse": reuse,
            "domain": domain and domain.model_dump(mode="json"),
            "intervals": intervals and intervals.model_dump(mode="json"),
        }
        path, key = f"models/{_name(name)}/versions", new_id("reg")
        for attempt in range(_TRIES):
            try:
                answer = self._service.post(path, body, key=key, timeout_s=_TESTED_S)
            except (DeadlineExceeded, Unavailable):
                if attempt == _TRIES - 1:
                    raise
                continue
            break
        return _entry(answer).version

    def move_alias(
        self, name: str, alias: str, version: int | None, person: Person, *, reason: str = ""
    ) -> None:
        """Point an alias to a version. See ``contract.Zoo``."""
        self._service.post(
            f"models/{_name(name)}/aliases/{quote(alias, safe='')}", {"version": version, "reason": reason}
        )

    def undo_alias(self, name: str, alias: str, person: Person, *, reason: str = "") -> None:
        """Point an alias back to where it pointed before its last move. See ``contract.Zoo``."""
        path = f"models/{_name(name)}/aliases/{quote(alias, safe='')}/undo"
        self._service.post(path, {"reason": reason})

    def set_stage(
        self, reference: str, stage: Stage, person: Person, *, reason: str = "", digest: str = ""
    ) -> Entry:
        """Change the stage of a version. See ``contract.Zoo``."""
        path = _path(parse(reference)) + ("/approval" if stage == "approved" else "/stage")
        return _entry(self._service.post(path, {"stage": stage, "reason": reason, "digest": digest}))

    def deprecate(self, reference: str, reason: str, person: Person, *, successor: str = "") -> Entry:
        """Say that a version should no longer be used. See ``contract.Zoo``."""
        path = _path(parse(reference)) + "/deprecation"
        return _entry(self._service.post(path, {"reason": reason, "successor": successor}))

    def lift_deprecation(self, reference: str, person: Person) -> Entry:
        """Take a deprecation back. See ``contract.Zoo``."""
        return _entry(self._service.delete(_path(parse(reference)) + "/deprecation"))

    def attach_signature(self, reference: str, bundle: dict[str, Any], person: Person) -> Entry:
        """Attach the signature of a key that the site trusts. See ``contract.Zoo``."""
        return _entry(self._service.post(_path(parse(reference)) + "/signature", {"bundle": bundle}))

    def _send(self, artifact: bytes) -> str:
        """Send what the service does not have yet, and return the digest."""
        digest = digest_of(artifact)
        begun = self._service.post("models/uploads", {"digest": digest, "size_bytes": len(artifact)})
        offset, part = begun["offset"], begun["part_bytes"]
        path, failures = f"models/uploads/{quote(digest, safe=':')}", 0
        while offset < len(artifact):
            try:
                told = self._service.patch(path, artifact[offset : offset + part], offset=offset)
            except (DeadlineExceeded, Unavailable):
                failures += 1
                if failures == _TRIES:
                    raise
                told = self._service.get(path)  # it knows how much of the part arrived
            offset = told["offset"]
        return digest


def _entry(item: dict[str, Any]) -> Entry:
    record = dict(item)
    standing = record.pop("standing")
    return Entry.model_validate({"version": record, "standing": standing})


def _name(name: str) -> str:
    return quote(parse(name).name, safe="")


def _path(reference: Reference) -> str:
    after = reference.alias or ("latest" if reference.version is None else reference.version)
    return f"models/{quote(reference.name, safe='')}/{after}"
