"""The experiment launcher in JupyterLab: described, checked as one types, launched, approved, stopped, and there tomorrow."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser.lab import cell, lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LAUNCHER = "import genesis_workbench as gw\ngw.ExperimentLauncher()"


def test_an_experiment_is_described_launched_approved_stopped_and_found_again(
    workbench, signed_in, screenshot
):
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    notebook(home / "launch.ipynb", LAUNCHER)
    lab(workbench, page, "alice", "launch.ipynb")
    run_all(page)
    launcher = page.locator(".genesis-launcher")
    describe(launcher)

    # What is wrong is said beside the field as one types, and what it would cost once nothing is.
    low = launcher.get_by_label("from", exact=True).first
    low.fill("90")
    expect(launcher.locator("[data-at='space.0']")).to_contain_text("low < high", timeout=30_000)
    low.fill("five")
    expect(launcher.locator("[data-at='space.0.low']")).to_contain_text(
        "A number is needed, not 'five'", timeout=30_000
    )
    expect(low).to_have_attribute("aria-invalid", "true")
    screenshot(page, "30-launcher-fault")
    low.fill("5")
    conditional(launcher)
    screenshot(page, "30-launcher-conditional")
    launcher.get_by_role("button", name="Remove").last.click()
    estimate = launcher.locator(".estimate")
    expect(estimate).to_contain_text("20 trials", timeout=30_000)
    expect(estimate).to_contain_text("80 of 100 USD")
    expect(estimate).to_contain_text("20 of them wait for a person.")
    # Whoever approves must see it, and is never oneself.
    expect(estimate).to_contain_text("Nobody but you can see it")
    launcher.get_by_label("solar").check()
    expect(estimate).to_contain_text("Somebody else of solar approves.", timeout=30_000)
    screenshot(page, "31-launcher-ready")
    nothing_typed_is_lost(page, launcher)
    keys_stay_in_the_form(page, launcher)

    # Launched by the service; nobody approves their own.
    launcher.get_by_role("button", name="Launch").click()
    asked = launcher.locator(".asked")
    expect(asked.first).to_contain_text("Trial 1", timeout=60_000)
    expect(asked.first).to_contain_text("Somebody else of solar approves it.")
    expect(asked.get_by_role("button", name="Approve")).to_have_count(0)
    launcher.get_by_role("button", name="Experiments (").click()
    expect(launcher.locator("table")).to_contain_text("running, 2 wait", timeout=30_000)
    launcher.get_by_role("button", name="A field in Golden").click()
    expect(asked).to_have_count(2, timeout=30_000)
    experiment = page.evaluate("() => document.querySelector('.genesis-launcher').dataset.experiment")

    # Another person approves one trial and refuses the other, with a reason that stays.
    steward = signed_in("dora")
    notebook(
        workbench.state / "homes/dora/watch.ipynb",
        f"import genesis_workbench as gw\ngw.progress(gw.experiments.get('{experiment}'))",
    )
    lab(workbench, steward, "dora", "watch.ipynb")
    run_all(steward)
    waiting = steward.locator(".asked")
    expect(waiting).to_have_count(2, timeout=60_000)
    waiting.first.get_by_role("button", name="Approve").click()
    second = waiting.filter(has_text="Trial 2")
    expect(second.get_by_role("button", name="Refuse")).to_be_disabled()
    second.get_by_label("reason for trial 2").fill("The roof is being painted.")
    second.get_by_role("button", name="Refuse").click()
    rows = launcher.get_by_role("region", name="trials").locator("tr")
    expect(rows.filter(has_text="The roof is being painted.")).to_have_count(1, timeout=30_000)
    expect(launcher.locator(".counts")).to_contain_text("1 of 20 trials observed", timeout=60_000)
    screenshot(page, "32-launcher-live")

    # A sorted table, a chosen trial in all plots, and the end.
    launcher.get_by_role("button", name="state", exact=True).click()
    expect(launcher.locator("th[aria-sort='ascending']")).to_contain_text("state")
    rows.filter(has_text="observed").click()
    expect(launcher.locator("circle.chosen")).to_have_count(1)
    # Enter twice does not stop it: the keyboard is where one says why.
    launcher.get_by_role("button", name="Stop", exact=True).focus()
    page.keyboard.press("Enter")
    expect(launcher.get_by_label("why it is stopped")).to_be_focused()
    page.keyboard.press("Enter")
    expect(launcher.get_by_role("button", name="Stop it")).to_be_visible()
    launcher.get_by_label("why it is stopped").fill("Enough seen.")
    launcher.get_by_role("button", name="Stop it").click()
    expect(launcher).to_contain_text("The hypothesis is undecided.", timeout=60_000)
    expect(launcher).to_contain_text("Enough seen.")
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 7_200_000 }")
    expect(launcher.locator("header time")).to_have_text(
        "2 h ago"
    )  # nothing changes any more, but time goes on

    # Tomorrow: another kernel, the same cell.
    page.reload()
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel and Run All Cells", exact=False).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    again = page.locator(".genesis-launcher")
    expect(again).to_contain_text("The hypothesis is undecided.", timeout=60_000)
    again.get_by_text("Evidence").click()
    expect(again).to_contain_text("committed as")
    screenshot(page, "33-launcher-tomorrow")
    again.get_by_role("button", name="Experiments (").click()
    expect(again.get_by_role("button", name="A field in Golden")).to_be_visible(timeout=30_000)
    again.get_by_role("button", name="Describe", exact=True).click()
    expect(again.get_by_label("title", exact=True)).to_have_value("A field in Golden")
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []


WAITING = """
import time
import genesis_workbench as gw


def slow(x):
    time.sleep(0.5)
    return x


run = gw.Experiment(
    title="Slow", space=[gw.Real("x", 0, 1)], objective=gw.Objective("y"), executor=slow, proposer="sobol",
    hypothesis=gw.Hypothesis(statement="s", rule=gw.Threshold(metric="y", at_least=2)), budget=gw.Budget(trials=400),
).launch()
gw.progress(run)
"""


def test_it_is_heard_while_a_cell_waits_for_the_experiment(workbench, signed_in):
    page = signed_in("alice")
    notebook(workbench.state / "homes/alice/waits.ipynb", WAITING, "run.wait()")
    lab(workbench, page, "alice", "waits.ipynb")
    run_all(page)
    launcher = page.locator(".genesis-launcher")
    expect(launcher.locator(".counts")).to_contain_text(
        re.compile(r"([3-9]|\d\d) of 400 trials observed"), timeout=120_000
    )
    launcher.get_by_role("button", name="Pause", exact=True).click()
    expect(launcher.locator("header").first).to_contain_text("paused", timeout=30_000)
    # The cell that waited says so at once, and is over.
    expect(cell(page, "run.wait()")).to_contain_text("The experiment is paused", timeout=30_000)
    launcher.get_by_role("button", name="Stop", exact=True).click()
    launcher.get_by_role("button", name="Stop it").click()
    expect(launcher).to_contain_text("The hypothesis is undecided.", timeout=60_000)


def nothing_typed_is_lost(page, launcher):
    """Other tabs keep the form as it is; to start over takes a second click, and Enter twice is none."""
    launcher.get_by_role("button", name="Experiments (").click()
    launcher.get_by_role("button", name="Describe", exact=True).click()
    title = launcher.get_by_label("title", exact=True)
    expect(title).to_have_value("A field in Golden", timeout=30_000)
    launcher.get_by_role("button", name="Start over").focus()
    page.keyboard.press("Enter")
    expect(launcher.get_by_role("button", name="Start over: forget it")).to_be_visible()
    page.keyboard.press("Enter")
    expect(launcher.get_by_role("button", name="Start over", exact=True)).to_be_focused()
    expect(title).to_have_value("A field in Golden")


def keys_stay_in_the_form(page, launcher):
    """A drop-down and a button have their own keys: Lab would go to another cell, insert one, or delete this one."""
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    order = launcher.get_by_label("better is", exact=True)
    order.focus()
    page.keyboard.press("ArrowDown")
    expect(order).to_have_value("false")
    page.keyboard.press("b")
    expect(order).to_be_focused()
    order.select_option("true")
    add = launcher.get_by_role("button", name="Add a parameter")
    add.focus()
    for key in (
        "b",
        "d",
        "d",
        "x",
        "ArrowDown",
    ):  # Lab's: insert a cell below, delete this one, cut it, go to the next
        page.keyboard.press(key)
    expect(add).to_be_focused()
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(cells)


def conditional(launcher):
    """A fidelity, and a parameter that is there only sometimes: what is wrong with each is said beside it."""
    launcher.get_by_label("how true to life").select_option(index=1)
    launcher.get_by_label("the real thing is").fill("999")
    expect(launcher.locator("[data-at='fidelity.target']")).to_contain_text("must be between", timeout=30_000)
    launcher.get_by_label("how true to life").select_option("")
    launcher.get_by_role("button", name="Add a parameter").click()
    launcher.locator("[data-path='space.3.name']").fill("extra")
    launcher.get_by_label("from", exact=True).last.fill("0")
    launcher.get_by_label("to", exact=True).last.fill("1")
    launcher.get_by_label("only where").last.select_option(index=1)
    launcher.get_by_label("is one of").fill("5")
    expect(launcher.locator("[data-at='space.3.when.parameter']")).to_contain_text(
        "has no single values", timeout=30_000
    )


def describe(launcher):
    """Fill the form, as a person does from top to bottom."""
    launcher.get_by_label("title", exact=True).fill("A field in Golden", timeout=120_000)
    launcher.get_by_role("button", name="Several steps").click()
    launcher.get_by_label("step", exact=True).fill("Make it")
    expect(launcher.locator("[data-at='steps.0.name']")).to_contain_text("lower-case letters", timeout=30_000)
    launcher.get_by_role("button", name="Remove").click()
    launcher.get_by_label("executor", exact=True).select_option("pvlib")
    for name, value in {"latitude": "39.74", "longitude": "-105.18", "altitude m": "1829"}.items():
        launcher.get_by_label(name, exact=True).fill(value)
    launcher.get_by_label("linke turbidity").fill(", ".join(["2.5"] * 12))
    launcher.get_by_role("button", name="Take from the executor").click()
    bounds = [("5", "60"), ("90", "270"), ("0.2", "0.7")]
    for row, (low, high) in enumerate(bounds):
        launcher.get_by_label("from", exact=True).nth(row).fill(low)
        launcher.get_by_label("to", exact=True).nth(row).fill(high)
    launcher.get_by_label("statement").fill("Some tilt yields 5000 kWh per square metre and year.")
    launcher.get_by_label("metric").fill("annual_insolation")
    launcher.get_by_label("at least", exact=True).first.fill("5000")
    launcher.locator("[data-path='hypothesis.rule.unit']").fill("kW*h/m**2")
    launcher.get_by_label("most money").fill("100")
    launcher.get_by_label("money for one trial").fill("4")
    launcher.get_by_label("a person approves").select_option("each")
