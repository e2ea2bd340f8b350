"""The path that a newcomer walks, in Chromium, through the hub's proxy, with three people signed in."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.lab import cell, lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NOTEBOOK = "tutorials/first_light/first_light.ipynb"
PICTURE = Path(__file__).parents[2] / "docs/pictures/first-light.png"


def test_from_the_catalog_to_a_shared_dashboard(workbench, signed_in, screenshot):
    page = signed_in("alice")
    lab(workbench, page, "alice", NOTEBOOK)
    screenshot(page, "01-tutorial")
    run_all(page)

    progress = page.locator(".genesis-launcher")
    progress.wait_for(timeout=300_000)
    # Live: the widget counts while the notebook goes on.
    seen = set()
    while "30 of 30" not in (text := progress.locator(".counts").inner_text()):
        seen.add(text)
        page.wait_for_timeout(200)
    assert len(seen) > 3
    link = page.locator("a.genesis-dashboard-link").first
    link.wait_for(timeout=300_000)
    for failure in ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr"):
        assert outputs(page, failure).all_inner_texts() == []

    hits = cell(page, "gw.catalog.search(")
    expect(hits).to_contain_text("Worldwide Linke turbidity")
    expect(hits).to_contain_text("unreachable since")
    screenshot(page, "02-catalog")
    expect(cell(page, "sky = gw.open(")).to_contain_text("dask.array")
    cell(page, "world.hvplot.image(").locator("canvas").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    screenshot(page, "03-plot")
    expect(cell(page, 'gw.model("clear-sky')).to_contain_text("sha256:")
    screenshot(page, "04-model")
    shown = cell(page, "experiment = gw.Experiment(")
    expect(shown).to_contain_text("simulated")
    expect(shown).to_contain_text("The hypothesis is supported")
    expect(cell(page, "finding = run.wait()")).to_contain_text("Rule, committed before the first trial")
    page.wait_for_timeout(500)
    screenshot(page, "05-experiment")
    if os.environ.get("GENESIS_README_PICTURE") == "1":
        page.screenshot(path=PICTURE)

    url = link.get_attribute("href")
    bob = signed_in("bob")
    bob.goto(url)
    bob.get_by_text("Simulated: as declared").wait_for(timeout=120_000)
    bob.locator("canvas").first.wait_for(timeout=60_000)
    assert bob.url == url
    bob.wait_for_timeout(1500)
    screenshot(bob, "06-dashboard-seen-by-bob")

    carol = signed_in("carol")
    carol.goto(url)
    carol.get_by_role("heading", name="This dashboard is not shared with you").wait_for(timeout=60_000)
    assert "A solar field" not in carol.content()
    screenshot(carol, "07-dashboard-refused-to-carol")


HOSTILE = '''
"""A page that tries to act as whoever looks at it."""
import panel as pn

HUB, USER, SERVICE = {hub!r}, {user!r}, {service!r}
SCRIPT = """
  const found = {{}};
  window.found = found;
  const keep = (name, promise) => promise.then((value) => (found[name] = value), (error) => (found[name] = "blocked: " + error.name));
  const read = (url) => fetch(url, {{ credentials: "include" }}).then((answer) => answer.text());
  keep("page", read("HUB/hub/token"));
  keep("user", read("HUB/hub/api/user"));
  keep("lab", read("USER/user/bob/api/contents"));
  keep("service", read("SERVICE/services/workbench/api/me"));
  const frame = document.createElement("iframe");
  frame.src = "HUB/hub/token";
  document.body.append(frame);
  const inside = (view) => {{ try {{ return view.document.documentElement.innerHTML; }} catch (error) {{ return "blocked: " + error.name; }} }};
  setTimeout(() => (found.frame = inside(frame.contentWindow)), 4000);
  window.popup = () => {{
    const opened = window.open("HUB/hub/token");
    setTimeout(() => (found.popup = opened ? inside(opened) : "blocked: no window"), 4000);
  }};
  found.cookies = document.cookie;
  found.ready = true;
""".replace("HUB", HUB).replace("USER", USER).replace("SERVICE", SERVICE)

pn.extension()
button = pn.widgets.Button(name="Look at the results")
button.js_on_click(code="window.popup()")
trigger = pn.widgets.Button(name="Start")
trigger.js_on_click(code=SCRIPT)
pn.Column("# A harmless page", trigger, button).servable()
'''


@pytest.mark.slow
def test_a_dashboards_script_cannot_act_as_its_viewer(workbench, signed_in, screenshot, tmp_path):
    """The takeover that worked on one origin: each of its ways must fail."""
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    service = workbench.public_url.replace("127.0.0.1", "workbench--service.localhost")
    (home / "hostile.py").write_text(
        HOSTILE.format(hub=workbench.public_url, user=workbench.user_origin("bob"), service=service)
    )
    code = 'import genesis_workbench as gw\ngw.share("hostile.py", title="Look here", groups=["solar"])'
    notebook(home / "publish.ipynb", code)
    lab(workbench, page, "alice", "publish.ipynb")
    run_all(page)
    link = page.locator("a.genesis-dashboard-link").first
    link.wait_for(timeout=120_000)

    bob = signed_in("bob")
    # Bob is signed in everywhere: at the hub, at his Lab, at the service.
    bob.goto(f"{workbench.public_url}/hub/token")
    expect(bob.get_by_role("button", name="Request new API token")).to_be_visible()
    # The control: on the hub's own origin the same script reads that page, and with it could make a token.
    assert "Request new API token" in bob.evaluate("fetch('/hub/token').then((answer) => answer.text())")
    bob.goto(link.get_attribute("href"))
    bob.get_by_role("button", name="Start").click(timeout=120_000)
    bob.wait_for_function("window.found && window.found.ready")
    with bob.context.expect_page() as opened:
        bob.get_by_role("button", name="Look at the results").click()
    opened.value.wait_for_load_state()
    bob.wait_for_function("Object.keys(window.found).length >= 8", timeout=30_000)
    found = bob.evaluate("window.found")
    screenshot(bob, "08-hostile-dashboard")
    for way in ("page", "user", "lab", "service", "frame", "popup"):
        assert found[way].startswith("blocked"), f"{way}: {found[way][:300]}"
    # Nothing in its own origin is worth having either.
    assert found["cookies"] == ""
    kept = {cookie["name"]: cookie for cookie in bob.context.cookies(bob.url)}
    assert set(kept) <= {"genesis-dashboard"}
    assert all(cookie["httpOnly"] for cookie in kept.values())
    # The popup is bob's own page of the hub, opened and not readable.
    assert re.search(r"/hub/token", opened.value.url)
