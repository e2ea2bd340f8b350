"""One workbench for all integration tests, with four people and no source that is harvested by itself."""

from __future__ import annotations

import httpx
import pytest

from genesis_workbench.core.service import Service
from harness import Browser, Workbench

SITE = """
name = "integration"

[[catalog.sources]]
name = "switched-off"
kind = "dcat"
title = "A source that is switched off"
agency = "Agency of Silence"
url = "https://data.agency.invalid/data.json"
enabled = false

[[catalog.sources]]
name = "on-request"
kind = "dcat"
title = "A source without an address: nobody harvests it by itself"
agency = "Agency of Silence"
"""


@pytest.fixture(scope="session")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    site = folder / "site.toml"
    site.write_text(SITE)
    with Workbench(folder / "state", site) as running:
        for name, groups in {"alice": ["solar"], "bob": ["solar"], "carol": []}.items():
            running.add(name, *groups)
        wait_for_service(running)
        yield running


def wait_for_service(running):
    running.until(lambda: httpx.get(running.service_url + "/health", trust_env=False).status_code == 200)


@pytest.fixture
def browser(workbench):
    """Return a function that signs somebody in, without a real browser but with its cookies."""
    opened = []

    def sign_in(name):
        made = Browser(workbench)
        opened.append(made)
        made.sign_in(name, workbench.passwords[name])
        return made

    yield sign_in
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def tokens(workbench):
    """Tokens with all that each person may do."""
    made = {}
    for name in ("alice", "bob", "carol", "admin"):
        browser = Browser(workbench)
        browser.sign_in(name, workbench.passwords[name])
        made[name] = browser.make_token(name)
        browser.close()
    return made


@pytest.fixture
def client(workbench, tokens):
    """Return a function that gives somebody's client of the API."""
    opened = []

    def make(name):
        made = Service(workbench.service_url, tokens[name])
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()
