"""The training monitor in JupyterLab: a real run is watched, stopped, found again by a reopened notebook, and resumed."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.service import Service
from harness import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
pytest.importorskip("torch", reason="torch is not installed")

TRAIN = """\
import genesis_workbench as gw
run = gw.train(
    "surrogate", ["cec-pv-modules"], name="pv-power", epochs=20_000, log_steps=1, budget_node_hours=2,
    shards=3, shard_size=512, members=2, width=16, learning_rate=0.003,
)
gw.TrainingMonitor(run)
"""
AGAIN = "import genesis_workbench as gw\ngw.TrainingMonitor()"


@pytest.fixture
def service(workbench):
    """Return a function that gives somebody's client of the API."""
    opened = {}

    def make(name):
        if name not in opened:
            with closing(Browser(workbench)) as session:
                session.sign_in(name, workbench.passwords[name])
                opened[name] = Service(workbench.service_url, session.make_token(name))
        return opened[name]

    yield make
    for each in opened.values():
        each.close()


def step(monitor):
    words = monitor.locator(".gauge").first.inner_text()
    return int(re.search(r"Step ([\d,]+) of", words)[1].replace(",", ""))


def dark(page):
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_timeout(1500)


def test_a_run_is_watched_stopped_found_again_and_resumed(workbench, signed_in, screenshot, service):
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    notebook(home / "train.ipynb", TRAIN)
    lab(workbench, page, "alice", "train.ipynb")
    run_all(page)
    monitor = page.locator(".genesis-training")
    expect(monitor.locator(".badge.state")).to_have_text("active", timeout=120_000)
    expect(monitor.locator("path.validation")).to_be_visible(timeout=120_000)
    expect(monitor).to_contain_text("of 2 node-hours")
    expect(monitor).to_contain_text("samples/s")
    before = step(monitor)
    page.wait_for_timeout(2500)
    assert step(monitor) > before, "the curve is live"
    screenshot(page, "40-training-active")

    # A dashboard shows the same to her group, live.
    run = monitor.get_attribute("data-run")
    made = service("alice").post(
        "dashboards",
        {"app": "training", "title": "Power", "parameters": {"run": run}, "groups": ["solar"]},
        key="training",
    )
    bob = signed_in("bob")
    bob.goto(made["url"])
    expect(bob.get_by_text("node-hours")).to_be_visible(timeout=180_000)
    expect(bob.get_by_text("pv-power")).to_be_visible()
    bob.locator("canvas").first.wait_for(timeout=60_000)
    bob.wait_for_timeout(1500)
    screenshot(bob, "43-training-dashboard")

    monitor.get_by_role("button", name="Stop with a checkpoint").click()
    expect(monitor.locator(".badge.state")).to_have_text("canceled: told to end", timeout=60_000)
    expect(bob.get_by_text("canceled: told to end")).to_be_visible(timeout=60_000)
    stopped = step(monitor)
    expect(monitor).to_contain_text(f"Checkpoint of step {stopped:,}")

    # The service was told of it, by her server and with her server's token; nobody else hears of it.
    workbench.until(lambda: service("alice").get(f"training/runs/{run}")["state"] == "canceled")
    assert service("alice").get(f"training/runs/{run}")["step"] == stopped
    with pytest.raises(NotFound):
        service("bob").get(f"training/runs/{run}")

    # The notebook is closed, its kernel too; another one finds the run as it is.
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
    notebook(home / "again.ipynb", AGAIN)
    lab(workbench, page, "alice", "again.ipynb")
    run_all(page)
    again = page.locator(".genesis-training")
    expect(again).to_have_attribute("data-run", run, timeout=120_000)
    assert step(again) == stopped
    # What cannot be is refused beside the buttons, in words.
    code = next(home.rglob("recipe/__init__.py"))
    as_it_was = code.read_bytes()
    code.write_bytes(as_it_was + b"# changed\n")
    again.get_by_role("button", name="Resume").click()
    expect(again.get_by_role("alert")).to_contain_text("is not what the run was given", timeout=60_000)
    screenshot(page, "41-training-refused")
    code.write_bytes(as_it_was)
    again.get_by_role("button", name="Resume").click()
    expect(again).to_contain_text("attempt 2", timeout=60_000)
    expect(again.locator(".badge.state")).to_have_text("active", timeout=60_000)
    expect(again.get_by_role("alert")).to_have_text("")
    dark(page)
    screenshot(page, "42-training-dark")
    again.get_by_role("button", name="Stop with a checkpoint").click()
    expect(again.locator(".badge.state")).to_have_text("canceled: told to end", timeout=60_000)
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []
