"""A hub whose people have containers, and what must be true of their servers with every engine."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import Browser, Workbench
from system.containers.nodes import Cluster, mounted

PROFILES = """
[[servers.profiles]]
name = "standard"
title = "Standard"
cpu_cores = 2
memory_bytes = 1073741824
[[servers.profiles]]
name = "vast"
title = "More than there is"
memory_bytes = 1099511627776
[[servers.profiles]]
name = "tight"
title = "Too little to start in"
memory_bytes = 20971520
[[servers.profiles]]
name = "tagged"
title = "Named by a tag"
image = "localhost/probe:1"
[[servers.profiles]]
name = "absent"
title = "An image that no machine has"
image = "sha256:{absent}"
[catalog]
sources = []
data_folders = {folders}
"""


@contextmanager
def hub(cluster: Cluster, name: str) -> Iterator[Workbench]:
    """Run one whose servers are on these machines, with Alice and Bob, who are of one group."""
    data = cluster.folder / "data"
    data.mkdir()
    (data / "shared.csv").write_text("a,b\n1,2\n")
    folders = json.dumps([*mounted(), str(data)])
    tables = PROFILES.format(absent="0" * 64, folders=folders)
    cluster.site_file.write_text(f'name = "{name}"\n{cluster.site()}{tables}')
    state = cluster.folder / "state"
    state.mkdir(mode=0o711)
    os.chown(state, cluster.nodes[0].user, cluster.nodes[0].user)
    with Workbench(state, cluster.site_file, **cluster.nodes[0].hub) as running:
        for person in ("alice", "bob"):
            running.add(person, "solar")
        yield running


def ready(person: Browser, name: str) -> Any:
    """Tell whether somebody's server runs."""
    return person.hub("GET", f"users/{name}").json()["servers"].get("", {}).get("ready")


def start(workbench: Workbench, people: dict[str, Browser]) -> None:
    """Start the servers of all who have none that runs, and wait for them."""
    for name, person in people.items():
        if not ready(person, name):
            answer = person.hub("POST", f"users/{name}/server", json={"profile": "standard"})
            assert answer.status_code in (201, 202), answer.text
    for name, person in people.items():
        workbench.until(lambda person=person, name=name: ready(person, name), timeout_s=150)


def assert_confined(cluster: Cluster, name: str, *, limited: bool = True) -> None:
    """Check what somebody's server may do."""
    status = cluster.inside(name, "cat", "/proc/self/status")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split() == ["1000"] * 4
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    about = cluster.about(name)["HostConfig"]
    assert about["ReadonlyRootfs"]
    assert not about["Privileged"]
    limits = [about[each] for each in ("Memory", "MemorySwap", "NanoCpus", "PidsLimit")]
    assert limits == ([2**30, 2**30, 2 * 10**9, 1024] if limited else [0] * 4)
    # Its numerical libraries would count the machine's cores.
    assert "OMP_NUM_THREADS=2" in cluster.about(name)["Config"]["Env"]
    for place in (
        "/x",
        "/etc/x",
        "/usr/x",
        str(cluster.folder / "data/x"),
        "/etc/genesis-workbench/site.toml",
    ):
        with pytest.raises(AssertionError, match=r"Read-only file system|Permission denied"):
            cluster.inside(name, "touch", place)


def assert_nobody_notices_a_killed_hub(workbench: Workbench, person: Browser) -> None:
    """Kill the hub and wait until it is back, while Alice asks her server without a pause."""
    status = f"{workbench.user_origin('alice')}/user/alice/api"
    answers, done = [], threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            answers.append(person.http.get(status).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        workbench.kill_hub()
    finally:
        done.set()
        thread.join()
    assert len(answers) > 20
    assert set(answers) == {200}


def assert_nothing_is_left(workbench: Workbench, cluster: Cluster, person: Browser, name: str) -> None:
    """Stop somebody's server, and look for its container and its network."""
    node, found = cluster.container(name)
    person.hub("DELETE", f"users/{name}/server")
    workbench.until(lambda: "" not in person.hub("GET", f"users/{name}").json()["servers"])
    assert found not in node.engine("ps", "--all", "--format={{.Names}}")
    assert found.rpartition(".")[0] not in node.engine("network", "ls", "--format={{.Name}}").split()


def published(cluster: Cluster, name: str) -> tuple[str, int]:
    """Return where somebody's server is reached from the hub's machine."""
    bound = cluster.about(name)["NetworkSettings"]["Ports"]["8888/tcp"][0]
    return cluster.container(name)[0].address, int(bound["HostPort"])


def own_port(cluster: Cluster, of: str) -> int:
    """Return the port of one of the hub's own processes."""
    return int(json.loads((cluster.folder / "state/run/ports.json").read_text())[of])
