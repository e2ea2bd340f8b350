"""What is known of a dashboard: a fold over the events of its stream."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Event

PREFIX = "dashboard/"
_ID = re.compile(r"dsh-[0-9a-f]{16}")


def new_dashboard_id() -> str:
    """Make an identifier that can be a DNS label and the name of a server: ``dsh-`` and 16 hex digits."""
    return f"dsh-{secrets.token_hex(8)}"


def is_dashboard_id(text: str) -> bool:
    """Whether `text` has the form of one."""
    return _ID.fullmatch(text) is not None


def stream(dashboard: str) -> str:
    """Return the stream of a dashboard's events."""
    return PREFIX + dashboard


class Publication(BaseModel):
    """What a person sends to publish a dashboard: one that comes with the workbench, or a script of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1, max_length=200)
    app: str = Field("", max_length=80, description="Name of a dashboard that comes with the workbench.")
    source: str = Field("", max_length=1_000_000, description="Python source of a Panel script of one's own.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="JSON that the script can read.")
    groups: tuple[str, ...] = Field((), max_length=100, description="Groups it is shared with.")


class DashboardRecord(BaseModel):
    """A published dashboard."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    owner: str
    app: str
    source_digest: str
    parameters: dict[str, Any]
    groups: tuple[str, ...]
    published: str
    removed: bool = False

    @property
    def access(self) -> Access:
        """Who may open it: the owner and the groups it is shared with."""
        return Access(Label.RESTRICTED, frozenset(self.groups), self.owner)


def fold(events: Iterable[Event]) -> DashboardRecord:
    """Fold a dashboard's events into its record; NotFound where there are none, or it was taken back."""
    record: DashboardRecord | None = None
    for event in events:
        if event.kind == "dashboard.published":
            record = DashboardRecord(
                id=event.stream.removeprefix(PREFIX), published=event.time, owner=event.actor, **event.body
            )
        elif record is not None and event.kind == "dashboard.shared":
            record = record.model_copy(update={"groups": tuple(event.body["groups"])})
        elif record is not None and event.kind == "dashboard.unshared":
            record = record.model_copy(update={"removed": True})
    if record is None or record.removed:
        raise NotFound("There is no such dashboard, or it was taken back.")
    return record
