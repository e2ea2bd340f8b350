"""Teams: a group's own account, in whose server its people work on one notebook at the same time.

Whoever edits a notebook together with others runs code as the server's owner. That owner is therefore nobody's own account:
it has the group's rights and the group's files, and no more. Nobody signs in as it; people of the group open and start its
server, and what they lose with the group is the way there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from traitlets import Dict
from traitlets.config import Configurable

from genesis_hub.names import safe_name
from genesis_workbench.core.site import ProfileSection

_SUFFIX = "--team"
"""No person's name ends so: two hyphens come before sixteen digits of a hash only (`safe_name`)."""


def account(group: str) -> str:
    """Return the name of a group's account."""
    return f"{safe_name(group)}{_SUFFIX}"


def is_team(name: str) -> bool:
    """Tell whether an account is a team's."""
    return name.endswith(_SUFFIX)


def accounts(profiles: Sequence[ProfileSection]) -> dict[str, str]:
    """Return the groups that have a team, by the names of their accounts."""
    groups = {group for each in profiles if each.collaboration for group in each.groups}
    return {account(group): group for group in sorted(groups)}


def offered(profiles: Sequence[ProfileSection], name: str) -> list[ProfileSection]:
    """Return the profiles for an account: those for working together are for teams, the others for people."""
    return [profile for profile in profiles if profile.collaboration == is_team(name)]


def roles(profiles: Sequence[ProfileSection]) -> list[dict[str, Any]]:
    """Return a role for each team: its people may open, start and stop its server."""
    return [
        {
            "name": f"of-{name}",
            "description": f"Works in the server of the team {group}",
            "scopes": [
                f"{what}!user={name}"
                for what in ("access:servers", "servers", "read:users:name", "read:servers")
            ],
            "groups": [group],
            "users": [name],  # so that the hub makes the account
        }
        for name, group in accounts(profiles).items()
    ]


class TeamAccounts(Configurable):
    """Put before an authenticator: it vouches for the teams' accounts, which no sign-in knows."""

    team_accounts = Dict(help="Groups that have a team, by the names of their accounts.").tag(config=True)

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> dict[str, Any] | bool:
        """Return a team's account with its one group; of others what the authenticator says."""
        if is_team(user.name):
            group = self.team_accounts.get(user.name)
            return {"name": user.name, "admin": False, "groups": [group]} if group else False
        said: dict[str, Any] | bool = await super().refresh_user(user, handler, **kwargs)  # type: ignore[misc]
        return said


def vouching(authenticator: type) -> type:
    """Return an authenticator that vouches for teams too."""
    return type(authenticator.__name__, (TeamAccounts, authenticator), {})
