"""Sign-in by a real OpenID Connect provider on loopback: who gets in, and how soon somebody who may no longer is out."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from harness import Browser, Workbench
from provider import Provider

pytestmark = pytest.mark.timeout(240)
SITE = """
name = "oidc"
[people]
authenticator = "oidc"
[people.oidc]
issuer = "{issuer}"
ca_file = "{authority}"
client_id = "workbench"
client_secret_file = "{secret}"
title = "the Test Provider"
allowed_groups = ["scientists"]
admin_groups = ["keepers"]
[catalog]
sources = []
"""
SECRET = "a-secret-that-must-be-nowhere"


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    made = Provider(tmp_path_factory.mktemp("provider"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def workbench(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    secret = folder / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    site = folder / "site.toml"
    site.write_text(SITE.format(issuer=provider.url, authority=provider.authority.file, secret=secret))
    with Workbench(folder / "state", site) as running:
        running.trusted = provider.trusted
        yield running


@pytest.fixture
def sign_in(workbench, provider):
    """Return a function that signs somebody in as a browser does."""
    opened = []

    def make(subject, **claims):
        if claims:
            provider.put(subject, **claims)
        browser = Browser(workbench)
        opened.append(browser)
        form = browser.get(f"{workbench.public_url}/hub/oauth_login?next=/hub/home")
        browser.answer = browser.http.post(form.url, data={"sub": subject}, follow_redirects=True)
        return browser

    yield make
    for each in opened:
        each.close()


def test_groups_come_from_the_claims_and_decide_who_gets_in_and_who_keeps(sign_in):
    alice = sign_in("1", preferred_username="Alice", groups=["scientists", "solar", "stewards"])
    assert str(alice.answer.url).endswith("/hub/home")
    told = alice.hub("GET", "users/alice").json()
    assert sorted(told["groups"]) == ["scientists", "solar"]  # nobody makes themselves a steward by a claim
    assert not told["admin"]
    keeper = sign_in("2", preferred_username="keeper", groups=["scientists", "keepers"])
    told = keeper.hub("GET", "users/keeper").json()
    assert told["admin"]
    assert "stewards" in told["groups"]
    for claims in ({"groups": ["others"]}, {"groups": "scientists"}, {}):
        assert sign_in("3", preferred_username="carol", **claims).answer.status_code == 403


def test_a_name_that_cannot_be_a_host_or_a_folder_is_made_one(sign_in, workbench):
    odd = sign_in("4", preferred_username="../Dora@x.org", groups=["scientists"])
    users = odd.hub("GET", "user").json()
    assert users["name"].startswith("dora-x-org--")


def test_a_sign_in_that_another_site_has_started_is_refused(workbench, sign_in, provider):
    victim = Browser(workbench)
    # An attacker's code, in the victim's browser, without the victim's own state.
    stolen = f"{workbench.public_url}/hub/oauth_callback?code=anything&state=forged"
    assert victim.get(stolen).status_code == 400
    victim.close()
    back = sign_in("1")
    open_redirect = f"{workbench.public_url}/hub/oauth_login?next=https://evil.example/"
    form = back.get(open_redirect)
    assert "evil.example" not in str(
        back.http.post(form.url, data={"sub": "1"}, follow_redirects=False).headers
    )


def test_whoever_leaves_the_group_loses_browser_token_server_and_spawn_within_30_s(
    workbench, sign_in, provider
):
    leaver = sign_in("5", preferred_username="leaver", groups=["scientists"])
    leaver.start_server("leaver")
    token = leaver.make_token("leaver")
    lab = f"{workbench.user_origin('leaver')}/user/leaver/api/contents"
    assert leaver.get(f"{workbench.user_origin('leaver')}/user/leaver/lab").status_code == 200
    ways = {
        "token": lambda: (
            httpx.get(
                f"{workbench.public_url}/hub/api/user",
                headers={"Authorization": f"token {token}"},
                trust_env=False,
            ).status_code
        ),
        "browser": lambda: leaver.http.get(f"{workbench.public_url}/hub/home").status_code,
        "server": lambda: leaver.http.get(lab).status_code,
        "server by token": lambda: (
            leaver.http.get(lab, headers={"Authorization": f"token {token}"}).status_code
        ),
        "spawn by token": lambda: (
            httpx.post(
                f"{workbench.public_url}/hub/api/users/leaver/servers/more",
                headers={"Authorization": f"token {token}"},
                trust_env=False,
            ).status_code
        ),
    }
    before = {name: ways[name]() for name in ways if "spawn" not in name}
    assert set(before.values()) == {200}, before
    provider.put("5", preferred_username="leaver", groups=["others"])
    time.sleep(30)  # the promise itself: after it, nothing works any more
    after = {name: ask() for name, ask in ways.items()}
    assert all(status in (302, 401, 403) for status in after.values()), after


def test_a_token_that_the_provider_has_revoked_ends_the_session(workbench, sign_in, provider):
    gone = sign_in("6", preferred_username="gone", groups=["scientists"])
    token = gone.make_token("gone")
    ask = {"url": f"{workbench.public_url}/hub/api/user", "headers": {"Authorization": f"token {token}"}}
    assert httpx.get(**ask, trust_env=False).status_code == 200
    provider.revoke("6")
    workbench.until(lambda: httpx.get(**ask, trust_env=False).status_code in (401, 403), timeout_s=30)


def test_the_secret_and_the_providers_tokens_are_in_no_file_and_no_log(workbench, sign_in):
    sign_in("1")
    for file in workbench.state.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            assert SECRET.encode() not in content, file.name
            assert b'"access_token"' not in content, file.name


def test_a_provider_that_is_away_takes_nobodys_rights(workbench, sign_in, provider):
    alice = sign_in("1", preferred_username="alice", groups=["scientists"])
    token = alice.make_token("alice")
    ask = {"url": f"{workbench.public_url}/hub/api/user", "headers": {"Authorization": f"token {token}"}}
    assert httpx.get(**ask, trust_env=False).status_code == 200
    provider.stop()
    time.sleep(17)  # older than auth_refresh_age
    assert httpx.get(**ask, trust_env=False).status_code == 200
    log = (workbench.state / "logs/hub.log").read_text()
    assert "the provider does not say who alice is" in log
    assert json.loads(httpx.get(**ask, trust_env=False).text)["name"] == "alice"
