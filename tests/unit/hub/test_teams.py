"""A team's account: whose it is, what it may, and that nobody else's name is one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genesis_hub import teams
from genesis_hub.links import to_own_server
from genesis_hub.names import safe_name
from genesis_workbench.core.site import ProfileSection

TOGETHER = ProfileSection(name="together", title="T", groups=["fusion", "Solar Group"], collaboration=True)
ALONE = ProfileSection(name="alone", title="A")


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_persons_name_is_a_teams(name: str, group: str) -> None:
    assert not teams.is_team(safe_name(name))
    assert teams.is_team(teams.account(group))


def test_each_group_of_such_a_profile_has_a_team_that_its_people_alone_may_use() -> None:
    accounts = teams.accounts([ALONE, TOGETHER])
    assert sorted(accounts.values()) == ["Solar Group", "fusion"]
    for role in teams.roles([ALONE, TOGETHER]):
        (account,), (group,) = role["users"], role["groups"]
        assert accounts[account] == group
        assert all(scope.endswith(f"!user={account}") for scope in role["scopes"])


def test_people_and_teams_are_offered_what_is_theirs() -> None:
    assert teams.offered([ALONE, TOGETHER], "ada") == [ALONE]
    assert teams.offered([ALONE, TOGETHER], "fusion--team") == [TOGETHER]


def test_a_team_without_groups_is_refused() -> None:
    with pytest.raises(ValidationError, match="groups"):
        ProfileSection(name="together", title="T", collaboration=True)


def test_the_sign_in_vouches_for_teams_that_there_are_and_for_nobody_else_by_that_way() -> None:
    class Directory:
        def __init__(self, **_kwargs: object) -> None: ...

        async def refresh_user(self, user: SimpleNamespace, handler: object = None) -> dict[str, str]:
            return {"name": user.name, "from": "the directory"}

    vouching = teams.vouching(Directory)()
    vouching.team_accounts = teams.accounts([TOGETHER])

    def said(name: str) -> object:
        return asyncio.run(vouching.refresh_user(SimpleNamespace(name=name)))

    assert said("fusion--team") == {"name": "fusion--team", "admin": False, "groups": ["fusion"]}
    assert said("gone--team") is False
    assert said("ada") == {"name": "ada", "from": "the directory"}


@pytest.mark.parametrize(
    ("path", "query", "there"),
    [
        ("lab/tree/a.ipynb", "", "%2Fuser%2Fada%2Flab%2Ftree%2Fa.ipynb"),
        ("git-pull", "repo=x&b=y", "%2Fuser%2Fada%2Fgit-pull%3Frepo%3Dx%26b%3Dy"),
        ("//elsewhere.example", "", "%2Fuser%2Fada%2F%2F%2Felsewhere.example"),
    ],
)
def test_a_link_leads_into_the_persons_own_server(path: str, query: str, there: str) -> None:
    user = SimpleNamespace(escaped_name="ada")
    way = to_own_server(path, SimpleNamespace(query=query), user, "/")
    assert way == f"/hub/spawn/ada?next={there}"
