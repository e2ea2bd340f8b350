"""The model zoo: in this process on the ledger, or behind the service."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    Conflict,
    InvalidInput,
    MissingDependency,
    NotFound,
    PermissionRefused,
)
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.service import Service
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.selftest import format_of
from genesis_workbench.models.signature import Signature
from genesis_workbench.models.verification import verify

REGISTERED = "model.registered"
BUILTIN_OWNER = "service:workbench"
_BUILTIN = Path(__file__).parent / "builtin"
_TRIES = 20


class Zoo(Protocol):
    """What both zoos can do. `person` is whose rights count; behind the service it is whoever the token belongs to."""

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model that has all words of `text`; all models where it is empty."""
        ...

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return ``name@version``, or the newest version of ``name``; NotFound also where `person` may not see it."""
        ...

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact of a model that `person` may see."""
        ...


class LocalZoo:
    """Models whose records are events of the ledger and whose artifacts are blobs.

    What it knows is a fold over the events ``model.registered``, followed from where it stopped reading, so any
    number of processes can share one ledger.
    """

    def __init__(self, ledger: Ledger, blobs: BlobStore) -> None:
        self.ledger = ledger
        self.blobs = blobs
        self._lock = threading.Lock()
        self._seq = 0
        self._models: dict[str, dict[int, ModelVersion]] = {}

    def register(
        self,
        name: str,
        format: str,  # noqa: A002 - the record's word
        artifact: bytes,
        signature: Signature,
        card: ModelCard,
        self_test: SelfTest,
        *,
        actor: str,
        lineage: dict[str, Any] | None = None,
        reuse: bool = False,
    ) -> ModelVersion:
        """Verify a model and add it as the next version of its name.

        Parameters
        ----------
        name : str
            Name of the model. Only who registered its first version may add others.
        format : str
            Name of a registered format, such as ``onnx``.
        artifact : bytes
            The model.
        signature, card, self_test : Signature, ModelCard, SelfTest
            What it takes and gives, what a person must know, and what it must answer.
        actor : str
            Who registers it.
        lineage : dict, optional
            From which data and code it came, as JSON values.
        reuse : bool
            Return the version there is, where one has the same artifact, signature, card and self-test.

        Raises
        ------
        VerificationFailed
            If the format refuses the artifact, or it does not do what the signature and the self-test say.
        PermissionRefused
            If the name belongs to somebody else.
        """
        check_slug(name, "model")
        format_of(format)  # a format that is not known here is named before anything else is said
        fields = {
            "name": name,
            "format": format,
            "artifact": digest_of(artifact),
            "size_bytes": len(artifact),
            "signature": signature,
            "card": card,
            "self_test": self_test,
            "lineage": lineage or {},
            "owner": actor,
        }
        for _ in range(_TRIES):
            versions = self._known().get(name, {})
            record = ModelVersion(**fields, version=max(versions, default=0) + 1)
            same = next((known for known in versions.values() if _same(known, record)), None)
            if reuse and same is not None and self.blobs.has(same.artifact):
                return same
            if versions and versions[min(versions)].owner != actor:
                raise PermissionRefused(f"The name {name!r} is taken by somebody else. Choose another one.")
            verify(record, artifact)
            self.blobs.put(artifact)
            if reuse and same is not None:
                return same  # the record was there, and its artifact had been lost
            try:
                self.ledger.append(
                    f"model/{record.reference}",
                    REGISTERED,
                    record.model_dump(mode="json"),
                    actor=actor,
                    expect=0,
                )
            except Conflict:
                continue  # another process took this number
            return record
        raise Conflict(f"Others registered {_TRIES} versions of {name!r} in the meantime. Try again.")

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model that has all words of `text`, best first. See :class:`Zoo`."""
        words = text.casefold().split()
        hits = []
        for versions in self._known().values():
            visible = [v for v in versions.values() if v.access_rule.permits(person)]
            if visible:
                newest = max(visible, key=lambda v: v.version)
                rank = _rank(newest, words)
                if rank is not None:
                    hits.append((rank, newest.name, newest))
        return [hit[2] for hit in sorted(hits, key=lambda hit: hit[:2])]

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return one version. See :class:`Zoo`.

        Raises
        ------
        InvalidInput
            If `reference` is not written like ``name@1`` or ``name``.
        NotFound
            If there is none, or `person` may not see it.
        """
        name, number = split_reference(reference)
        versions = self._known().get(name, {})
        visible = {n: v for n, v in versions.items() if v.access_rule.permits(person)}
        found = visible.get(max(visible, default=0) if number is None else number)
        if found is None:
            raise NotFound(f"There is no model {reference!r}. Look for it with models.search().")
        return found

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact. See :class:`Zoo`.

        Raises
        ------
        NotFound
            If no model that `person` may see has it.
        VerificationFailed
            If the stored bytes have another hash.
        """
        for versions in self._known().values():
            for version in versions.values():
                if version.artifact == digest and version.access_rule.permits(person):
                    return self.blobs.read(digest)
        raise NotFound(
            f"There is no model with the artifact {digest[:80]!r}. Look for it with models.search()."
        )

    def _known(self) -> dict[str, dict[int, ModelVersion]]:
        with self._lock:
            while events := self.ledger.read(prefix="model/", kinds=[REGISTERED], after=self._seq):
                for event in events:
                    record = ModelVersion.model_validate(event.body)
                    # A new dictionary: whoever reads the one before is not disturbed.
                    others = self._models.get(record.name, {})
                    self._models = {**self._models, record.name: {**others, record.version: record}}
                    self._seq = event.seq
            return self._models


class RemoteZoo:
    """Asks the service, which knows by the token who asks: `person` is not sent and does not count."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model. See :class:`Zoo`."""
        answer = self._service.get("models", q=text or None)
        return [ModelVersion.model_validate(item) for item in answer["items"]]

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return one version. See :class:`Zoo`."""
        name, number = split_reference(reference)
        path = f"models/{quote(name, safe='')}/{'latest' if number is None else number}"
        return ModelVersion.model_validate(self._service.get(path))

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact. They are compared with the hash by whoever loads them."""
        return self._service.download(f"models/artifacts/{quote(digest, safe=':')}")


def install_builtin(zoo: LocalZoo) -> list[ModelVersion]:
    """Register the models that come with the workbench; those that are registered already stay as they are.

    A model whose format needs a package that is not installed is left out.
    """
    installed = []
    for path in sorted(_BUILTIN.glob("*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        artifact = (path.parent / record["file"]).read_bytes()
        try:
            version = zoo.register(
                record["name"],
                record["format"],
                artifact,
                Signature.model_validate(record["signature"]),
                ModelCard.model_validate(record["card"]),
                SelfTest.model_validate(record["self_test"]),
                actor=BUILTIN_OWNER,
                lineage=record["lineage"],
                reuse=True,
            )
        except MissingDependency:
            continue
        installed.append(version)
    return installed


def split_reference(reference: str) -> tuple[str, int | None]:
    """Split ``name@version``; the version is None where only a name is given.

    Raises
    ------
    InvalidInput
        If it is not written so.
    """
    name, at, number = reference.partition("@")
    if at and not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) > 0):
        raise InvalidInput(f"{reference[:140]!r} names no model. Write it like 'clear-sky-irradiation@1'.")
    return check_slug(name, "model"), int(number) if at else None


def _same(one: ModelVersion, other: ModelVersion) -> bool:
    fields = {"format", "artifact", "signature", "card", "self_test", "owner"}
    return one.model_dump(include=fields) == other.model_dump(include=fields)


def _rank(version: ModelVersion, words: list[str]) -> int | None:
    """0 where a name or title has the words, 1 where the rest does too, None where a word is nowhere."""
    card, tensors = version.card, (*version.signature.inputs, *version.signature.outputs)
    heading = f"{version.reference} {card.title}".casefold()
    rest = " ".join([card.what_for, card.trained_on, card.limits, card.surrogate_of, card.citation]
                    + [f"{t.name} {t.description}" for t in tensors]).casefold()  # fmt: skip
    if all(word in heading for word in words):
        return 0
    return 1 if all(word in heading or word in rest for word in words) else None
