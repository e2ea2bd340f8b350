"""A widget whose kernel has ended says so and takes no clicks; run again, it is there again."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.lab import cell, lab, notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_widget_ends_with_its_kernel_and_comes_back_with_its_cell(workbench, signed_in, screenshot):
    page = signed_in("alice")
    notebook(
        workbench.state / "homes/alice/ended.ipynb",
        "import genesis_workbench as gw\ngw.ExperimentLauncher()",
        "import os\nos._exit(1)  # as where a kernel runs out of memory",
    )
    lab(workbench, page, "alice", "ended.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    launcher, ended = page.locator(".genesis-launcher"), page.locator(".genesis-ended")
    title = launcher.get_by_role("textbox", name="title", exact=True)

    run(page, "ExperimentLauncher")
    expect(title).to_be_editable(timeout=60_000)
    expect(ended).to_have_count(0)

    run(page, "os._exit")
    expect(ended).to_contain_text("has ended", timeout=60_000)
    page.get_by_role("button", name="Ok").click()  # Lab's own word that the kernel died
    out_of_reach(title)
    screenshot(page, "34-ended-kernel")

    run(page, "ExperimentLauncher")
    expect(ended).to_have_count(0, timeout=60_000)
    expect(title).to_be_editable(timeout=60_000)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(ended).to_contain_text("run its cell again", timeout=60_000)
    out_of_reach(title)
    run(page, "ExperimentLauncher")
    expect(ended).to_have_count(0, timeout=60_000)
    expect(title).to_be_editable(timeout=60_000)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Shut Down Kernel", exact=True).click()
    expect(ended).to_contain_text("has ended", timeout=60_000)
    out_of_reach(title)

    # Tomorrow: the outputs are there, what the widget was is not.
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    lab(workbench, page, "alice", "ended.ipynb")
    expect(page.get_by_text("Run its cell to see it as it is now.")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("model not found")).to_have_count(0)
    screenshot(page, "34-widget-of-an-earlier-day")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    run(page, "ExperimentLauncher")
    expect(title).to_be_editable(timeout=60_000)


def run(page, text):
    """Run the cell whose source holds `text`, as a person does."""
    cell(page, text).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def out_of_reach(field):
    """Neither the mouse nor the keyboard gets to a field."""
    field.click(force=True)
    expect(field).not_to_be_focused()
    field.focus()
    expect(field).not_to_be_focused()
