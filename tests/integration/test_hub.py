"""The hub lets in whom it should, on loopback, and comes back by itself without anybody noticing."""

from __future__ import annotations

import contextlib
import socket
import threading

import httpx
import pytest
from websockets.sync.client import connect

from harness import Browser, Loopback

pytestmark = pytest.mark.timeout(240)


def test_workbench_doctor_finds_everything_well(workbench):
    """Before anything is killed: a runner that has just died is alive until its lease runs out, and is missed then."""
    health = workbench.service_url + "/health"
    workbench.until(lambda: httpx.get(health, trust_env=False).json()["runner"] == "alive")
    site = workbench.state.parent / "site.toml"
    assert "FAIL" not in workbench.run("doctor", "--site", str(site))


def test_nobody_is_let_in_without_the_right_password(workbench):
    stranger = Browser(workbench)
    assert "/hub/login" in str(stranger.get(f"{workbench.public_url}/hub/home").url)
    answer = stranger.sign_in("alice", "not-the-password")
    assert answer.status_code == 403
    assert "Invalid username or password" in answer.text
    assert stranger.sign_in("nobody", "at-all").status_code == 403
    stranger.close()


def test_guessing_is_stopped_after_ten_wrong_passwords(workbench):
    workbench.add("guessed")
    guesser = Browser(workbench)
    for _ in range(10):
        guesser.sign_in("guessed", "wrong")
    assert guesser.sign_in("guessed", workbench.passwords["guessed"]).status_code == 403
    guesser.close()


def test_passwords_and_tokens_are_kept_nowhere_in_clear(workbench, tokens):
    secrets = [*workbench.passwords.values(), *tokens.values()]
    for file in workbench.state.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            for secret in secrets:
                assert secret.encode() not in content, f"a secret lies in {file.name}"
    for name in ("people.json", "secrets.json"):
        assert (workbench.state / name).stat().st_mode & 0o077 == 0


def test_everything_listens_on_loopback_only(workbench, browser):
    browser("alice").start_server("alice")
    listening = {each.laddr.ip for _, each in workbench.listening()}
    assert listening == {"127.0.0.1"}


def test_a_server_has_an_origin_of_its_own_and_is_for_its_owner(workbench, browser):
    alice, carol = browser("alice"), browser("carol")
    lab = f"{workbench.user_origin('alice')}/user/alice/lab"
    if not alice.hub("GET", "users/alice").json()["servers"].get("", {}).get("ready"):
        alice.start_server("alice")
    assert "jupyter-config-data" in alice.get(lab).text
    assert carol.get(lab).status_code == 403
    home = alice.http.cookies
    assert not [
        each for each in home.jar if each.domain.endswith("localhost") and "jupyterhub-session" in each.name
    ]


def test_whoever_is_removed_loses_token_and_sign_in(workbench, browser):
    workbench.add("leaver")
    leaver = browser("leaver")
    token = leaver.make_token("leaver")
    leaver.start_server("leaver")
    server = f"{workbench.user_origin('leaver')}/user/leaver/api"
    assert leaver.http.get(server).status_code == 200
    process = workbench.server("leaver")
    ask = {"url": f"{workbench.service_url}/api/me", "headers": {"Authorization": f"Bearer {token}"}}
    assert httpx.get(**ask, trust_env=False).status_code == 200
    workbench.run("users", "remove", "leaver")
    # The hub asks the file again after 25 s, the service the hub after 30 s.
    workbench.until(lambda: httpx.get(**ask, trust_env=False).status_code in (401, 403), timeout_s=90)
    late = Browser(workbench)
    assert late.sign_in("leaver", workbench.passwords["leaver"]).status_code == 403
    late.close()
    process.wait(60)  # in their server they would go on working
    # Whoever comes by that name later is another person: what the first one was given is good for nothing.
    workbench.add("leaver", "solar")
    assert httpx.get(**ask, trust_env=False).status_code in (401, 403)
    newcomer = browser("leaver")
    assert newcomer.make_token("leaver")
    # Asked of the hub itself, which keeps no answer: the old token is gone, not merely refused for a while.
    old = {"Authorization": f"token {token}"}
    assert httpx.get(f"{workbench.public_url}/hub/api/user", headers=old, trust_env=False).status_code == 403
    assert httpx.get(**ask, trust_env=False).status_code in (401, 403)
    assert newcomer.hub("GET", "users/leaver").json()["groups"] == ["solar"]


def test_a_new_password_signs_out_browsers_and_ends_no_server(workbench, browser):
    workbench.add("forgetful")
    thief, theirs = browser("forgetful"), f"{workbench.user_origin('forgetful')}/user/forgetful/api"
    token = thief.make_token("forgetful")
    thief.start_server("forgetful")
    assert thief.http.get(theirs).status_code == 200
    process = workbench.server("forgetful")
    told = workbench.run("users", "password", "forgetful")
    workbench.passwords["forgetful"] = told.partition("password ")[2].split()[0]
    # The hub asks the file again after 25 s.
    workbench.until(lambda: thief.hub("GET", "users/forgetful").status_code == 403, timeout_s=90)
    assert browser("forgetful").hub("GET", "users/forgetful").json()["servers"][""]["ready"]
    assert process.is_running()
    own = {"Authorization": f"token {token}"}
    assert httpx.get(f"{workbench.public_url}/hub/api/user", headers=own, trust_env=False).status_code == 200


@pytest.fixture
def alices_kernel(workbench, browser):
    """Alice's server runs, and a websocket to a kernel in it is open."""
    alice = browser("alice")
    if not alice.hub("GET", "users/alice").json()["servers"].get("", {}).get("ready"):
        alice.start_server("alice")
    headers = {"Authorization": f"token {alice.make_token('alice')}"}
    url = f"{workbench.user_origin('alice')}/user/alice/api/kernels"
    kernel = alice.http.post(url, headers=headers, json={"name": "python3"}).json()["id"]
    loopback = socket.create_connection(("127.0.0.1", workbench.port), timeout=30)
    channels = f"{url.replace('http', 'ws', 1)}/{kernel}/channels"
    with connect(channels, sock=loopback, additional_headers=headers, ping_interval=None) as opened:
        yield opened
    alice.http.delete(f"{url}/{kernel}", headers=headers)


def test_a_hub_that_is_killed_under_load_comes_back_and_servers_never_notice(
    workbench, browser, alices_kernel
):
    alice = browser("alice")
    status = f"{workbench.user_origin('alice')}/user/alice/api"
    answers, done = [], threading.Event()

    def work():
        with httpx.Client(transport=Loopback(), trust_env=False, timeout=60) as client:
            while not done.is_set():
                answers.append(client.get(status).status_code)

    def crowd_in():
        """Keep the hub busy, too; what is asked of it while it is away fails, and is none of a server's."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not done.is_set():
                with contextlib.suppress(httpx.TransportError):
                    client.get(f"{workbench.public_url}/hub/login")

    threads = [threading.Thread(target=each) for each in (work, work, work, crowd_in)]
    for thread in threads:
        thread.start()
    try:
        workbench.kill_hub()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 30
    assert set(answers) == {200}
    assert alices_kernel.ping().wait(30), "the websocket that was open before is cut"
    assert alice.hub("GET", "users/alice").json()["servers"][""]["ready"]


@pytest.mark.parametrize("word", ["api", "runner"])
def test_a_service_that_is_killed_comes_back(workbench, word):
    old = workbench.program(word)
    old.kill()
    workbench.until(lambda: workbench.program(word).pid != old.pid)
    workbench.until(lambda: httpx.get(workbench.service_url + "/health", trust_env=False).status_code == 200)
