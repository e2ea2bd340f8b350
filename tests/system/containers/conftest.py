"""A hub on two machines for containers, with people on it."""

from __future__ import annotations

import json
import os

import pytest

from harness import Browser, Workbench
from system.containers.nodes import Cluster, missing, mounted

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


def needed() -> None:
    """Skip where something is missing, or fail where it must be there."""
    if reason := missing():
        if os.environ.get("REQUIRE_PODMAN") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="package")
def cluster():
    """Two machines."""
    needed()
    with Cluster(2) as made:
        data = made.folder / "data"
        data.mkdir()
        (data / "shared.csv").write_text("a,b\n1,2\n")
        yield made


@pytest.fixture(scope="package")
def workbench(cluster):
    """A hub whose servers run on them."""
    site = cluster.folder / "site.toml"
    folders = json.dumps([*mounted(), str(cluster.folder / "data")])
    tables = PROFILES.format(absent="0" * 64, folders=folders)
    site.write_text(f'name = "two machines"\n{cluster.site()}{tables}')
    with Workbench(cluster.folder / "state", site) as running:
        for name in ("alice", "bob"):
            running.add(name, "solar")
        yield running


@pytest.fixture
def browser(workbench):
    """Return a function that signs somebody in."""
    opened = []

    def sign_in(name):
        made = Browser(workbench)
        opened.append(made)
        made.sign_in(name, workbench.passwords[name])
        return made

    yield sign_in
    for each in opened:
        each.close()
