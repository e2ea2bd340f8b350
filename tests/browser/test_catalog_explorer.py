"""The catalog explorer in JupyterLab: words, facets, map, time, a look into the data, and the line that opens them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_from_a_word_to_the_line_that_opens_the_data(workbench, signed_in, screenshot):
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    notebook(home / "explore.ipynb", "import genesis_workbench as gw\ngw.explore()")
    lab(workbench, page, "alice", "explore.ipynb")
    run_all(page)
    explorer = page.locator(".genesis-catalog")
    hits = explorer.locator(".hit")
    expect(hits.first).to_be_visible(timeout=120_000)
    everything = hits.count()
    assert everything >= 4
    screenshot(page, "20-catalog-explorer")

    # As one types, and where nothing has the word, near spellings are shown and said.
    words = explorer.get_by_label("Search every source")
    words.fill("turbidty")
    expect(explorer).to_contain_text("near spellings")
    words.fill("turbidity")
    expect(hits.first).to_contain_text("Worldwide Linke turbidity")
    expect(hits.first.locator("mark").first).to_have_text("turbidity", ignore_case=True)
    words.fill('title:"')
    expect(explorer.locator(".fault")).to_be_visible()
    words.fill("")
    expect(hits).to_have_count(everything)

    # Facets count, narrow, and let go again.
    facet = explorer.locator(".facet", has_text="csv")
    count = int(facet.locator(".count").inner_text())
    facet.click()
    expect(hits).to_have_count(count)
    expect(facet).to_have_attribute("aria-pressed", "true")
    facet.click()
    expect(hits).to_have_count(everything)

    # A box on the map, by mouse and by keyboard.
    canvas = explorer.locator("canvas.map")
    edge = canvas.bounding_box()
    page.mouse.move(edge["x"] + 20, edge["y"] + 30)
    page.mouse.down()
    page.mouse.move(edge["x"] + 60, edge["y"] + 55)
    page.mouse.up()
    expect(explorer.get_by_label("west, degrees")).not_to_have_value("")
    boxed = hits.count()
    screenshot(page, "21-catalog-box")
    explorer.get_by_role("button", name="Anywhere").click()
    expect(hits).to_have_count(everything)
    assert boxed <= everything

    # The time that the data cover.
    explorer.get_by_label("data from, a date").fill("1700")
    explorer.get_by_label("data to, a date").fill("1800")
    explorer.get_by_label("data to, a date").press("Tab")
    expect(hits.first).to_contain_text("unspots")
    explorer.get_by_role("button", name="Any time").click()
    expect(hits).to_have_count(everything)

    # A bar leaves what it counts.
    bar = explorer.locator(".years [data-year]").first
    changed = int(bar.locator("title").text_content().split()[0])
    bar.click()
    expect(hits).to_have_count(changed)
    explorer.get_by_role("button", name="Any year").click()
    expect(hits).to_have_count(everything)

    # In a narrow notebook the hits are below what narrows them, as wide as the page.
    page.set_viewport_size({"width": 800, "height": 1000})
    page.wait_for_function("document.querySelector('.genesis-catalog').clientWidth < 640")
    whole, hit = explorer.bounding_box(), hits.first.bounding_box()
    assert hit["width"] > 0.8 * whole["width"]
    screenshot(page, "24-catalog-narrow")
    page.set_viewport_size({"width": 1400, "height": 1000})

    # A look into an array and into a table.
    words.fill("turbidity")
    explorer.locator(".hit", has_text="Worldwide Linke").get_by_role("button", name="Look").click()
    expect(explorer.locator(".looked canvas")).to_be_visible(timeout=60_000)
    expect(explorer.locator(".looked")).to_contain_text("latitude by longitude")
    explorer.locator(".looked").scroll_into_view_if_needed()
    screenshot(page, "22-catalog-look")
    explorer.get_by_role("button", name="Insert code").first.click()
    expect(explorer).to_contain_text("The line is in the cell below.")
    cells = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map((cell) => cell.source)"
    assert page.evaluate(cells)[1] == 'data = gw.open("linke-turbidity")\ndata'
    words.fill("sunspots")
    explorer.locator(".hit", has_text="Sunspot").get_by_role("button", name="Look").click()
    expect(explorer.locator(".looked table")).to_contain_text("1700", timeout=60_000)

    # Source health, with the reason of the one that does not answer.
    explorer.get_by_text("sources fresh").click()
    expect(explorer.locator("details table")).to_contain_text("An agency that does not answer")
    expect(explorer.locator("details table")).to_contain_text("unreachable since", timeout=60_000)
    explorer.locator("details").scroll_into_view_if_needed()
    screenshot(page, "23-catalog-sources")
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []


def test_a_widget_whose_code_comes_late_still_hears_its_kernel(workbench, signed_in):
    """On a busy machine a page takes seconds to load a widget's code; what the kernel says meanwhile must not be lost."""
    page = signed_in("alice")
    code = """
import anywidget, traitlets
class Late(anywidget.AnyWidget):
    _esm = '''
await new Promise((go) => setTimeout(go, 4000));
const render = ({ model, el }) => {
  el.className = "late";
  const show = () => { el.textContent = `heard ${model.get("heard")}`; };
  model.on("change:heard", show);
  show();
  model.send("shown");
};
export default { render };
'''
    heard = traitlets.Int().tag(sync=True)
late = Late()
late.on_msg(lambda *_: setattr(late, "heard", late.heard + 1))
late.heard = 1
late
"""
    notebook(workbench.state / "homes/alice/late.ipynb", code)
    lab(workbench, page, "alice", "late.ipynb")
    run_all(page)
    expect(page.locator(".late")).to_have_text("heard 2", timeout=60_000)


AWAY_ONCE = """
import genesis_workbench as gw
from genesis_workbench import catalog
from genesis_workbench.core.errors import Unavailable
search = catalog.search
def away(**asked):
    catalog.search = search
    raise Unavailable("The workbench service does not answer.")
catalog.search = away
gw.explore()
"""


def test_a_first_search_that_fails_is_told_and_can_be_tried_again(workbench, signed_in, screenshot):
    page = signed_in("alice")
    unreadable = "import genesis_workbench as gw\ngw.explore('title:\"')"
    notebook(workbench.state / "homes/alice/wrong.ipynb", unreadable, AWAY_ONCE)
    lab(workbench, page, "alice", "wrong.ipynb")
    run_all(page)
    wrong, away = (page.locator(".genesis-catalog").nth(place) for place in (0, 1))
    again = away.get_by_role("button", name="Try again")
    expect(again).to_be_visible(timeout=120_000)
    expect(away.locator(".fault")).to_contain_text("does not answer")
    expect(wrong.locator(".fault")).to_contain_text("a quote is not closed")
    expect(wrong.get_by_role("button", name="Try again")).to_have_count(0)
    screenshot(page, "24-catalog-first-search-failed")
    again.click()
    expect(away.locator(".hit").first).to_be_visible()
    wrong.get_by_label("Search every source").fill("sunspots")
    expect(wrong.locator(".hit").first).to_contain_text("Sunspot")
    for explorer in (wrong, away):
        expect(explorer.locator(".fault")).to_have_count(0)
