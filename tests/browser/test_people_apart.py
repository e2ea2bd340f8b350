"""What one person tries against another in a real browser, and what a hostile page tries: all of it fails.

Alice has a server with a file, a kernel and a token. Bob is signed in, has a server of his own, and wants hers. A page on an
origin of its own, such as a shared dashboard, runs scripts of somebody else's in Alice's browser.
"""

from __future__ import annotations

import http.server
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from genesis_workbench.core.site import load_site
from harness import Loopback

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

FETCH = """
async ([method, url, headers]) => {
  try {
    const answer = await fetch(url, {method, headers, credentials: "include", body: method === "GET" ? undefined : "{}"});
    return {status: answer.status, text: (await answer.text()).slice(0, 20000)};
  } catch (error) { return {status: 0, text: String(error)}; }
}
"""


@pytest.fixture(scope="module")
def people(chromium, workbench):
    """Alice and Bob, each in a browser of their own with a server that runs."""
    pages = {}
    for name in ("alice", "bob"):
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{workbench.public_url}/hub/login?next=/hub/home")
        page.fill("#username_input", name)
        page.fill("#password_input", workbench.passwords[name])
        page.click("#login_submit")
        page.wait_for_url("**/hub/home")
        pages[name] = page
    for name, page in pages.items():
        page.goto(f"{workbench.public_url}/hub/spawn/{name}", timeout=120_000)
        page.wait_for_url(f"**//{name}--user.localhost**", timeout=120_000)
    (workbench.state / "homes/alice/secret.txt").write_text("only alice reads this")
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture(scope="module")
def evil():
    """A site of somebody else's, which records what is brought to it."""
    brought = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            brought.append(self.path)
            body = b"<!doctype html><title>Holiday pictures</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://evil.localhost:{server.server_port}", brought
    server.shutdown()
    server.server_close()


def ask(page, method, url, **headers):
    """Ask from a page's own script, with its cookies."""
    return page.evaluate(FETCH, [method, url, headers])


def at_hub(page, workbench, method, path):
    """Ask the hub's API from one of its own pages, with everything that its pages send."""
    if urlsplit(page.url).path != "/hub/home" or "127.0.0.1" not in page.url:
        page.goto(f"{workbench.public_url}/hub/home")
    xsrf = page.evaluate("window.jhdata.xsrf_token")
    return ask(page, method, f"/hub/api/{path}", **{"X-XSRFToken": xsrf})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "users/alice/server"),
        ("POST", "users/alice/servers/another"),
        ("DELETE", "users/alice/server"),
        ("GET", "users/alice"),
        ("GET", "users/alice/tokens"),
        ("POST", "users/alice/tokens"),
        ("GET", "users/alice/server/progress"),
        ("POST", "users/alice/activity"),
        ("POST", "shares/alice/"),
        ("GET", "users"),
        ("GET", "proxy"),
        ("POST", "shutdown"),
    ],
)
def test_the_hub_does_nothing_to_one_person_for_another(people, workbench, method, path):
    answer = at_hub(people["bob"], workbench, method, path)
    assert answer["status"] in (403, 404), answer
    assert at_hub(people["alice"], workbench, "GET", "users/alice")["status"] == 200


@pytest.mark.parametrize(
    "path",
    ["lab", "api/contents/secret.txt", "files/secret.txt", "api/kernels", "api/terminals", "genesis/idle"],
)
def test_a_server_answers_its_owner_alone(people, workbench, path):
    url = f"{workbench.user_origin('alice')}/user/alice/{path}"
    answer = people["bob"].goto(url)
    assert answer.status in (403, 404)
    assert "only alice reads this" not in people["bob"].content()


def test_a_kernel_of_one_is_no_kernel_of_another(people, workbench):
    alice, bob = people["alice"], people["bob"]
    home = f"{workbench.user_origin('alice')}/user/alice"
    alice.goto(f"{home}/api/contents/secret.txt")
    assert "only alice reads this" in alice.content()
    alice.goto(f"{home}/nothing-here")  # what the API answers is a page without any rights
    xsrf = next(each["value"] for each in alice.context.cookies(f"{home}/") if each["name"] == "_xsrf")
    made = ask(alice, "POST", f"{home}/api/kernels", **{"X-XSRFToken": xsrf})
    assert made["status"] == 201, made
    identifier = made["text"].split('"id": "')[1].split('"')[0]
    opened = bob.evaluate(
        "url => new Promise(done => { const s = new WebSocket(url); s.onopen = () => done('open'); s.onerror = () => done('refused'); })",
        f"{home.replace('http', 'ws', 1)}/api/kernels/{identifier}/channels",
    )
    assert opened == "refused"


def test_homes_and_tokens_are_closed_to_other_accounts(people, workbench):
    for place in ("homes/alice", "homes/bob", "secrets.json", "people.json", "run"):
        assert (workbench.state / place).stat().st_mode & 0o077 == 0, place


@pytest.mark.parametrize("where", ["evil", "bobs-server"])
def test_a_script_of_another_origin_can_neither_read_nor_do_anything_at_the_hub(
    people, workbench, evil, where
):
    """Alice opens a hostile page, or one on Bob's own origin, in the browser in which she is signed in."""
    alice = people["alice"].context.new_page()
    origin = evil[0] if where == "evil" else workbench.user_origin("bob")
    alice.goto(f"{origin}/static/style/none" if where != "evil" else origin)
    hub, server = workbench.public_url, f"{workbench.user_origin('alice')}/user/alice"
    for method, url in (
        ("GET", f"{hub}/hub/token"),
        ("GET", f"{hub}/hub/api/user"),
        ("GET", f"{server}/api/contents/secret.txt"),
        ("POST", f"{hub}/hub/api/users/alice/tokens"),
        ("DELETE", f"{hub}/hub/api/users/alice/server"),
        ("POST", f"{server}/api/kernels"),
        ("DELETE", f"{server}/api/contents/secret.txt"),
    ):
        answer = ask(alice, method, url)
        # What is sent without leave may arrive; the hub refuses it, and nothing of the answer is read.
        assert answer["status"] in (0, 403), (method, url, answer)
        assert "only alice" not in answer["text"]
    framed = alice.evaluate(
        """url => new Promise(done => {
             const frame = document.createElement("iframe");
             frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch { done("blocked"); } };
             frame.src = url; document.body.append(frame); setTimeout(() => done("blocked"), 5000); })""",
        f"{hub}/hub/token",
    )
    assert framed in ("blocked", "")
    popup = alice.evaluate(
        """url => new Promise(done => { const w = window.open(url);
             setTimeout(() => { try { done(w.document.body.innerText); } catch { done("blocked"); } }, 3000); })""",
        f"{hub}/hub/token",
    )
    assert popup == "blocked"
    alice.close()
    assert at_hub(people["alice"], workbench, "GET", "users/alice")["text"].count('"ready": true') == 1
    assert (workbench.state / "homes/alice/secret.txt").exists()


def test_a_form_of_another_site_is_refused(people, workbench, evil):
    page = people["alice"].context.new_page()
    page.goto(evil[0])
    page.set_content(
        f'<form method="post" action="{workbench.public_url}/hub/spawn/alice"><input name="profile" value="x">'
        '<button id="go">Win</button></form>'
    )
    with page.expect_navigation():
        page.click("#go")
    assert "XSRF" in page.content() or "403" in page.content()
    page.close()


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "http:evil.example",
        "/hub/../..//evil.example",
    ],
)
def test_a_way_back_leads_to_no_other_site(people, workbench, target):
    page = people["alice"].context.new_page()
    for path in ("login", "spawn", ""):
        try:
            page.goto(f"{workbench.public_url}/hub/{path}?next={target}", wait_until="commit")
        except Exception as error:
            raise AssertionError(f"{path}: {error}") from error
        host = urlsplit(page.url).hostname
        assert host == "127.0.0.1" or host.endswith(".localhost"), page.url
    page.close()


def test_cookies_that_another_origin_tosses_change_nothing(people, workbench, evil):
    """A neighbour under the same domain sets cookies of the hub's names for all of it: nobody becomes somebody else."""
    context = people["bob"].context
    page = context.new_page()
    page.goto(evil[0])
    page.evaluate(
        """() => { for (const name of ["_xsrf", "jupyterhub-session-id", "jupyterhub-hub-login", "jupyterhub-user-alice"])
                     for (const domain of ["localhost", "127.0.0.1"]) document.cookie = `${name}=tossed; domain=${domain}; path=/`; }"""
    )
    page.goto(f"{workbench.public_url}/hub/home")
    assert page.evaluate("window.jhdata.user") == "bob"
    assert page.evaluate("window.jhdata.xsrf_token") != "tossed"
    answer = page.goto(f"{workbench.user_origin('alice')}/user/alice/api/contents/secret.txt")
    assert answer.status in (403, 404)
    page.close()


def test_a_script_in_a_name_or_a_message_is_text(people, workbench):
    page = people["alice"].context.new_page()
    alarmed = []
    page.on("dialog", lambda dialog: (alarmed.append(dialog.message), dialog.dismiss()))
    for path in (
        "spawn/alice?opt-profile=<img src=x onerror=alert(1)>",
        "spawn/alice/<script>alert(1)</script>",
        "home?next=javascript:alert(1)",
        "<svg onload=alert(1)>",
        "error?error=<script>alert(1)</script>",
    ):
        page.goto(f"{workbench.public_url}/hub/{path}")
        page.wait_for_timeout(200)
    assert alarmed == []
    page.close()


def test_a_servers_cookie_opens_no_other_server(people, workbench):
    """The cookie that Alice's server gave her, in Bob's hands, at the hub and at his own server's address."""
    origin = workbench.user_origin("bob")
    stolen = {each["name"]: each["value"] for each in people["bob"].context.cookies(origin)}
    with httpx.Client(transport=Loopback(), trust_env=False) as client:
        for url in (
            f"{workbench.user_origin('alice')}/user/alice/api/contents",
            f"{workbench.public_url}/hub/api/user",
        ):
            answer = client.get(url, headers={"Cookie": "; ".join(f"{k}={v}" for k, v in stolen.items())})
            assert answer.status_code in (302, 403), url


def test_nothing_listens_beyond_the_addresses_of_the_site_file(people, workbench):
    site = load_site(workbench.state.parent / "site.toml")
    addresses = {site.hub.address, site.hub.private_address}
    found = workbench.listening()
    assert {each.laddr.ip for _, each in found} <= addresses
    public = {process.pid for process, each in found if each.laddr.port == workbench.port}
    assert public == {workbench.program("configurable-http-proxy").pid}  # people come in by the proxy alone
