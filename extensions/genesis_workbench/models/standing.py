"""Where a version stands: the aliases that point to it, its stage with who approved it, whether it is deprecated.

All of it is folded from events of the ledger; a version itself never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from genesis_workbench.core.ledger import Event
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.signature import Frozen

REGISTERED = "model.registered"
ALIAS_MOVED = "model.alias.moved"
STAGE_CHANGED = "model.stage.changed"
DEPRECATED = "model.deprecated"
DEPRECATION_LIFTED = "model.deprecation.lifted"
SIGNED = "model.signed"
LIFE = (ALIAS_MOVED, STAGE_CHANGED, DEPRECATED, DEPRECATION_LIFTED, SIGNED)
KINDS = (REGISTERED, *LIFE)

Stage = Literal["draft", "candidate", "approved", "retired"]


class Step(Frozen):
    """One change of a stage, for exactly one record."""

    stage: Stage = Field(description="Stage from then on.")
    digest: str = Field(description="Digest of the record that it is about.")
    who: str = Field(description="Who did it.")
    when: str = Field(description="Time, ISO 8601.")
    reason: str = Field("", description="Why.")


class Deprecation(Frozen):
    """Why a version should no longer be used, and what to use instead."""

    reason: str = Field(description="Why.")
    successor: str = Field("", description="Model to use instead; empty where there is none.")
    who: str = Field(description="Who said so.")
    when: str = Field(description="Time, ISO 8601.")

    def warning(self, reference: str) -> str:
        """Return the sentence for whoever uses it all the same."""
        instead = f" Use {self.successor} instead." if self.successor else " There is no successor."
        return f"{reference} is deprecated: {self.reason.rstrip('.')}.{instead}"


class Move(Frozen):
    """Where an alias was pointed."""

    alias: str = Field(description="The alias.")
    version: int | None = Field(description="Version from then on; null where it was taken away.")
    who: str = Field(description="Who moved it.")
    when: str = Field(description="Time, ISO 8601.")
    reason: str = Field("", description="Why.")


class Standing(Frozen):
    """What became of a version since it was registered."""

    registered_at: str = Field("", description="When it was registered, ISO 8601.")
    stage: Stage = Field("draft", description="draft, candidate, approved or retired.")
    steps: tuple[Step, ...] = Field((), description="How it came to this stage.")
    aliases: tuple[str, ...] = Field((), description="Aliases that point to it.")
    deprecation: Deprecation | None = Field(None, description="Whether it should no longer be used.")
    signature: dict[str, Any] | None = Field(None, description="Signature of a key that the site trusts.")

    @property
    def approved_by(self) -> str:
        """Who approved it; empty where it is not approved."""
        return self.steps[-1].who if self.stage == "approved" else ""


class Entry(Frozen):
    """A version, and where it stands."""

    version: ModelVersion
    standing: Standing


@dataclass(frozen=True)
class Named:
    """Everything that the ledger says of one name. Each event makes a new one: who holds the old is not disturbed."""

    versions: Mapping[int, ModelVersion] = field(default_factory=dict)
    times: Mapping[int, str] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], int] = field(default_factory=dict)
    moves: Mapping[str, tuple[Move, ...]] = field(default_factory=dict)
    steps: Mapping[int, tuple[Step, ...]] = field(default_factory=dict)
    deprecations: Mapping[int, Deprecation | None] = field(default_factory=dict)
    signatures: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    life: tuple[Event, ...] = ()

    @property
    def owner(self) -> str:
        """Who registered the first version: the name is theirs."""
        return self.versions[min(self.versions)].owner if self.versions else ""

    def target(self, alias: str) -> int | None:
        """Return the version that an alias points to."""
        moves = self.moves.get(alias)
        return moves[-1].version if moves else None

    def standing(self, number: int) -> Standing:
        """Return where a version stands."""
        steps = self.steps.get(number, ())
        return Standing(
            registered_at=self.times.get(number, ""),
            stage=steps[-1].stage if steps else "draft",
            steps=steps,
            aliases=tuple(sorted(alias for alias in self.moves if self.target(alias) == number)),
            deprecation=self.deprecations.get(number),
            signature=self.signatures.get(number),
        )

    def entry(self, number: int) -> Entry:
        """Return a version with where it stands."""
        return Entry(version=self.versions[number], standing=self.standing(number))

    def after(self, event: Event) -> Named:
        """Return what is so after one more event."""
        if event.kind == REGISTERED:
            return self._registered(event)
        body, at = event.body, {"who": event.actor, "when": event.time}
        number, life = body["version"], (*self.life, event)
        if event.kind == ALIAS_MOVED:
            alias = body["alias"]
            move = Move(alias=alias, version=number, reason=body["reason"], **at)
            return replace(self, moves={**self.moves, alias: (*self.moves.get(alias, ()), move)}, life=life)
        if event.kind == STAGE_CHANGED:
            step = Step(stage=body["stage"], digest=body["digest"], reason=body["reason"], **at)
            return replace(self, steps={**self.steps, number: (*self.steps.get(number, ()), step)}, life=life)
        if event.kind == SIGNED:
            return replace(self, signatures={**self.signatures, number: body["bundle"]}, life=life)
        lifted = event.kind == DEPRECATION_LIFTED
        said = None if lifted else Deprecation(reason=body["reason"], successor=body["successor"], **at)
        return replace(self, deprecations={**self.deprecations, number: said}, life=life)

    def _registered(self, event: Event) -> Named:
        body = dict(event.body)
        key = body.pop("idempotency_key", "")
        record = ModelVersion.model_validate(body)
        keys = {**self.keys, (event.actor, key): record.version} if key else self.keys
        return replace(
            self,
            versions={**self.versions, record.version: record},
            times={**self.times, record.version: event.time},
            keys=keys,
        )


def told(event: Event) -> dict[str, Any]:
    """Return one event of a life as people read it."""
    body = {name: value for name, value in event.body.items() if name != "bundle"}
    return {"when": event.time, "who": event.actor, "what": event.kind.removeprefix("model."), **body}
