"""The compute panel in JupyterLab: a person watches, scales and stops a cluster, and nobody else reaches it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.lab import lab, notebook, outputs, run_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CLUSTER = """\
import genesis_workbench as gw
cluster = gw.cluster(workers=2, memory_per_worker_bytes=400 * 2**20)
gw.compute_panel(cluster)
"""
WORK = """\
import time

def slow(number):
    time.sleep(0.3)
    return number

futures = cluster.client.map(slow, range(60))
"""


def test_a_cluster_is_watched_scaled_and_stopped(workbench, signed_in, screenshot):
    page = signed_in("alice")
    home = workbench.state / "homes/alice"
    notebook(home / "cluster.ipynb", CLUSTER, WORK)
    lab(workbench, page, "alice", "cluster.ipynb")
    run_all(page)
    panel = page.locator(".genesis-compute")
    expect(panel.locator(".strength-now")).to_have_text("2 of 2 workers", timeout=120_000)
    expect(panel.locator(".tasks")).to_contain_text("of 60 tasks done", timeout=60_000)
    rows = panel.locator("tbody tr, table tr")
    expect(rows).to_have_count(3)
    assert "400 MiB" in rows.nth(1).inner_text()
    screenshot(page, "10-compute-panel")

    link = panel.get_by_role("link", name="Dask's dashboard")
    with page.context.expect_page() as opened:
        link.click()
    dashboard = opened.value
    expect(dashboard.get_by_role("link", name="Workers", exact=True)).to_be_visible(timeout=60_000)
    dashboard.locator("canvas").first.wait_for(timeout=60_000)
    assert "/user/alice/proxy/" in dashboard.url
    dashboard.wait_for_timeout(1500)
    screenshot(dashboard, "11-dask-dashboard")

    # What cannot be is refused in the panel, in words; what can be is done.
    panel.get_by_label("to", exact=True).fill("100000")
    panel.get_by_role("button", name="Set").click()
    expect(panel.locator(".fault")).to_contain_text("more than")
    panel.get_by_label("Workers from").fill("1")
    panel.get_by_label("to", exact=True).fill("1")
    panel.get_by_role("button", name="Set").click()
    expect(panel.locator(".strength-now")).to_have_text("1 of 1 workers", timeout=60_000)
    expect(panel.locator(".tasks")).to_contain_text("60 of 60 tasks done", timeout=120_000)

    panel.get_by_role("button", name="Stop all workers").click()
    panel.get_by_role("button", name="Stop all workers: yes").click()
    expect(panel.locator(".strength-now")).to_have_text("0 of 0 workers", timeout=60_000)
    expect(panel).to_contain_text("It keeps results on disk until a worker is back.")
    screenshot(page, "12-compute-panel-stopped")
    assert outputs(page, "application/vnd.jupyter.error").all_inner_texts() == []

    bob = signed_in("bob")
    answer = bob.goto(dashboard.url)
    assert answer.status in (403, 404)
    assert "Data Transfer" not in bob.content()
