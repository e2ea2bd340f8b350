"""A real nginx that speaks TLS stands before the proxy, as the guide has it: what people do goes through it."""

from __future__ import annotations

import re

import pytest

from authority import Authority
from browser.lab import lab, notebook, run_all
from harness import Workbench, free_ports
from nginx import Nginx, needed

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


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    needed()
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    authority.sign("wb.localhost", "*.wb.localhost")
    inside, public = free_ports(2)
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
