"""People's servers as containers on two machines: confined, apart from each other, and through restarts and losses.

The tests are steps of one story and run in their order: a server takes ten seconds to start.
"""

from __future__ import annotations

import json
import socket

import pytest

from genesis_hub.spawners._engine import Engine
from system.containers.nodes import TALK, mounted
from system.containers.servers import (
    assert_confined,
    assert_nobody_notices_a_killed_hub,
    assert_nothing_is_left,
    ready,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_servers_are_spread_by_free_memory_and_confined(workbench, cluster, both):
    assert cluster.container("alice")[0] != cluster.container("bob")[0]
    assert_confined(cluster, "alice")


def test_home_group_folder_and_shared_data_are_there(workbench, cluster, both):
    cluster.inside("alice", "sh", "-c", "echo hers > ~/notes.txt; echo ours > /groups/solar/plan.txt")
    assert (workbench.state / "homes/alice/notes.txt").read_text() == "hers\n"
    assert "tutorials" in cluster.inside("alice", "ls", "/home/user")
    assert cluster.inside("bob", "cat", "/groups/solar/plan.txt") == "ours"  # on the other machine
    assert cluster.inside("bob", "cat", str(cluster.folder / "data/shared.csv")) == "a,b\n1,2"
    seen = cluster.inside(
        "bob", "sh", "-c", "find / -xdev -name notes.txt -not -path '/proc/*' 2>/dev/null || true"
    )
    assert seen == ""


def test_a_notebook_in_a_container_finds_the_service(workbench, cluster, both):
    # Only the server's own process has the token: a process that is merely run in the container is nobody.
    ask = (
        "import os; e = dict(p.split('=', 1) for p in open('/proc/1/environ').read().split('\\0') if '=' in p);"
        "os.environ.update(e);"
        "from genesis_workbench.core.service import service; print(service().get('me')['name'])"
    )
    assert cluster.inside("alice", "python", "-W", "ignore", "-c", ask) == "alice"


def test_servers_reach_neither_each_other_nor_what_listens_on_the_hubs_loopback(workbench, cluster, both):
    node, name = cluster.container("bob")
    about = json.loads(node.engine("inspect", name))[0]["NetworkSettings"]
    within = next(iter(about["Networks"].values()))["IPAddress"]
    published = int(about["Ports"]["8888/tcp"][0]["HostPort"])
    assert cluster.talks("alice", cluster.network.address(1), cluster.hub_port)
    assert cluster.talks("bob", within, 8888)
    assert not cluster.talks("alice", within, 8888)
    assert not cluster.talks("alice", node.address, published)
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        assert not cluster.talks("alice", "127.0.0.1", port)
        assert not cluster.talks("alice", cluster.network.address(1), port)
    # Nor is Bob's server open to anybody but Bob: its own sign-in stands behind the network.
    lab = f"{workbench.user_origin('bob')}/user/bob/lab"
    assert both["alice"].get(lab).status_code == 403
    assert both["bob"].get(lab).status_code == 200


async def test_two_people_on_one_machine_are_apart_too(cluster, both):
    node, name = cluster.container("alice")
    network, _, _ = name.rpartition(".")
    engine = Engine(str(node.socket))
    for each in ("neighbours", "passing"):
        await engine.network(each, {})  # as the hub makes one for each person
    await engine.close()
    mounts = [f"--volume={place}:{place}:ro" for place in mounted()]
    other = node.engine("run", "--detach", *mounts, "--network=neighbours", cluster.image, "sleep", "60")
    # Somebody's server ends, and with it their network: the others stay apart.
    node.engine("run", "--rm", *mounts, "--network=passing", cluster.image, "true")
    node.engine("network", "rm", "passing")
    try:
        about = json.loads(node.engine("inspect", name))[0]["NetworkSettings"]["Networks"][network]
        talk = ["exec", other, "python", "-c", TALK]
        assert node.engine(*talk, cluster.network.address(1), str(cluster.hub_port)) == "reached"
        published = node.engine("port", name, "8888").rpartition(":")
        for address, port in ((about["IPAddress"], "8888"), (node.address, published[2])):
            with pytest.raises(AssertionError, match=r"TimeoutError|timed out|refused"):
                node.engine(*talk, address, port)
    finally:
        node.engine("rm", "--force", "--time=0", other)
        node.engine("network", "rm", "neighbours")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("vast", "All machines are full: this server needs 1024 GiB of memory, and the most that is free"),
        ("tagged", "by the tag 'localhost/probe:1', not by its digest"),
        ("absent", "has no image sha256:0000"),
        ("tight", "wanted more than its 0.0 GiB of memory"),
    ],
)
def test_what_cannot_start_is_told_at_once(browser, cluster, profile, words):
    admin = browser("admin")
    answer = admin.hub("POST", "users/admin/server", json={"profile": profile})
    assert words in answer.json()["message"]
    with pytest.raises(LookupError):
        cluster.container("admin")


def test_a_hub_that_is_killed_finds_every_server_again(workbench, cluster, both):
    before = {name: cluster.container(name) for name in both}
    assert_nobody_notices_a_killed_hub(workbench, both["alice"])
    assert {name: cluster.container(name) for name in both} == before
    assert all(ready(person, name) for name, person in both.items())


def test_a_machine_that_dies_takes_only_its_own_servers_and_says_so(workbench, cluster, both):
    dead, _ = cluster.container("bob")
    alive, kept = cluster.container("alice")
    cluster.inside("bob", "sh", "-c", "echo his > ~/notes.txt")
    dead.die()
    try:
        workbench.until(lambda: not ready(both["bob"], "bob"), timeout_s=60)
        assert (
            f"The machine {dead.name} that ran your server has not answered"
            in both["bob"].get(f"{workbench.public_url}/hub/spawn").text
        )
        assert ready(both["alice"], "alice")
        assert cluster.container("alice") == (alive, kept)
        both["bob"].hub("POST", "users/bob/server", json={"profile": "standard"})
        workbench.until(lambda: ready(both["bob"], "bob"), timeout_s=90)
        assert cluster.container("bob")[0] == alive
        assert cluster.inside("bob", "cat", "/home/user/notes.txt") == "his"
    finally:
        dead.revive()


def test_a_server_that_is_stopped_leaves_nothing_but_the_home(workbench, cluster, both):
    assert_nothing_is_left(workbench, cluster, both["bob"], "bob")
    assert (workbench.state / "homes/bob/notes.txt").read_text() == "his\n"
