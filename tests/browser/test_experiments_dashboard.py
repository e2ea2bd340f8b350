"""The dashboard of a group's experiments: what everybody who can open it may see, with filters, live, and no more."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

LAUNCH = """\
import genesis_workbench as gw

def weighing(title, **more):
    return gw.Experiment(
        title=title,
        hypothesis=gw.Hypothesis(statement="It weighs a gram.", rule=gw.Threshold(metric="mass", at_least=1, unit="g")),
        space=[gw.Real("temperature", 100, 200, unit="degC")],
        objective=gw.Objective("mass", "g"),
        executor="person",
        executor_arguments={"outcomes": {"mass": "g"}},
        proposer="sobol",
        budget=gw.Budget(trials=2),
        parallel=1,
        **more,
    ).launch()

shared = weighing("Crystals <img src=x onerror=document.title='taken'>", groups=["solar"])
own = weighing("Nobody else's business")
gw.share("experiments", title="Solar", groups=["solar"])
"""


def test_a_group_sees_what_is_shared_with_it_and_follows_it(workbench, signed_in, screenshot):
    page = signed_in("alice")
    notebook(workbench.state / "homes/alice/weigh.ipynb", LAUNCH)
    lab(workbench, page, "alice", "weigh.ipynb")
    run_all(page)
    link = page.locator("a.genesis-dashboard-link").last
    link.wait_for(timeout=120_000)
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []
    url = link.get_attribute("href")

    bob = signed_in("bob")
    bob.goto(url)
    rows = bob.locator(".tabulator-row")
    shared = rows.filter(has_text="Crystals")
    expect(shared).to_have_count(1, timeout=180_000)
    expect(rows.filter(has_text="business")).to_have_count(0)
    assert "business" not in bob.content()
    expect(shared).to_contain_text("0 of 2")
    # Titles are other people's words: shown, never run.
    expect(shared).to_contain_text("<img src=x")
    assert bob.title() != "taken"
    screenshot(bob, "40-dashboard")

    # Live: a value that Alice enters is there without loading the page again.
    notebook(
        workbench.state / "homes/alice/enter.ipynb",
        "import genesis_workbench as gw, time\n"
        "run = gw.experiments.get(next(one['id'] for one in gw.experiments.search() if 'Crystals' in one['title']))\n"
        "while not run.pending():\n    time.sleep(0.2)\n"
        "run.enter(1, {'mass': 1.2})",
    )
    lab(workbench, page, "alice", "enter.ipynb")
    run_all(page)
    expect(shared).to_contain_text("1 of 2", timeout=120_000)

    # Filters, and the page of one experiment.
    bob.get_by_label("Words").fill("no such title")
    expect(rows).to_have_count(0, timeout=30_000)
    bob.get_by_label("Words").fill("crystals")
    expect(shared).to_have_count(1, timeout=30_000)
    shared.locator("a").click()
    expect(bob.get_by_text("It weighs a gram.")).to_be_visible(timeout=120_000)
    screenshot(bob, "41-dashboard-one")
    bob.get_by_role("link", name="All experiments").click()
    expect(shared).to_have_count(1, timeout=120_000)

    carol = signed_in("carol")
    carol.goto(url)
    carol.get_by_role("heading", name="This dashboard is not shared with you").wait_for(timeout=60_000)
    assert "Crystals" not in carol.content()
