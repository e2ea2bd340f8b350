"""JupyterLab as a person uses it."""

from __future__ import annotations

import json
import time


def notebook(path, *cells):
    """Write a notebook of code cells."""
    made = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": code}
        for n, code in enumerate(cells)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


def lab(workbench, page, name, path):
    """Open a file in a Lab workspace of its own, so that no old tab comes back."""
    workspace = f"test-{time.monotonic_ns()}"
    page.goto(f"{workbench.user_origin(name)}/user/{name}/lab/workspaces/{workspace}/tree/{path}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)


def run_all(page):
    """Run every cell by Lab's menu, as a person does."""
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def outputs(page, mime):
    return page.locator(f".jp-OutputArea-output[data-mime-type='{mime}']")


def cell(page, text):
    """Return the cell whose source holds `text`, scrolled into view so that Lab renders it."""
    found = page.locator(".jp-CodeCell", has_text=text).first
    found.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    return found
