"""What every zoo can do: the one in this process, and the one behind the service."""

from __future__ import annotations

from typing import Any, Protocol

from genesis_workbench.core.access import Person
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature
from genesis_workbench.models.standing import Entry, Stage


class Zoo(Protocol):
    """What both zoos can do. `person` is whose rights count; behind the service it is whoever the token belongs to.

    What `person` may not see is not there: NotFound.
    """

    def search(self, text: str, person: Person) -> list[ModelVersion]:
        """Return the newest version of each model that has all words of `text`; all models where it is empty."""
        ...

    def entries(self, text: str, person: Person) -> list[Entry]:
        """Return what :meth:`search` does, each with where it stands."""
        ...

    def versions(self, name: str, person: Person) -> list[Entry]:
        """Return all versions of a name, newest first, each with where it stands."""
        ...

    def history(self, name: str, person: Person) -> list[dict[str, Any]]:
        """Return who moved, approved or deprecated what, when and why; oldest first."""
        ...

    def get(self, reference: str, person: Person) -> ModelVersion:
        """Return ``name@version``, ``name@alias``, or the newest version of ``name`` that is not retired."""
        ...

    def entry(self, reference: str, person: Person) -> Entry:
        """Return what :meth:`get` does, with where it stands."""
        ...

    def artifact(self, digest: str, person: Person) -> bytes:
        """Return the bytes of an artifact of a model that `person` may see."""
        ...

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
    ) -> ModelVersion:
        """Verify a model and add it as the next version of its name."""
        ...

    def move_alias(
        self, name: str, alias: str, version: int | None, person: Person, *, reason: str = ""
    ) -> None:
        """Point an alias to a version; None takes it away."""
        ...

    def undo_alias(self, name: str, alias: str, person: Person, *, reason: str = "") -> None:
        """Point an alias back to where it pointed before its last move."""
        ...

    def set_stage(
        self, reference: str, stage: Stage, person: Person, *, reason: str = "", digest: str = ""
    ) -> Entry:
        """Change the stage of a version; `digest` is that of the record which was looked at."""
        ...

    def deprecate(self, reference: str, reason: str, person: Person, *, successor: str = "") -> Entry:
        """Say that a version should no longer be used, and what to use instead."""
        ...

    def lift_deprecation(self, reference: str, person: Person) -> Entry:
        """Take a deprecation back."""
        ...

    def attach_signature(self, reference: str, bundle: dict[str, Any], person: Person) -> Entry:
        """Attach the signature of a key that the site trusts."""
        ...
