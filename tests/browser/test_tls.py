"""A real nginx that speaks TLS stands before the proxy, as the guide has it: what people do goes through it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from authority import Authority
from browser.lab import lab, notebook, run_all
from harness import Workbench

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
GUIDE = Path(__file__).parents[2] / "docs/how-to/tls.md"
SITE = """
name = "behind"
[hub]
port = {port}
public_url = "https://wb.localhost:{public}"
origin_domain = "wb.localhost"
[catalog]
sources = []
"""
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{guide}
}}
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
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    authority.sign("wb.localhost", "*.wb.localhost")
    inside, public = ports(2)
    # The guide's own words, with the places of this test.
    guide = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    for ours, theirs in {
        "listen 443 ssl": f"listen 127.0.0.1:{public} ssl",
        "workbench.example.org": "wb.localhost",
        "/etc/nginx/workbench.crt": str(authority.certificate),
        "/etc/nginx/workbench.key": str(authority.key),
        "127.0.0.1:8000": f"127.0.0.1:{inside}",
    }.items():
        assert ours in guide
        guide = guide.replace(ours, theirs)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, guide=guide))
    site = folder / "site.toml"
    site.write_text(SITE.format(port=inside, public=public))
    before = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    running = Workbench(folder / "state", site)
    running.domain = "wb.localhost"
    try:
        running.start(inside)
        for name in ("alice", "bob"):
            running.add(name, "solar")
        yield running
        running.stop()
    finally:
        before.terminate()
        before.wait(timeout=10)


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
