"""The hub's own pages: a person chooses a server, watches it start, and is told what to do where it does not."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from harness import Workbench

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
SITE = """
name = "pages"
[[servers.profiles]]
name = "small"
title = "Small"
description = "For looking around and writing."
memory_bytes = 2147483648
[[servers.profiles]]
name = "large"
title = "Large"
description = "For analyses on one machine."
cpu_cores = 2
memory_bytes = 4294967296
accelerator = "1 A100"
limits = { cpu_cores = [1, 8], memory_bytes = [1073741824, 8589934592] }
[[servers.profiles]]
name = "broken"
title = "Tight"
description = "Has too little memory for any server."
memory_bytes = 20971520
[[servers.profiles]]
name = "others"
title = "For others"
groups = ["fusion"]
[catalog]
sources = []
"""
CONTRAST = """
() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((each) => {
      const c = each / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (!/rgba\\(.*, 0\\)/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("main *, .container *")]
    .filter((each) => each.checkVisibility() && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((each) => {
      const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
      return [each.outerHTML.slice(0, 80), (a + 0.05) / (b + 0.05)];
    })
    .filter(([, ratio]) => ratio < 4.5);
}
"""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "site.toml").write_text(SITE)
    with Workbench(folder / "state", folder / "site.toml") as running:
        running.add("alice", "solar")
        yield running


@pytest.fixture(params=["light", "dark"])
def page(request, chromium, workbench):
    """Alice's page for choosing, in each theme."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, color_scheme=request.param)
    page = context.new_page()
    page.theme = request.param
    page.goto(f"{workbench.public_url}/hub/login?next=/hub/spawn/alice")
    page.fill("#username_input", "alice")
    page.fill("#password_input", workbench.passwords["alice"])
    page.click("#login_submit")
    page.get_by_role("heading", name="Start a server").wait_for()
    yield page
    context.close()


def stop(page, workbench):
    """End the server, as the hub's home page does."""
    page.goto(f"{workbench.public_url}/hub/home")
    page.get_by_role("button", name="Stop My Server").click()
    expect(page.get_by_role("button", name="Stop My Server")).to_be_hidden(timeout=30_000)
    page.goto(f"{workbench.public_url}/hub/spawn/alice")


def test_a_person_chooses_by_keyboard_waits_and_finds_the_choice_again(page, workbench, screenshot):
    assert page.get_by_text("For others").count() == 0
    expect(page.locator(".genesis-free").first).to_contain_text("GiB of memory")
    page.get_by_role("radio", name="Small").check()
    page.get_by_role("radio", name="Small").focus()
    expect(page.locator("[name='large.cpu_cores']")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Large")).to_be_checked()
    cores = page.get_by_label("Processor cores")
    page.keyboard.press("Tab")
    expect(cores).to_be_focused()
    cores.fill("3")
    screenshot(page, f"50-profiles-{page.theme}")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("alice--user"), timeout=120_000)
    stop(page, workbench)
    expect(page.get_by_role("radio", name="Large")).to_be_checked()
    expect(page.get_by_label("Processor cores")).to_have_value("3")


def test_a_value_beyond_the_limit_is_refused_on_the_server_too(page):
    page.get_by_role("radio", name="Large").check()
    cores = page.get_by_label("Processor cores")
    cores.evaluate("field => { field.max = 999 }")
    cores.fill("64")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "processor cores can be 1 to 8 cores, not 64", timeout=30_000
    )


def test_a_server_that_ends_at_once_says_why_and_what_to_do(page, workbench, screenshot):
    page.get_by_role("radio", name="Tight").check()
    page.get_by_role("button", name="Start").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("ended before it could be reached", timeout=60_000)
    expect(told).to_contain_text("Choose another profile")
    expect(told.locator("pre")).not_to_be_empty()
    screenshot(page, f"51-start-failed-{page.theme}")


def test_the_waiting_page_tells_its_story_again_after_a_reload(page, workbench, screenshot):
    page.get_by_role("radio", name="Small").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("spawn-pending"), timeout=30_000)
    page.reload()
    if "spawn-pending" in page.url:  # on a fast machine it may have started meanwhile
        page.get_by_text("What happened so far").click()
        expect(
            page.locator("#genesis-steps li", has_text="Starting JupyterLab on this machine.")
        ).to_have_count(1)
        screenshot(page, f"52-waiting-{page.theme}")
    page.wait_for_url(re.compile("alice--user"), timeout=120_000)
    stop(page, workbench)


def test_a_start_that_is_canceled_does_not_begin_again(page, workbench):
    page.get_by_role("radio", name="Small").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("spawn-pending"), timeout=30_000)
    page.get_by_role("button", name="Cancel the start").click()
    page.wait_for_url(re.compile("/hub/home"), timeout=60_000)
    page.wait_for_timeout(10_000)
    page.reload()
    expect(page.get_by_role("button", name="Stop My Server")).to_be_hidden()
    assert page.url.endswith("/hub/home")
    page.goto(f"{workbench.public_url}/hub/spawn/alice")
    expect(page.get_by_role("heading", name="Start a server")).to_be_visible(timeout=30_000)
