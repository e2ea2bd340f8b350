"""People's servers as containers on two machines: confined, apart from each other, and through restarts and losses.

The tests are steps of one story and run in their order: a server takes ten seconds to start.
"""

from __future__ import annotations

import json
import socket
import threading

import httpx
import pytest

from genesis_hub.spawners._engine import Engine
from system.containers.nodes import Cluster, Node, mounted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SITE = "two-machines--"
TALK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('reached')"


def ready(person, name):
    return person.hub("GET", f"users/{name}").json()["servers"].get("", {}).get("ready")


def container(cluster: Cluster, name: str) -> tuple[Node, str]:
    """Return where somebody's server runs, and its container."""
    for node in cluster.nodes:
        for line in node.podman("ps", "--format={{.Names}}").splitlines():
            if line.startswith(SITE) and line.endswith(f".{name}.lab"):
                return node, line
    raise LookupError(name)


def inside(cluster: Cluster, name: str, *command: str) -> str:
    """Run something in somebody's container, as they would in a terminal."""
    node, found = container(cluster, name)
    return node.podman("exec", found, *command)


def talks(cluster: Cluster, name: str, address: str, port: int) -> bool:
    """Tell whether somebody's server can open a connection."""
    try:
        return inside(cluster, name, "python", "-c", TALK, address, str(port)) == "reached"
    except AssertionError:
        return False


def _hub_port(cluster: Cluster) -> int:
    return int(json.loads((cluster.folder / "state/run/ports.json").read_text())["hub"])


@pytest.fixture
def both(workbench, cluster, browser):
    """Alice and Bob, each with a server that runs."""
    people = {name: browser(name) for name in ("alice", "bob")}
    for name, person in people.items():
        if not ready(person, name):
            person.hub("POST", f"users/{name}/server", json={"profile": "standard"})
    for name, person in people.items():
        workbench.until(lambda person=person, name=name: ready(person, name), timeout_s=90)
    return people


def test_servers_are_spread_by_free_memory_and_confined(workbench, cluster, both):
    assert container(cluster, "alice")[0] != container(cluster, "bob")[0]
    status = inside(cluster, "alice", "cat", "/proc/self/status")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split() == ["1000"] * 4
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    node, name = container(cluster, "alice")
    limits = json.loads(node.podman("inspect", name))[0]["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"]) == (2**30, 2**30)
    assert (limits["NanoCpus"], limits["PidsLimit"]) == (2 * 10**9, 1024)
    assert limits["ReadonlyRootfs"]
    assert not limits["Privileged"]
    for place in (
        "/x",
        "/etc/x",
        "/usr/x",
        str(cluster.folder / "data/x"),
        "/etc/genesis-workbench/site.toml",
    ):
        with pytest.raises(AssertionError, match=r"Read-only file system|Permission denied"):
            inside(cluster, "alice", "touch", place)


def test_home_group_folder_and_shared_data_are_there(workbench, cluster, both):
    inside(cluster, "alice", "sh", "-c", "echo hers > ~/notes.txt; echo ours > /groups/solar/plan.txt")
    assert (workbench.state / "homes/alice/notes.txt").read_text() == "hers\n"
    assert "tutorials" in inside(cluster, "alice", "ls", "/home/user")
    assert inside(cluster, "bob", "cat", "/groups/solar/plan.txt") == "ours"  # on the other machine
    assert inside(cluster, "bob", "cat", str(cluster.folder / "data/shared.csv")) == "a,b\n1,2"
    seen = inside(
        cluster, "bob", "sh", "-c", "find / -xdev -name notes.txt -not -path '/proc/*' 2>/dev/null || true"
    )
    assert seen == ""


def test_a_notebook_in_a_container_finds_the_service(workbench, cluster, both):
    # Only the server's own process has the token: a process that is merely run in the container is nobody.
    ask = (
        "import os; e = dict(p.split('=', 1) for p in open('/proc/1/environ').read().split('\\0') if '=' in p);"
        "os.environ.update(e);"
        "from genesis_workbench.core.service import service; print(service().get('me')['name'])"
    )
    assert inside(cluster, "alice", "python", "-W", "ignore", "-c", ask) == "alice"


def test_servers_reach_neither_each_other_nor_what_listens_on_the_hubs_loopback(workbench, cluster, both):
    node, name = container(cluster, "bob")
    about = json.loads(node.podman("inspect", name))[0]["NetworkSettings"]
    within = next(iter(about["Networks"].values()))["IPAddress"]
    published = int(about["Ports"]["8888/tcp"][0]["HostPort"])
    assert talks(cluster, "alice", cluster.network.address(1), _hub_port(cluster))
    assert talks(cluster, "bob", within, 8888)
    assert not talks(cluster, "alice", within, 8888)
    assert not talks(cluster, "alice", node.address, published)
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        assert not talks(cluster, "alice", "127.0.0.1", port)
        assert not talks(cluster, "alice", cluster.network.address(1), port)
    # Nor is Bob's server open to anybody but Bob: its own sign-in stands behind the network.
    lab = f"{workbench.user_origin('bob')}/user/bob/lab"
    assert both["alice"].get(lab).status_code == 403
    assert both["bob"].get(lab).status_code == 200


async def test_two_people_on_one_machine_are_apart_too(cluster, both):
    node, name = container(cluster, "alice")
    network, _, _ = name.rpartition(".")
    engine = Engine(str(node.socket))
    await engine.network("neighbours", {})  # as the hub makes one for each person
    await engine.close()
    mounts = [f"--volume={place}:{place}:ro" for place in mounted()]
    other = node.podman("run", "--detach", *mounts, "--network=neighbours", cluster.image, "sleep", "60")
    try:
        about = json.loads(node.podman("inspect", name))[0]["NetworkSettings"]["Networks"][network]
        talk = ["exec", other, "python", "-c", TALK]
        assert node.podman(*talk, cluster.network.address(1), str(_hub_port(cluster))) == "reached"
        with pytest.raises(AssertionError, match=r"TimeoutError|timed out|refused"):
            node.podman(*talk, about["IPAddress"], "8888")
    finally:
        node.podman("rm", "--force", "--time=0", other)
        node.podman("network", "rm", "neighbours")


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
        container(cluster, "admin")


def test_a_hub_that_is_killed_finds_every_server_again(workbench, cluster, both):
    before = {name: container(cluster, name) for name in both}
    status = f"{workbench.user_origin('alice')}/user/alice/api"
    answers, done = [], threading.Event()

    def ask():
        while not done.wait(0.05):
            answers.append(both["alice"].http.get(status).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    old = workbench.program("jupyterhub")
    old.kill()
    try:
        workbench.until(
            lambda: (
                workbench.program("jupyterhub").pid != old.pid
                and httpx.get(f"{workbench.public_url}/hub/login", trust_env=False).status_code == 200
            )
        )
    finally:
        done.set()
        thread.join()
    assert len(answers) > 20
    assert set(answers) == {200}
    assert {name: container(cluster, name) for name in both} == before
    assert all(ready(person, name) for name, person in both.items())


def test_a_machine_that_dies_takes_only_its_own_servers_and_says_so(workbench, cluster, both):
    dead, _ = container(cluster, "bob")
    alive, kept = container(cluster, "alice")
    inside(cluster, "bob", "sh", "-c", "echo his > ~/notes.txt")
    dead.die()
    try:
        workbench.until(lambda: not ready(both["bob"], "bob"), timeout_s=60)
        assert (
            f"The machine {dead.name} that ran your server has not answered"
            in both["bob"].get(f"{workbench.public_url}/hub/spawn").text
        )
        assert ready(both["alice"], "alice")
        assert container(cluster, "alice") == (alive, kept)
        both["bob"].hub("POST", "users/bob/server", json={"profile": "standard"})
        workbench.until(lambda: ready(both["bob"], "bob"), timeout_s=90)
        assert container(cluster, "bob")[0] == alive
        assert inside(cluster, "bob", "cat", "/home/user/notes.txt") == "his"
    finally:
        dead.revive()


def test_a_server_that_is_stopped_leaves_nothing_but_the_home(workbench, cluster, both):
    node, name = container(cluster, "bob")
    both["bob"].hub("DELETE", "users/bob/server")
    workbench.until(lambda: "" not in both["bob"].hub("GET", "users/bob").json()["servers"])
    assert name not in node.podman("ps", "--all", "--format={{.Names}}")
    assert name.rpartition(".")[0] not in node.podman("network", "ls", "--format={{.Name}}").split()
    assert (workbench.state / "homes/bob/notes.txt").read_text() == "his\n"
