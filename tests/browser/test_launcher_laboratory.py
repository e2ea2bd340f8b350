"""A campaign in the simulated laboratory, as its owner and its operator see it: plots, queue, devices, a stop and its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

CAMPAIGN = """\
import genesis_workbench as gw

bright = gw.Threshold(metric="peak_intensity", at_least=2500, unit="1/s")
run = gw.Experiment(
    title="Bright films",
    hypothesis=gw.Hypothesis(statement="A mixed film emits 2,500 counts a second", rule=bright),
    space=[
        gw.Real("bromide", 0, 1),
        gw.Real("anneal_temperature", 60, 160, unit="degC"),
        gw.Real("anneal_duration", 60, 3600, unit="s"),
    ],
    objective=[gw.Objective("peak_intensity", unit="1/s"), gw.Objective("linewidth", unit="eV", maximize=False)],
    executor="perovskite_film",
    budget=gw.Budget(trials=40),
    groups=["solar"],
    parallel=2,
).launch()
gw.ExperimentLauncher(run)
"""
STOP = "import genesis_workbench as gw\ngw.laboratories()['simulated'].stop('smoke')"
AFTER = """\
import genesis_workbench as gw
gw.laboratories()['simulated'].reset('looked: the kettle')
"""
CHANGE = """\
import genesis_workbench as gw
run = gw.experiments.get('{experiment}')
lower = gw.Threshold(metric="peak_intensity", at_least=1000, unit="1/s")
run.change_hypothesis(gw.Hypothesis(statement="1,000 would do", rule=lower), reason="2,500 was too hopeful")
"""


@pytest.fixture
def laboratory(workbench):
    command = [str(Path(sys.executable).with_name("workbench")), "laboratory", "--simulated"]
    options = ["--state", str(workbench.state), "--time-scale", "600"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("The laboratory simulated is at")
    yield
    process.terminate()
    process.wait(timeout=60)
    process.stdout.close()


def said(workbench, page, name, file, code):
    """Run a cell in a notebook of its own, and see that it worked."""
    notebook(workbench.state / f"homes/{name}/{file}", code + "\nprint('done')")
    lab(workbench, page, name, file)
    run_all(page)
    done = page.locator(".jp-OutputArea-output", has_text="done")
    done.first.wait_for(timeout=60_000)
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []


def test_a_campaign_is_watched_stopped_and_its_change_of_mind_stays_with_the_finding(
    workbench, signed_in, screenshot, laboratory
):
    page = signed_in("alice")
    notebook(workbench.state / "homes/alice/films.ipynb", CAMPAIGN)
    lab(workbench, page, "alice", "films.ipynb")
    run_all(page)
    launcher = page.locator(".genesis-launcher")
    standing = launcher.locator(".standing")
    expect(standing).to_contain_text("furnace", timeout=120_000)
    expect(standing).to_contain_text("of 6 steps done", timeout=60_000)
    expect(standing).to_contain_text("Simulated laboratory")
    expect(standing).not_to_contain_text("reserved by")
    front = launcher.locator(".plot", has_text="Pareto front")
    expect(front.locator("circle").first).to_be_visible(timeout=120_000)
    parallel = launcher.locator(".plot", has_text="All parameters")
    expect(parallel.locator("path, polyline").first).to_be_attached(timeout=60_000)
    model = launcher.locator(".plot", has_text="What the model expects")
    expect(model.locator("svg")).to_be_visible(timeout=120_000)
    screenshot(page, "34-launcher-laboratory")
    experiment = page.evaluate("() => document.querySelector('.genesis-launcher').dataset.experiment")

    # Paused: what has begun goes on, nothing new begins.
    launcher.get_by_role("button", name="Pause").click()
    expect(launcher.get_by_role("button", name="Resume")).to_be_visible(timeout=30_000)
    expect(launcher).to_contain_text("paused")
    launcher.get_by_role("button", name="Resume").click()
    expect(launcher.get_by_role("button", name="Pause")).to_be_visible(timeout=30_000)

    # Anybody may stop the laboratory; everybody who watches sees that and who it was.
    bob = signed_in("bob")
    said(workbench, bob, "bob", "stop.ipynb", STOP)
    alarm = launcher.get_by_role("alert").filter(has_text="EMERGENCY STOP by bob: smoke")
    expect(alarm).to_be_visible(timeout=30_000)
    screenshot(page, "35-launcher-emergency-stop")
    dora = signed_in("dora")
    said(workbench, dora, "dora", "reset.ipynb", AFTER)
    expect(alarm).to_have_count(0, timeout=30_000)

    # A change of mind is a deviation, and the committed hypothesis decides.
    other = page.context.new_page()
    said(workbench, other, "alice", "change.ipynb", CHANGE.format(experiment=experiment))
    launcher.get_by_role("button", name="Stop", exact=True).click()
    launcher.get_by_label("why it is stopped").fill("Enough seen.")
    launcher.get_by_role("button", name="Stop it").click()
    finding = launcher.locator(".finding").last
    expect(finding).to_contain_text("2,500 was too hopeful", timeout=60_000)
    expect(finding).to_contain_text("The hypothesis is")
    screenshot(page, "36-launcher-deviation")
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []
