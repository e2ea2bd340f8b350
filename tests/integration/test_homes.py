"""A home that is full: no server starts but the one for deleting, and afterwards every other again."""

from __future__ import annotations

import os

import pytest

from harness import Browser, Workbench

pytestmark = pytest.mark.timeout(240)
SITE = """
name = "homes"
[servers]
home_bytes = 8388608
[catalog]
sources = []
"""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("homes")
    (folder / "site.toml").write_text(SITE)
    with Workbench(folder / "state", folder / "site.toml") as running:
        running.add("alice", "solar")
        yield running


@pytest.fixture
def alice(workbench):
    browser = Browser(workbench)
    browser.sign_in("alice", workbench.passwords["alice"])
    yield browser
    browser.close()


def stop(workbench, browser):
    browser.hub("DELETE", "users/alice/server")
    workbench.until(lambda: "" not in browser.hub("GET", "users/alice").json()["servers"])


def test_a_full_home_is_refused_rescued_and_opened_again(workbench, alice):
    home = workbench.state / "homes/alice"
    (home / "results").mkdir(parents=True)
    (home / "results/big.bin").write_bytes(os.urandom(2**23))
    (home / "results/notes.txt").write_text("old")
    refused = alice.hub("POST", "users/alice/server", json={})
    assert refused.status_code == 400
    assert "Your home is full: 0.01 GiB of 0.01 GiB. Start the Rescue server" in refused.json()["message"]
    assert 'value="rescue"' in alice.get(f"{workbench.public_url}/hub/spawn").text

    before = sorted(home.rglob("*"))
    assert alice.hub("POST", "users/alice/server", json={"profile": "rescue"}).status_code in (201, 202)
    workbench.until(lambda: alice.hub("GET", "users/alice").json()["servers"][""]["ready"], timeout_s=90)
    assert sorted(home.rglob("*")) == before  # not a file was written
    token = alice.make_token("alice")
    contents = f"{workbench.user_origin('alice')}/user/alice/api/contents"
    answer = alice.http.delete(f"{contents}/results/notes.txt", headers={"Authorization": f"token {token}"})
    assert answer.status_code == 204, answer.text
    assert [each.name for each in (home / "results").iterdir()] == [
        "big.bin"
    ]  # no folder of copies beside it
    # A folder with files in it, for good: a trash in the home would help nobody.
    answer = alice.http.delete(f"{contents}/results", headers={"Authorization": f"token {token}"})
    assert answer.status_code == 204, answer.text
    assert not (home / "results").exists()
    assert not list(home.rglob("*Trash*"))
    stop(workbench, alice)

    alice.hub("POST", "users/alice/server", json={"profile": "standard"})
    workbench.until(lambda: alice.hub("GET", "users/alice").json()["servers"][""]["ready"], timeout_s=90)
    (home / "groups/solar/plan.txt").write_text("ours")  # the group's folder, below the home
    assert (workbench.state / "groups/solar/plan.txt").read_text() == "ours"
    stop(workbench, alice)
