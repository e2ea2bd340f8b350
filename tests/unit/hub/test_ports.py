"""Ports of the hub's own processes stay what they were, and are those that the site names."""

from __future__ import annotations

import socket

import pytest

from genesis_hub.ports import Ports, free, kept, settle
from genesis_workbench.core.errors import Conflict
from genesis_workbench.core.site import HubSection, Site
from genesis_workbench.core.state import State


def test_free_ports_are_kept_and_named_ones_go_before_them(tmp_path):
    state = State(tmp_path)
    state.run.mkdir()
    found = kept(state, HubSection())
    assert len({found.proxy_api, found.hub, found.service} - {0}) == 3
    assert kept(state, HubSection()) == found
    named = kept(state, HubSection(hub_port=8081, service_port=8082))
    assert named == Ports(found.proxy_api, 8081, 8082)
    assert Ports.read(state.run / "ports.json") == named  # where the hub itself reads them


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"hub": 1}'])
def test_ports_that_cannot_be_read_are_forgotten(tmp_path, text):
    state = State(tmp_path)
    state.run.mkdir()
    (state.run / "ports.json").write_text(text)
    found = kept(state, HubSection())
    assert Ports.read(state.run / "ports.json") == found


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"servers": {"spawner": "slurm"}}, "servers that run know it"),
        ({"hub": {"hub_port": 1}}, "as the site file says"),
    ],
)
def test_a_port_that_others_know_is_not_changed_but_named(tmp_path, more, words):
    state = State(tmp_path)
    state.run.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if "hub" in more:
            more = {"hub": {"hub_port": port}}
        Ports(*free("127.0.0.1", 1), port, *free("127.0.0.1", 1)).write(state.run / "ports.json")
        with pytest.raises(Conflict, match=f"Port {port} on 127.0.0.1 is taken.*{words}"):
            settle(Site(name="x", **more), state)
