"""Which hosts the service answers at: its own, those by which servers know it, and no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genesis_services.application import Front
from genesis_workbench.core.site import HubSection, Site


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("workbench--service.localhost:8000", True),
        ("10.20.0.1:8082", True),
        ("wb-hub:8082", True),
        ("wb-hub.attacker.example:8082", False),
        ("wb-hub", False),
        ("attacker.example:8082", False),
    ],
)
async def test_it_answers_servers_by_the_name_that_the_site_gives_it(host, answered):
    reached = []

    async def app(*_):
        reached.append(host)

    async def send(_):
        pass

    hub = HubSection(private_address="10.20.0.1", private_name="WB-hub")
    gate = SimpleNamespace(dashboard_at=lambda _: None)
    front = Front(app, gate, Site(name="test", hub=hub))
    scope = {"type": "http", "headers": [(b"host", host.encode())], "path": "/", "query_string": b""}
    await front(scope, None, send)
    assert bool(reached) is answered
