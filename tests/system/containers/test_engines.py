"""The same with one machine whose engine is docker, and with podman that has no root: what can differ between engines.

The tests are steps of one story for each engine and run in their order.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess

import pytest

from genesis_hub.spawners._engine import Engine
from harness import BIN
from system.containers.conftest import needed
from system.containers.nodes import Cluster, DockerNode, RootlessNode
from system.containers.servers import (
    assert_confined,
    assert_nobody_notices_a_killed_hub,
    assert_nothing_is_left,
    hub,
    ready,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
KINDS = {"docker": (DockerNode, "REQUIRE_DOCKER"), "rootless": (RootlessNode, "REQUIRE_PODMAN")}


@pytest.fixture(scope="module", params=list(KINDS))
def cluster(request):
    """One machine."""
    kind, required = KINDS[request.param]
    needed(kind, required)
    with Cluster(1, kind=kind) as made:
        yield made


@pytest.fixture(scope="module")
def workbench(cluster):
    """A hub whose servers run on it."""
    with hub(cluster, "one machine") as running:
        yield running


@pytest.fixture
def node(cluster):
    """The machine."""
    return cluster.nodes[0]


@pytest.fixture
def limited(cluster, node):
    """Whether the engine can hold limits: without root not where cgroups are of version 1, or are not handed over."""
    return not asyncio.run(about(node)).unheld


async def about(node):
    engine = Engine(str(node.socket))
    try:
        return await engine.about()
    finally:
        await engine.close()


def command(cluster, node, *words):
    return subprocess.run(
        [*node.hub.get("enter", ()), str(BIN / "workbench"), *words, "--site", str(cluster.site_file)],
        env=node.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_server_is_confined_and_its_home_is_its_own(workbench, cluster, node, both, limited):
    assert_confined(cluster, "alice", limited=limited)
    cluster.inside("alice", "sh", "-c", "echo hers > ~/notes.txt; echo ours > /groups/solar/plan.txt")
    assert cluster.inside("bob", "cat", "/groups/solar/plan.txt") == "ours"
    home = workbench.state / "homes/alice"
    assert home.stat().st_uid == (home / "notes.txt").stat().st_uid == (node.user or 1000)
    assert home.stat().st_mode & 0o777 == 0o700
    lab = both["alice"].get(f"{workbench.user_origin('alice')}/user/alice/lab")
    assert lab.status_code == 200


def test_what_the_engine_does_not_hold_is_said(workbench, cluster, node, limited):
    log = (workbench.state / "logs/hub.log").read_text()
    told = command(cluster, node, "doctor", "--state", str(workbench.state), "--json")
    checks = [each for each in json.loads(told.stdout) if each["name"] == node.name]
    if limited:
        assert [each["state"] for each in checks] == ["note"]
        assert '"userland-proxy" is false' in checks[0]["advice"]
        assert told.returncode == 0
        assert "holds no limit" not in log
    else:
        # What podman without root says of its networks depends on what makes them: netavark, or CNI.
        assert [each["state"] for each in checks][:1] == ["fail"]
        assert all("stand between servers" in each["advice"] for each in checks[1:])
        assert "holds no limit on memory and processors and processes" in checks[0]["advice"]
        assert log.count("holds no limit on memory and processors and processes") == 1
        assert told.returncode == 1


def test_servers_reach_neither_each_other_nor_what_listens_on_the_hubs_loopback(
    workbench, cluster, node, both
):
    told = cluster.about("bob")["NetworkSettings"]
    within = next(iter(told["Networks"].values()))["IPAddress"]
    published = int(told["Ports"]["8888/tcp"][0]["HostPort"])
    assert cluster.talks("alice", cluster.network.address(1), cluster.hub_port)
    assert cluster.talks("bob", within, 8888)
    assert not cluster.talks("alice", within, 8888)
    for address in (node.address, cluster.network.address(1), "10.0.2.2", "host.containers.internal"):
        assert not cluster.talks("alice", address, published), address
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        for address in ("127.0.0.1", cluster.network.address(1), "10.0.2.2", "host.containers.internal"):
            assert not cluster.talks("alice", address, port), address
    lab = f"{workbench.user_origin('bob')}/user/bob/lab"
    assert both["alice"].get(lab).status_code == 403


async def test_a_network_that_is_asked_for_twice_at_once_is_one(node):
    engine = Engine(str(node.socket))
    try:
        await asyncio.gather(*(engine.network("twice", {}) for _ in range(6)))
        assert node.engine("network", "ls", "--format={{.Name}}").split().count("twice") == 1
        await engine.remove_network("twice")
        assert "twice" not in node.engine("network", "ls", "--format={{.Name}}").split()
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("absent", "has no image sha256:0000"),
        ("tight", "wanted more than its 0.0 GiB of memory"),
    ],
)
def test_what_cannot_start_is_told_at_once_and_leaves_nothing(
    browser, cluster, node, both, limited, profile, words
):
    if profile == "tight" and not limited:
        pytest.skip("podman without root holds limits with cgroup version 2 only, which this machine has not")
    admin = browser("admin")
    answer = admin.hub("POST", "users/admin/server", json={"profile": profile})
    assert words in answer.json()["message"]
    with pytest.raises(LookupError):
        cluster.container("admin")
    assert ".admin" not in node.engine("network", "ls")


def test_a_machine_without_addresses_left_says_so(browser, node, both):
    if not isinstance(node, DockerNode):
        pytest.skip("only docker has so few addresses that a test can use them up")
    node.engine("network", "create", "last")
    try:
        answer = browser("admin").hub("POST", "users/admin/server", json={"profile": "standard"})
        assert "no addresses left for another person's network" in answer.json()["message"]
    finally:
        node.engine("network", "rm", "last")


def test_images_are_listed_and_checked(cluster, node):
    told = json.loads(command(cluster, node, "images", "list", "--json").stdout)
    assert [each["image"] for each in told] == [cluster.image]
    checked = command(cluster, node, "images", "check").stdout.splitlines()
    assert [line for line in checked if cluster.image in line and "OK" in line]
    assert [line for line in checked if "0" * 64 in line and "it is not on this machine" in line]


def test_servers_outlive_the_hub_and_the_engine(workbench, cluster, node, both):
    before = {name: cluster.container(name) for name in both}
    assert_nobody_notices_a_killed_hub(workbench, both["alice"])
    node.stop()
    node.start()
    assert {name: cluster.container(name) for name in both} == before
    status = f"{workbench.user_origin('alice')}/user/alice/api"
    assert both["alice"].http.get(status).status_code == 200
    workbench.until(lambda: all(ready(person, name) for name, person in both.items()))
    assert {name: cluster.container(name) for name in both} == before


def test_a_server_that_dies_is_told_with_its_last_words(workbench, cluster, node, both, limited):
    cluster.inside("bob", "sh", "-c", "echo his > ~/notes.txt")
    node.engine("kill", cluster.container("bob")[1])
    workbench.until(lambda: not ready(both["bob"], "bob"), timeout_s=60)
    page = both["bob"].get(f"{workbench.public_url}/hub/spawn").text
    assert "It was ended from outside, most often because it" in page
    assert "Its last words: " in page
    assert ("more than its 1.0 GiB of memory" in page) == limited
    assert ready(both["alice"], "alice")


def test_a_server_that_is_stopped_leaves_nothing_but_the_home(workbench, cluster, both):
    assert cluster.inside("bob", "cat", "/home/user/notes.txt") == "his"  # of the one that died
    for name, person in both.items():
        assert_nothing_is_left(workbench, cluster, person, name)
    assert (workbench.state / "homes/alice/notes.txt").read_text() == "hers\n"
