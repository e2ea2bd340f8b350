"""The model zoo in JupyterLab: words, card, versions side by side, lineage, a try, and the line that loads."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all
from genesis_workbench.core.access import Person
from genesis_workbench.core.service import Service
from genesis_workbench.models.record import DatasetVersion, Metric, ModelCard, SelfTest
from genesis_workbench.models.remote import RemoteZoo
from genesis_workbench.models.signature import Signature, TensorSpec
from harness import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
ME = Person("")


@pytest.fixture
def zoo_of(workbench):
    """Return a function that gives somebody's zoo behind the service."""
    opened = []
    health = workbench.service_url + "/health"
    workbench.until(lambda: httpx.get(health, trust_env=False).status_code == httpx.codes.OK)

    def make(name):
        session = Browser(workbench)
        session.sign_in(name, workbench.passwords[name])
        opened.extend([session, Service(workbench.service_url, session.make_token(name))])
        return RemoteZoo(opened[-1])

    yield make
    for each in opened:
        each.close()


def registered(zoo, error, **lineage):
    """Put a version of a formula into the zoo."""
    signature = Signature(
        inputs=(TensorSpec(name="side", dtype="float64", unit="m", low=0, high=9),),
        outputs=(TensorSpec(name="area", dtype="float64", unit="m**2"),),
    )
    card = ModelCard(
        title="Area of a square <b>plot</b>",
        what_for="Fields that are square.",
        trained_on="Euclid.",
        datasets=(DatasetVersion(identifier="linke-turbidity", version="2002"),),
        metrics=(Metric(name="RMSE", value=error, unit="m**2", data="100 plots of 2025"),),
        limits="No round fields.",
        licence="CC0-1.0",
    )
    formula = b'{"formulas": {"area": "side * side"}}'
    test = SelfTest(inputs={"side": [2.0, 3.0]}, outputs={"area": [4.0, 9.0]})
    return zoo.register("square", "formula", formula, signature, card, test, lineage=lineage)


def test_from_a_word_to_the_line_that_loads_a_model(workbench, signed_in, screenshot, zoo_of):
    admin, dora = zoo_of("admin"), zoo_of("dora")
    registered(admin, 0.5, code="plots.py", code_digest="sha256:" + "a" * 64, job="job_7")
    second = registered(
        admin, 0.25, parent="square@1", recipe={"name": "finer", "code": "sha256:" + "b" * 64}
    )
    admin.move_alias("square", "champion", 2, ME, reason="half the error")
    admin.set_stage("square@2", "candidate", ME)
    dora.set_stage("square@2", "approved", ME, digest=second.digest)
    admin.deprecate("square@1", "coarse", ME, successor="square@champion")

    page = signed_in("alice")
    notebook(workbench.state / "homes/alice/zoo.ipynb", "import genesis_workbench as gw\ngw.ModelZoo()")
    lab(workbench, page, "alice", "zoo.ipynb")
    run_all(page)
    zoo = page.locator(".genesis-zoo")
    entries = zoo.locator(".entry")
    expect(entries).to_have_count(2, timeout=120_000)
    words = zoo.get_by_label("Search the zoo")
    words.fill("no such thing")
    expect(zoo).to_contain_text("No model has all of these words.")
    words.fill("square")
    expect(entries).to_have_count(1)
    expect(entries.first).to_contain_text("Area of a square <b>plot</b>")
    expect(entries.first).to_contain_text("@champion")
    expect(entries.first).to_contain_text("RMSE 0.25 m**2 on 100 plots of 2025")

    entries.first.click()
    panel = zoo.get_by_role("tabpanel")
    expect(panel).to_contain_text("No round fields.", timeout=60_000)
    expect(panel).to_contain_text("linke-turbidity · version 2002")
    expect(zoo.locator(".detail .badge.approved")).to_have_attribute("title", "approved by dora")
    screenshot(page, "30-zoo-card")

    zoo.get_by_role("tab", name="Versions").click()
    expect(panel.locator("thead")).to_contain_text("deprecated")
    row = panel.locator("tr", has_text="RMSE, on 100 plots of 2025")
    expect(row).to_have_class("differs")
    assert row.locator("td").all_inner_texts() == ["0.25 m**2", "0.5 m**2"]
    expect(panel.locator("tr", has_text="Licence")).not_to_have_class("differs")
    screenshot(page, "31-zoo-versions")

    page.keyboard.press("ArrowRight")
    drawing = panel.locator("svg")
    for word in (
        "square@1",
        "square@2",
        "linke-turbidity",
        "plots.py",
        "job_7",
        "finer",
        "parent",
        "trained on",
    ):
        expect(drawing).to_contain_text(word)
    screenshot(page, "32-zoo-lineage")

    zoo.get_by_role("tab", name="Try it").click()
    zoo.get_by_role("button", name="Run the example").click()
    expect(panel).to_contain_text("area is off by at most 0;", timeout=120_000)
    assert panel.locator("tr").nth(2).locator("td").all_inner_texts() == ["3", "9", "9"]
    screenshot(page, "33-zoo-try")

    zoo.get_by_role("tab", name="History").click()
    expect(panel).to_contain_text("@champion points to version 2")
    expect(panel).to_contain_text("half the error")

    zoo.get_by_role("button", name="Insert code").click()
    expect(zoo).to_contain_text("The line is in the cell below.")
    cells = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map((cell) => cell.source)"
    assert page.evaluate(cells)[1] == 'model = gw.model("square@2")\nmodel(side=2)'
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    zoo.get_by_role("tab", name="Lineage").click()
    page.wait_for_timeout(1500)
    screenshot(page, "34-zoo-dark")

    # In a narrow notebook the card is below the list, as wide as the page, and no tab is outside.
    page.set_viewport_size({"width": 800, "height": 1000})
    page.wait_for_function("document.querySelector('.genesis-zoo').clientWidth < 640")
    whole, card = zoo.bounding_box(), zoo.locator(".detail").bounding_box()
    assert card["width"] > 0.8 * whole["width"]
    last = zoo.get_by_role("tab").last.bounding_box()
    assert last["x"] + last["width"] < whole["x"] + whole["width"]
    screenshot(page, "35-zoo-narrow")
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []
