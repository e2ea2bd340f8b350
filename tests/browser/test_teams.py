"""People of a group edit one notebook at the same time, in a server that is the group's; others do not get in."""

from __future__ import annotations

import subprocess
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook
from harness import Workbench

pytestmark = pytest.mark.slow

TEAM = "fusion--team"
SITE = """
name = "Team laboratory"
[[servers.profiles]]
name = "standard"
title = "Standard"
[[servers.profiles]]
name = "together"
title = "Together"
groups = ["fusion"]
collaboration = true
[catalog]
sources = []
"""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teams")
    (folder / "site.toml").write_text(SITE)
    with Workbench(folder / "state", folder / "site.toml") as running:
        running.add("ada", "fusion")
        running.add("ben", "fusion")
        running.add("eve")
        home = running.state / "homes" / TEAM
        home.mkdir(parents=True, mode=0o700)
        notebook(home / "shot.ipynb", "current = 1", "import os; os.environ['JUPYTERHUB_USER']")
        yield running


@pytest.fixture
def signed_in(chromium, workbench):
    """Return a function that gives the hub's home page of a person."""
    contexts = []

    def sign_in(name):
        context = chromium.new_context(viewport={"width": 1300, "height": 850})
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{workbench.public_url}/hub/login?next=/hub/home")
        page.fill("#username_input", name)
        page.fill("#password_input", workbench.passwords[name])
        page.click("#login_submit")
        page.get_by_role("heading", name="Named Servers").wait_for()
        return page

    yield sign_in
    for context in contexts:
        context.close()


def open_team(page):
    """Open the team's server, and let it know who one is: it is not one's own."""
    page.get_by_role("link", name="Open the server of fusion").click()
    there = page.locator("#jp-main-dock-panel")
    agree = page.get_by_role("button", name="Authorize")  # asked once
    there.or_(agree).first.wait_for(timeout=120_000)
    if agree.count():
        agree.click()
    there.wait_for(timeout=60_000)


def test_two_people_edit_one_notebook_and_a_third_does_not_get_in(workbench, signed_in, screenshot):
    ada, ben, eve = signed_in("ada"), signed_in("ben"), signed_in("eve")
    screenshot(ada, "teams-home")
    open_team(ada)
    lab(workbench, ada, TEAM, "shot.ipynb")
    open_team(ben)
    lab(workbench, ben, TEAM, "shot.ipynb")

    ada.locator(".jp-CodeCell .cm-content").first.click()
    ada.keyboard.press("End")
    ada.keyboard.type("234  # ampere")
    expect(ben.locator(".jp-CodeCell").first).to_contain_text("current = 1234  # ampere", timeout=20_000)
    ben.locator(".jp-CodeCell .cm-content").nth(1).click()
    ben.keyboard.press("Shift+Enter")
    expect(ada.locator(".jp-OutputArea-output").first).to_contain_text(TEAM, timeout=30_000)
    screenshot(ben, "teams-notebook")

    assert eve.get_by_text("Work together").count() == 0
    for address in (
        f"{workbench.public_url}/hub/spawn/{TEAM}",
        f"{workbench.user_origin(TEAM)}/user/{TEAM}/lab",
    ):
        answer = eve.goto(address)
        assert answer.status in (403, 404)
        assert eve.locator(".jp-Notebook").count() == 0


def test_whoever_leaves_the_group_loses_the_server(workbench, signed_in):
    ben = signed_in("ben")
    open_team(ben)
    address = f"{workbench.user_origin(TEAM)}/user/{TEAM}/api/contents"
    workbench.until(lambda: ben.goto(address).status == 200)
    workbench.run("users", "groups", "ben", "--remove", "fusion")
    workbench.until(lambda: ben.goto(address).status == 403, timeout_s=45)


def test_a_link_brings_a_notebook_of_a_repository(workbench, signed_in, tmp_path):
    repository = tmp_path / "course"
    repository.mkdir()
    notebook(repository / "lesson.ipynb", "'from the repository'")
    git = ["git", "-C", str(repository), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "A lesson"]):
        subprocess.run([*git, *words], check=True)
    ada = signed_in("ada")
    asked = urlencode(
        {"repo": repository.as_uri(), "branch": "main", "urlpath": "lab/tree/course/lesson.ipynb"}
    )
    ada.goto(f"{workbench.public_url}/hub/user-redirect/git-pull?{asked}")
    ada.locator(".jp-CodeCell", has_text="from the repository").first.wait_for(timeout=120_000)
    assert (workbench.state / "homes/ada/course/lesson.ipynb").is_file()


def test_a_persons_own_server_edits_alone_and_nobody_signs_in_as_a_team(workbench, signed_in):
    ada = signed_in("ada")
    ada.goto(f"{workbench.public_url}/hub/spawn/ada")
    ada.wait_for_url("**/user/ada/lab**", timeout=120_000)
    ada.locator("#jp-main-dock-panel").wait_for(timeout=60_000)
    extensions = ada.evaluate(
        "JSON.parse(document.getElementById('jupyter-config-data').textContent).federated_extensions"
    )
    assert not [each["name"] for each in extensions if "collaboration" in each["name"]]
    assert ada.goto(f"{workbench.user_origin('ada')}/user/ada/api/collaboration/room/x").status == 404
    page = ada.context.browser.new_page()
    page.goto(f"{workbench.public_url}/hub/login")
    page.fill("#username_input", TEAM)
    page.fill("#password_input", workbench.passwords["ada"])
    page.click("#login_submit")
    page.get_by_text("Invalid username or password").wait_for()
    page.close()
