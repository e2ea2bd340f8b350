"""A server that is a process is known again by more than its number, which after a restart of the machine is another's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from genesis_hub.spawners.local import LocalSpawner


@pytest.fixture
def server():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def kept(process, homes="/state/homes"):
    spawner = LocalSpawner(homes=homes)
    spawner.pid = process.pid
    return spawner.get_state()


def taken_up(state, homes="/state/homes"):
    spawner = LocalSpawner(homes=homes)
    spawner.load_state(state)
    return spawner.pid


def test_a_server_that_runs_is_taken_up_again(server):
    assert taken_up(kept(server)) == server.pid


def test_another_process_with_its_number_is_left_alone(server):
    state = kept(server)
    machine, boot, number, began = state["process"]
    assert taken_up({**state, "process": [machine, boot, number, began + 1]}) == 0
    assert taken_up({**state, "process": [machine, "another boot", number, began]}) == 0
    assert taken_up({**state, "process": ["another machine", boot, number, began]}) == 0
    assert taken_up({"pid": server.pid}) == 0  # written before this was looked at
    server.kill()
    server.wait()
    assert taken_up(state) == 0


def test_a_server_of_another_state_folder_such_as_the_one_that_this_is_a_copy_of_is_left_alone(server):
    assert taken_up(kept(server), homes="/backup/homes") == 0
