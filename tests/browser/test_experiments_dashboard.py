"""The dashboard of a group's experiments: what everybody who can open it may see, with filters, live, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import panel as pn
import pytest
from playwright.sync_api import expect

import genesis_workbench as gw
from browser.lab import lab, notebook, outputs, run_all
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.dashboards.publishing import PARAMETERS_VARIABLE
from genesis_workbench.experiments import Budget, Categorical, Real, Run, loop, store
from harness import free_ports
from unit.experiments.bench import ALICE, Bench, specification

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

DASHBOARD = Path(__file__).parents[2] / "notebooks" / "dashboards" / "experiment.py"
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
    assert bob.title() == "Solar"
    expect(bob.locator("a.title")).to_have_text("Solar")
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


@pytest.fixture
def weighed(tmp_path, monkeypatch):
    """An experiment that goes on by a call, and the address of its page."""
    bench = Bench()
    bench.parameters["c"] = ""
    monkeypatch.setattr(store, "local_executors", lambda: {"bench": bench})
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    experiments = store.LedgerExperiments(ledger, ALICE)
    space = (Real("x", 0, 1), Real("z", 0, 1), Categorical("c", ["red", "green"]))
    title = "<script>document.title = 'taken'</script> and many words" + " more" * 24
    experiment = experiments.create(specification(title=title, space=space, budget=Budget(trials=90)))

    def go_on(steps):
        for _ in range(steps):
            loop.advance(ledger, experiment, None, {"bench": bench})

    go_on(40)
    monkeypatch.setattr(gw.experiments, "get", lambda _experiment: Run(experiment, experiments))
    monkeypatch.setenv(PARAMETERS_VARIABLE, json.dumps({"experiment": experiment}))
    (port,) = free_ports(1)
    server = pn.serve({"page": str(DASHBOARD)}, port=port, address="127.0.0.1", show=False, threaded=True)
    yield f"http://127.0.0.1:{port}/page", go_on, title
    server.stop()
    ledger.close()


# bokeh 3.9 on pandas 3.1: gone with bokeh's next release.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated")
def test_what_comes_meanwhile_does_not_throw_a_reader_back(weighed, chromium, screenshot):
    url, go_on, title = weighed
    page = chromium.new_page(viewport={"width": 1200, "height": 700})
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    rows, header = page.locator(".tabulator-row"), page.locator("a.title")
    expect(rows).to_have_count(10, timeout=60_000)
    # A title is shown, never run; a long one does not push the page out of the window.
    expect(header).to_have_text(title)
    assert page.title() == title
    assert page.evaluate("document.documentElement.scrollWidth") == 1200

    # Over a plot the wheel scrolls.
    page.locator(".bk-Figure").first.hover()
    page.mouse.wheel(0, 300)
    scrolled = "document.documentElement.scrollTop + document.querySelector('#main').scrollTop"
    page.wait_for_function(f"{scrolled} > 0")

    column = page.locator(".tabulator-col[tabulator-field='x']")
    column.click()
    expect(column).to_have_attribute("aria-sort", "ascending")
    page.locator(".tabulator-page[data-page='2']").click()
    place = page.evaluate(scrolled)
    told = page.get_by_text("trials observed")
    before = told.inner_text()
    go_on(5)
    expect(told).not_to_have_text(before)
    page.wait_for_timeout(1000)  # for what is drawn after the words
    expect(page.locator(".tabulator-page.active")).to_have_text("2")
    expect(column).to_have_attribute("aria-sort", "ascending")
    assert page.evaluate(scrolled) == place
    screenshot(page, "42-dashboard-live")
    assert wrong == []
    page.close()
