"""A hub on two machines for containers, with people on it."""

from __future__ import annotations

import os

import pytest

from harness import Browser
from system.containers.nodes import Cluster, Node
from system.containers.servers import hub, start


def needed(kind: type[Node], required: str) -> None:
    """Skip where something is missing, or fail where it must be there."""
    if reason := kind.missing():
        if os.environ.get(required) == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="package")
def cluster():
    """Two machines."""
    needed(Node, "REQUIRE_PODMAN")
    with Cluster(2) as made:
        yield made


@pytest.fixture(scope="package")
def workbench(cluster):
    """A hub whose servers run on them."""
    with hub(cluster, "two machines") as running:
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


@pytest.fixture
def both(workbench, browser):
    """Alice and Bob, each with a server that runs."""
    people = {name: browser(name) for name in ("alice", "bob")}
    start(workbench, people)
    return people
