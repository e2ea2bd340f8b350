"""An idle server ends after a warning in JupyterLab that its person can answer; one that works goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, run_all
from harness import Workbench

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
SITE = """
name = "idle"
[[servers.profiles]]
name = "brief"
title = "Brief"
idle_s = 80
[catalog]
sources = []
"""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idle")
    (folder / "site.toml").write_text(SITE)
    with Workbench(folder / "state", folder / "site.toml") as running:
        running.add("alice")
        running.add("bob")
        yield running


def servers(page, workbench, name):
    """What the hub says of somebody's servers."""
    answer = page.context.request.get(f"{workbench.public_url}/hub/api/users/{name}")
    return answer.json()["servers"]


def test_the_person_is_warned_keeps_the_server_once_and_then_it_ends(workbench, signed_in, screenshot):
    bob = signed_in("bob")
    notebook(workbench.state / "homes/bob/work.ipynb", "import time\nfor _ in range(3000): time.sleep(1)\n")
    lab(workbench, bob, "bob", "work.ipynb")
    run_all(bob)

    page = signed_in("alice")  # Lab stays open in a tab, and asks the server this and that every few seconds
    warning = page.get_by_text(re.compile("Nothing works in this server. It ends in about"))
    expect(warning).to_be_visible(timeout=180_000)
    screenshot(page, "53-idle-warning")
    page.get_by_role("button", name="Keep it running").click()
    expect(warning).to_be_hidden(timeout=30_000)
    assert servers(page, workbench, "alice")[""]["ready"]
    expect(warning).to_be_visible(timeout=180_000)
    workbench.until(lambda: "" not in servers(page, workbench, "alice"), timeout_s=120)
    # Bob's cell has run all the while, silently; nobody has touched his page for as long.
    assert servers(bob, workbench, "bob")[""]["ready"]
    expect(bob.get_by_text("Nothing works in this server")).to_have_count(0)
