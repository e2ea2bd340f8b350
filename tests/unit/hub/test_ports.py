"""Ports of the hub's own processes stay what they were, and are those that the site names."""

from __future__ import annotations

from genesis_hub.ports import Ports
from genesis_hub.supervisor import _ports
from genesis_workbench.core.site import HubSection
from genesis_workbench.core.state import State


def test_free_ports_are_kept_and_named_ones_go_before_them(tmp_path):
    state = State(tmp_path)
    state.run.mkdir()
    free = _ports(state, HubSection())
    assert len({free.proxy_api, free.hub, free.service} - {0}) == 3
    assert _ports(state, HubSection()) == free
    named = _ports(state, HubSection(hub_port=8081, service_port=8082))
    assert named == Ports(free.proxy_api, 8081, 8082)
    assert Ports.read(state.run / "ports.json") == named  # where the hub itself reads them
