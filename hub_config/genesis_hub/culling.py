"""Ends idle servers that have stopped telling the hub anything.

A server whose profile has an `idle_s` ends itself (genesis_workbench/server): it alone knows what works in it. One that
hangs, or in which that was switched off, reports no activity any more; it is ended here, by the hub's own knowledge, some
reports later. JupyterHub's own idle culler has one time for all servers, so it cannot stand in for either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from genesis_hub import profiles, teams
from genesis_hub.names import dashboard_of
from genesis_hub.tuning import ACTIVITY_INTERVAL_S
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ProfileSection

log = logging.getLogger(__name__)
_REPORTS_MISSED = 3


def report_every_s(idle_s: float) -> int:
    """Return how often a server reports activity that ends after `idle_s`; 0 for never."""
    return int(max(1, min(ACTIVITY_INTERVAL_S, idle_s / 4))) if idle_s else ACTIVITY_INTERVAL_S


def overdue(
    users: Sequence[dict[str, Any]], offered: Sequence[ProfileSection], now: datetime
) -> Iterator[tuple[str, str, float]]:
    """Yield person, server and seconds of silence of each server that should have ended itself.

    Parameters
    ----------
    users : sequence of dict
        People as the hub's API describes them.
    offered : sequence of ProfileSection
        Profiles of the site.
    now : datetime
        The time.
    """
    for user in users:
        for name, server in (user.get("servers") or {}).items():
            last = server.get("last_activity") or server.get("started")
            # What one that is only starting was asked for with nobody has looked at yet.
            if not last or not server.get("ready") or server.get("pending"):
                continue
            options = server.get("user_options") or {}
            if dashboard_of(options, name):
                continue
            idle_s = _idle_s(options, user.get("groups", ()), teams.offered(offered, user["name"]))
            if not idle_s:
                continue
            silent = (now - datetime.fromisoformat(last)).total_seconds()
            if silent > idle_s + _REPORTS_MISSED * report_every_s(idle_s):
                yield user["name"], name, silent


def cull(hub: httpx.Client, offered: Sequence[ProfileSection]) -> int:
    """End every server that is overdue, and return how many."""
    if not any(profile.idle_s for profile in offered):
        return 0
    ended = 0
    for user in _ready(hub):
        for person, name, silent in overdue([user], offered, datetime.now(UTC)):
            server = f"servers/{quote(name)}" if name else "server"
            answer = hub.delete(f"/users/{quote(person)}/{server}")
            log.warning("%s/%s was silent for %.0f s: ended (%d)", person, name, silent, answer.status_code)
            ended += answer.is_success
    return ended


def _ready(hub: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield everybody with a server that runs, page by page."""
    offset: int | None = 0
    while offset is not None:
        answer = hub.get(
            "/users",
            params={"state": "ready", "offset": offset, "limit": 100},
            headers={"Accept": "application/jupyterhub-pagination+json"},
        )
        page = answer.raise_for_status().json()
        yield from page["items"]
        following = page["_pagination"]["next"]
        offset = following["offset"] if following else None


def _idle_s(options: dict[str, Any], groups: Sequence[str], offered: Sequence[ProfileSection]) -> float:
    try:
        return profiles.chosen(offered, groups, options).idle_s
    except InvalidInput:
        # The profile is no longer theirs, or no longer what it was: the most patient one counts.
        return max((profile.idle_s for profile in offered), default=0.0)
