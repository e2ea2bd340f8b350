"""A real nginx that speaks TLS stands before the proxy, as the guide has it: what people do goes through it."""

from __future__ import annotations

import re
import socket

import pytest

from authority import Authority
from browser.lab import lab, notebook, run_all
from harness import Workbench
from nginx import Nginx, program

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
SITE = """
name = "behind"
[hub]
port = {port}
public_url = "https://wb.localhost:{public}"
origin_domain = "wb.localhost"
[catalog]
sources = []
"""
PAGE = """
import panel as pn
pn.extension()
steps = pn.widgets.IntSlider(name="Steps", start=1, end=9)
pn.Column("# A page", steps, pn.bind(lambda n: f"Seen {n}", steps)).servable()
"""
CELL = "import genesis_workbench as gw\ngw.share('page.py', title='A page', groups=['solar'])"


def ports(count):
    probes = [socket.socket() for _ in range(count)]
    for each in probes:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in probes]
    for each in probes:
        each.close()
    return found


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    if program() is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    authority.sign("wb.localhost", "*.wb.localhost")
    inside, public = ports(2)
    site = folder / "site.toml"
    site.write_text(SITE.format(port=inside, public=public))
    running = Workbench(folder / "state", site)
    running.domain = "wb.localhost"
    with Nginx(folder, authority, running.domain, public, inside):
        running.start(inside)
        for name in ("alice", "bob"):
            running.add(name, "solar")
        yield running
        running.stop()


@pytest.fixture
def signed_in(chromium, workbench):
    """Return a function that signs somebody in with a browser profile of their own and gives a page."""
    contexts = []

    def sign_in(name):
        context = chromium.new_context(viewport={"width": 1400, "height": 1000}, ignore_https_errors=True)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{workbench.public_url}/hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", workbench.passwords[name])
        page.click("#login_submit")
        page.wait_for_url(re.compile(rf"https://{name}--user\.wb\.localhost"), timeout=120_000)
        return page

    yield sign_in
    for context in contexts:
        context.close()


def test_a_notebook_and_a_shared_dashboard_work_through_a_proxy_that_speaks_tls(
    workbench, signed_in, screenshot
):
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    (home / "page.py").write_text(PAGE)
    notebook(home / "publish.ipynb", CELL)
    lab(workbench, page, "alice", "publish.ipynb")
    run_all(page)
    link = page.locator("a.genesis-dashboard-link").first
    link.wait_for(timeout=120_000)
    screenshot(page, "tls-01-notebook")
    url = link.get_attribute("href")
    assert re.match(r"https://dsh-[0-9a-f]{16}--dash\.wb\.localhost:", url)

    bob = signed_in("bob")
    bob.goto(url)
    # By websocket: the page's own Python answers.
    bob.get_by_text("Seen 1").wait_for(timeout=120_000)
    bob.get_by_role("slider").first.press("ArrowRight")
    bob.get_by_text("Seen 2").wait_for(timeout=30_000)
    screenshot(bob, "tls-02-dashboard-seen-by-bob")
    for context in (page.context, bob.context):
        kept = context.cookies()
        assert kept
        assert [each["name"] for each in kept if not each["secure"]] == []
