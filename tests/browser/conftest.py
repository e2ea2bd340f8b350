"""A running workbench with four people, and a browser for each of them."""

from __future__ import annotations

import re

import pytest

from harness import Workbench

PEOPLE = {"alice": ["solar"], "bob": ["solar"], "carol": [], "dora": ["solar", "stewards"]}
SITE = """
name = "browser-test"

[servers]
start_timeout_s = 110

[[catalog.sources]]
name = "nowhere"
kind = "dcat"
title = "An agency that does not answer"
agency = "Agency of Silence"
url = "https://data.agency.invalid/data.json"
deadline_s = 5
"""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    site = folder / "site.toml"
    site.write_text(SITE)
    with Workbench(folder / "state", site) as running:
        for name, groups in PEOPLE.items():
            running.add(name, *groups)
        yield running


@pytest.fixture
def signed_in(chromium, workbench):
    """Return a function that signs somebody in with a browser profile of their own and gives a page."""
    contexts = []

    def sign_in(name):
        # A certificate of a test's own authority is none that Chromium knows.
        context = chromium.new_context(viewport={"width": 1400, "height": 1000}, ignore_https_errors=True)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{workbench.public_url}/hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", workbench.passwords[name])
        page.click("#login_submit")
        # The hub starts the person's Lab, and goes there.
        page.wait_for_url(re.compile(rf"{name}--user\.{re.escape(workbench.domain)}"), timeout=120_000)
        return page

    yield sign_in
    for context in contexts:
        context.close()
