"""The model zoo in this process, on the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from genesis_workbench.core.access import Access, Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.ledger import Ledger, NewEvent
from genesis_workbench.core.storage import Blobs
from genesis_workbench.models import inheritance, life, signing
from genesis_workbench.models.ancestry import datasets_of, parent_of
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.reference import Reference, check_name, parse
from genesis_workbench.models.selftest import format_of
from genesis_workbench.models.signature import Signature
from genesis_workbench.models.standing import KINDS, REGISTERED, Entry, Named, Stage, told
from genesis_workbench.models.verification import verify

_TRIES = 20
_NOBODY: Named = Named()


class LocalZoo:
    """Models whose records are events of the ledger and whose artifacts are blobs.

    What it knows is a fold over the events of models, followed from where it stopped reading, so any number of
    processes can share one ledger.

    Parameters
    ----------
    ledger : Ledger
        Where the records are.
    blobs : Blobs
        Where the artifacts are.
    datasets : callable, optional
        Gives the access rule of a dataset of the catalog, or raises NotFound; with it a model can only name datasets
        that are there, and their labels count. Without it the labels count that a card gives.
    trusted : sequence of str
        Public keys, in PEM, whose signatures may be attached.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        *,
        datasets: Callable[[str, Person], Access] | None = None,
        trusted: Sequence[str] = (),
    ) -> None:
        self.ledger = ledger
        self.blobs = blobs
        self._datasets = datasets
        self._trusted = tuple(trusted)
        self._lock = threading.Lock()
        self._seq = 0
        self._names: Mapping[str, Named] = {}

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
        domain: Domain | None = None,
        intervals: Intervals | None = None,
        person: Person | None = None,
        key: str = "",
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
            From which data and code it came, as JSON values; ``parent`` names the model that it was made from.
        reuse : bool
            Return the version there is, where one has the same artifact and record; only its lineage may differ.
        domain, intervals : Domain, Intervals, optional
            What was fitted to its training inputs and to held-out data.
        person : Person, optional
            Whose rights count for the datasets and the parent that it names; `actor` in no group where left out.
        key : str
            Sent twice by the same actor, it is registered once.

        Raises
        ------
        VerificationFailed
            If the format refuses the artifact, or it does not do what the signature and the self-test say.
        PermissionRefused
            If the name belongs to somebody else.
        InvalidInput
            If its label is less strict than what it was made from; names the label.
        NotFound
            If it names a dataset or a parent that `person` cannot see.
        """
        check_name(name)
        format_of(format)  # a format that is not known here is named before anything else is said
        if person is not None:
            inheritance.check_own(card, actor, person)
        person = person or Person(actor)
        fields = {
            "name": name,
            "format": format,
            "artifact": digest_of(artifact),
            "size_bytes": len(artifact),
            "signature": signature,
            "card": card,
            "self_test": self_test,
            "domain": _fits(domain, signature),
            "intervals": intervals,
            "lineage": self._inherited(card, lineage or {}, person),
            "owner": actor,
        }
        for _ in range(_TRIES):
            named = self._known().get(name, _NOBODY)
            before = self.registered_before(name, actor, key)
            if before is not None:
                return before
            versions = named.versions
            record = ModelVersion(**fields, version=max(versions, default=0) + 1)
            same = next((known for known in versions.values() if _same(known, record)), None)
            if reuse and same is not None and self.blobs.has(same.artifact):
                return same
            if versions and named.owner != actor:
                raise PermissionRefused(f"The name {name!r} is taken by somebody else. Choose another one.")
            verify(record, artifact)
            self.blobs.put(artifact)
            if reuse and same is not None:
                return same  # the record was there, and its artifact had been lost
            body = {**record.model_dump(mode="json"), **({"idempotency_key": key} if key else {})}
            try:
                self.ledger.append(f"model/{record.reference}", REGISTERED, body, actor=actor, expect=0)
            except Conflict:
                continue  # another process took this number
            if not self.blobs.has(record.artifact):
                self.blobs.put(artifact)  # it lay unused until now, and was collected at this moment
            return record
        raise Conflict(f"Others registered {_TRIES} versions of {name!r} in the meantime. Try again.")

    def registered_before(self, name: str, actor: str, key: str) -> ModelVersion | None:
        """Return what the same actor registered with the same key, if they did."""
        named = self._known().get(name, _NOBODY)
        number = named.keys.get((actor, key))
        return None if number is None else named.versions[number]

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model that has all words of `text`, best first. See ``Zoo``."""
        return [entry.version for entry in self.entries(text, person)]

    def entries(self, text: str, person: Person) -> list[Entry]:
        """Return what :meth:`search` does, each with where it stands. See ``Zoo``."""
        words = text.casefold().split()
        hits = []
        for name, named in self._known().items():
            number = _newest(named, _visible(named, person))
            if number is None:
                continue
            rank = _rank(named.versions[number], words)
            if rank is not None:
                hits.append((rank, name, named.entry(number)))
        return [hit[2] for hit in sorted(hits, key=lambda hit: hit[:2])]

    def versions(self, name: str, person: Person) -> list[Entry]:
        """Return all versions of a name, newest first. See ``Zoo``."""
        named = self._named(name, person)
        return [named.entry(number) for number in sorted(_visible(named, person), reverse=True)]

    def history(self, name: str, person: Person) -> list[dict[str, Any]]:
        """Return who moved, approved or deprecated what. See ``Zoo``."""
        named = self._named(name, person)
        seen = {None, *_visible(named, person)}
        return [
            told(event)
            for event in named.life
            if {event.body["version"], event.body.get("previous_version")} <= seen
        ]

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return one version. See ``Zoo``.

        Raises
        ------
        InvalidInput
            If `reference` is not written like ``name@1``, ``name@alias`` or ``name``.
        NotFound
            If there is none, or `person` may not see it.
        """
        return self.entry(reference, person).version

    def entry(self, reference: str, person: Person) -> Entry:
        """Return one version with where it stands. See ``Zoo``."""
        wanted = parse(reference)
        named = self._known().get(wanted.name, _NOBODY)
        number = _chosen(named, wanted, _visible(named, person))
        if number is None:
            raise NotFound(f"There is no model {reference!r}. Look for it with models.search().")
        return named.entry(number)

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact. See ``Zoo``.

        Raises
        ------
        NotFound
            If no model that `person` may see has it.
        VerificationFailed
            If the stored bytes have another hash.
        """
        for named in self._known().values():
            for version in named.versions.values():
                if version.artifact == digest and version.access_rule.permits(person):
                    return self.blobs.read(digest)
        raise NotFound(
            f"There is no model with the artifact {digest[:80]!r}. Look for it with models.search()."
        )

    def move_alias(
        self, name: str, alias: str, version: int | None, person: Person, *, reason: str = ""
    ) -> None:
        """Point an alias to a version. See ``Zoo``.

        Raises
        ------
        PermissionRefused
            If the name is not `person`'s, and they do not hold ``custom:models:approve``.
        Conflict
            If it points there already, the version is retired, or somebody else moved it at this moment.
        """
        named = self._named(name, person)
        record = None if version is None else self.get(f"{name}@{version}", person)
        self._append(life.moved(named, name, alias, record, person, reason))

    def undo_alias(self, name: str, alias: str, person: Person, *, reason: str = "") -> None:
        """Point an alias back to where it pointed before its last move. See ``Zoo``; raises as :meth:`move_alias`."""
        self._append(life.undone(self._named(name, person), name, alias, person, reason))

    def set_stage(
        self, reference: str, stage: Stage, person: Person, *, reason: str = "", digest: str = ""
    ) -> Entry:
        """Change the stage of a version. See ``Zoo``.

        Raises
        ------
        PermissionRefused
            If `person` may not; whoever registered or proposed a version never approves it.
        Conflict
            If the stage does not follow from where it is, or `digest` is that of another record.
        """
        record = self.get(reference, person)
        self._append(life.staged(self._named(record.name, person), record, stage, person, reason, digest))
        return self.entry(record.reference, person)

    def deprecate(self, reference: str, reason: str, person: Person, *, successor: str = "") -> Entry:
        """Say that a version should no longer be used. See ``Zoo``.

        Raises
        ------
        PermissionRefused
            If the name is not `person`'s, and they do not hold ``custom:models:approve``.
        NotFound
            If there is no such successor.
        """
        record = self.get(reference, person)
        if successor and self.get(successor, person) == record:
            raise InvalidInput(f"{record.reference} cannot be its own successor. Name another version.")
        self._append(life.deprecated(self._named(record.name, person), record, reason, successor, person))
        return self.entry(record.reference, person)

    def lift_deprecation(self, reference: str, person: Person) -> Entry:
        """Take a deprecation back. See ``Zoo``; raises as :meth:`deprecate`."""
        record = self.get(reference, person)
        self._append(life.lifted(self._named(record.name, person), record, person))
        return self.entry(record.reference, person)

    def attach_signature(self, reference: str, bundle: dict[str, Any], person: Person) -> Entry:
        """Attach the signature of a key that the site trusts. See ``Zoo``.

        Raises
        ------
        VerificationFailed
            If no trusted key signed exactly this version.
        PermissionRefused
            If the name is not `person`'s, and they do not hold ``custom:models:approve``.
        """
        record = self.get(reference, person)
        signing.verify(record, bundle, self._trusted)
        self._append(life.signed(self._named(record.name, person), record, bundle, person))
        return self.entry(record.reference, person)

    def _inherited(self, card: ModelCard, lineage: dict[str, Any], person: Person) -> dict[str, Any]:
        """Refuse a label that is less strict than what the model was made from; pin its parent to one record."""
        rules = [
            (f"the dataset {each.identifier}", rule)
            for known, told in ((True, card.datasets), (False, datasets_of(lineage)))
            for each in told
            for rule in inheritance.rules(each, person, self._datasets, must_exist=known)
        ]
        named = parent_of(lineage)
        if named:
            parent = self.get(named, person)
            pinned = {"parent": parent.reference} if isinstance(lineage["parent"], str) else {}
            lineage = {**lineage, **pinned, "parent_digest": parent.digest}
            rules.append((f"its parent {parent.reference}", parent.access_rule))
        inheritance.check(card, rules)
        return lineage

    def _append(self, event: NewEvent) -> None:
        self.ledger.append_many([event])

    def _named(self, name: str, person: Person) -> Named:
        named = self._known().get(check_slug(name, "model"), _NOBODY)
        if not _visible(named, person):
            raise NotFound(f"There is no model {name!r}. Look for it with models.search().")
        return named

    def _known(self) -> Mapping[str, Named]:
        with self._lock:
            while events := self.ledger.read(prefix="model/", kinds=KINDS, after=self._seq):
                for event in events:
                    name = event.stream.removeprefix("model/").partition("@")[0]
                    # A new dictionary: whoever reads the one before is not disturbed.
                    self._names = {**self._names, name: self._names.get(name, _NOBODY).after(event)}
                    self._seq = event.seq
            return self._names


def _visible(named: Named, person: Person) -> set[int]:
    return {number for number, version in named.versions.items() if version.access_rule.permits(person)}


def _newest(named: Named, visible: Iterable[int]) -> int | None:
    """Return the newest that is not retired; the newest of all where each is."""
    return max(visible, key=lambda n: (named.standing(n).stage != "retired", n), default=None)


def _chosen(named: Named, wanted: Reference, visible: set[int]) -> int | None:
    if wanted.alias:
        number = named.target(wanted.alias)
    elif wanted.version is None:
        number = _newest(named, visible)
    else:
        number = wanted.version
    return number if number in visible else None


def _fits(domain: Domain | None, signature: Signature) -> Domain | None:
    names = tuple(spec.name for spec in signature.inputs)
    if domain is not None and domain.inputs != names:
        raise InvalidInput(
            f"The domain is about {', '.join(domain.inputs)}; the model takes {', '.join(names)}. Fit it to all of them."
        )
    return domain


def _same(one: ModelVersion, other: ModelVersion) -> bool:
    fields = {"format", "artifact", "signature", "card", "self_test", "domain", "intervals", "owner"}
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
