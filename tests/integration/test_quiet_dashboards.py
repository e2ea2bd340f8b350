"""A dashboard that nobody looks at ends, and comes back for the next who opens it."""

from __future__ import annotations

import pytest

from genesis_workbench.core.service import Service
from harness import Browser, Workbench
from integration.conftest import wait_for_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SITE = """
name = "quiet"
[servers]
dashboard_idle_s = 5
[catalog]
sources = []
"""
SOURCE = "import panel as pn\npn.pane.Str('steady').servable(title='Quiet')\n"


def test_it_ends_when_nobody_looks_and_starts_for_the_next(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)
    with Workbench(tmp_path / "state", tmp_path / "site.toml") as workbench:
        workbench.add("alice")
        wait_for_service(workbench)
        alice = Browser(workbench)
        alice.sign_in("alice", workbench.passwords["alice"])
        service = Service(workbench.service_url, alice.make_token("alice"))
        made = service.post("dashboards", {"title": "Quiet", "source": SOURCE}, key="quiet")
        assert "Quiet" in alice.patient_get(made["url"]).text

        def servers():
            return alice.hub("GET", "users/alice").json()["servers"]

        assert made["id"] in servers()
        workbench.until(lambda: made["id"] not in servers(), timeout_s=60)
        assert "Quiet" in alice.patient_get(made["url"]).text
        service.close()
        alice.close()
