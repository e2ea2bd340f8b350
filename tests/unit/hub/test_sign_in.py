"""What a site's way of signing in must have, or the hub does not start and says why."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from genesis_hub import ldap, oidc
from genesis_hub.authentication import PeopleAuthenticator, _who
from genesis_hub.people import People
from genesis_hub.settings import Settings
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import HubSection, LdapSection, OidcSection, Site


def test_passwords_of_a_file_are_for_one_machine():
    site = Site(name="open", hub=HubSection(address="0.0.0.0", public_url="https://w.example.org"))  # noqa: S104
    with pytest.raises(InvalidInput, match=r"hub\.address is 0\.0\.0\.0, which others can reach"):
        Settings(site, None, None, None)._people(SimpleNamespace())


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("word\n")
    return file


def section(secret: Path, **more: object) -> OidcSection:
    return OidcSection(
        **{"issuer": "http://127.0.0.1:1", "client_id": "x", "client_secret_file": str(secret), **more}
    )


@pytest.mark.parametrize("key", ["issuer", "client_id", "client_secret_file"])
def test_a_missing_setting_is_named(secret, key):
    with pytest.raises(InvalidInput, match=rf"people\.oidc\.{key} is missing"):
        oidc.configure(SimpleNamespace(), section(secret, **{key: ""}), "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "issuer", ["http://login.example.org", "http://127.0.0.1.example.org", "ftp://127.0.0.1x"]
)
def test_a_provider_is_not_reached_in_clear(secret, issuer):
    with pytest.raises(InvalidInput, match="Use https"):
        oidc.configure(SimpleNamespace(), section(secret, issuer=issuer), "http://127.0.0.1:8000")


def test_a_provider_that_does_not_answer_is_named(secret):
    with pytest.raises(Unavailable, match=r"does not publish its addresses .* Connection refused"):
        oidc.configure(SimpleNamespace(), section(secret), "http://127.0.0.1:8000")


def test_a_secret_that_others_can_read_is_refused(secret):
    assert read_private(str(secret), "people.oidc.client_secret_file") == "word"
    secret.chmod(0o644)
    with pytest.raises(InvalidInput, match="can be read by others"):
        read_private(str(secret), "people.oidc.client_secret_file")
    secret.unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_private(str(secret), "people.oidc.client_secret_file")


@pytest.mark.parametrize(
    ("claims", "path", "groups"),
    [
        ({"groups": ["a", "b", 3, "stewards"]}, "groups", {"a", "b"}),
        ({"realm_access": {"roles": ["x"]}}, "realm_access.roles", {"x"}),
        ({"groups": "a"}, "groups", set()),
        ({"groups": None}, "groups.deeper", set()),
        ({}, "groups", set()),
    ],
)
def test_groups_are_read_from_the_claim_and_stewards_are_not(claims, path, groups):
    assert oidc._claimed(claims, path) == groups


def test_the_hub_writes_of_a_person_only_what_has_changed(tmp_path):
    people = People(tmp_path / "people.json")
    people.add("alice", groups=("solar",))
    authenticator = PeopleAuthenticator(people_file=str(tmp_path / "people.json"))

    async def kept():
        return _who(people.get("alice"))

    groups = [SimpleNamespace(name="solar")]
    alice = SimpleNamespace(name="alice", admin=False, groups=groups, get_auth_state=kept)

    def refreshed():
        return asyncio.run(authenticator.refresh_user(alice))

    assert refreshed() is True
    people.change_groups("alice", add=("wind",))
    assert refreshed()["groups"] == ["solar", "wind"]
    people.change_groups("alice", remove=("wind",))
    assert refreshed() is True
    people.remove("alice")
    assert refreshed() is False


@pytest.mark.parametrize("kind", ["oidc", "ldap"])
async def test_a_provider_that_is_away_takes_nobodys_rights_for_ten_minutes_however_long_they_were_quiet(
    kind, monkeypatch
):
    module = importlib.import_module(f"genesis_hub.{kind}")
    now, away = [0.0], [False]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    if kind == "oidc":

        async def refreshed(*_args, **_more):
            if away[0]:
                raise OSError("no route")
            return True

        monkeypatch.setattr(oidc.OidcAuthenticator.__bases__[0], "refresh_user", refreshed)
        authenticator = oidc.OidcAuthenticator()
    else:

        def find(*_):
            if away[0]:
                raise Unavailable("away")
            return ldap.Entry("uid=alice", "alice", frozenset())

        section = LdapSection(url="ldaps://ldap.example.org", people_base="dc=example")
        authenticator = ldap.LdapAuthenticator(section=section)
        monkeypatch.setattr(authenticator._directory, "find", find)

    async def nothing():
        return None

    user = SimpleNamespace(name="alice", admin=False, groups=[], get_auth_state=nothing)

    async def kept():
        return bool(await authenticator.refresh_user(user))

    assert await kept()
    now[0], away[0] = 5000.0, True  # nobody looked at her for more than an hour
    assert await kept()
    now[0] += 590
    assert await kept()
    now[0] += 20
    assert not await kept()
    away[0] = False
    assert await kept()
    now[0], away[0] = 9000.0, True
    assert await kept()
