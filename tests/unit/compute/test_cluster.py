"""A cluster on this machine computes, and listens on loopback only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import dask.array as da
import psutil
import pytest

from genesis_workbench import compute
from genesis_workbench.compute.clusters._keeper import differences
from genesis_workbench.core import processes
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable


def _slow_square():
    def square(number):
        time.sleep(0.1)
        return number**2

    return square  # a function of a function travels by value: workers cannot import the tests


slow_square = _slow_square()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))


def test_a_cluster_computes_and_listens_on_loopback_only():
    before = set(psutil.Process().children(recursive=True))
    with compute.cluster(workers=2, memory_per_worker_bytes=512 * 2**20, walltime="2h") as cluster:
        assert float(da.ones(1000, chunks=100).sum().compute()) == 1000
        cluster.wait(timeout_s=60)
        assert "2 of 2 workers" in repr(cluster)
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=10)
    assert {p.name() for p in set(psutil.Process().children(recursive=True)) - before} <= {
        "python",
        "python3",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "at least one worker"),
        ({"workers": 2, "memory_per_worker_bytes": 2**50}, "do not fit"),
        ({"wallclock": "2h"}, "no option 'wallclock'"),
        ({"walltime": "soon"}, "'soon' is no walltime"),
        ({"queue": "debug"}, "have no queue"),
        ({"workers": (3, 1)}, "is no number of workers"),
        ({"attach": "nobody"}, "You have no cluster 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(options, words):
    with pytest.raises((InvalidInput, NotFound), match=words):
        compute.cluster(**options)


def test_a_worker_that_is_killed_comes_back_and_the_result_is_right():
    with compute.cluster(workers=2, memory_per_worker_bytes=512 * 2**20) as cluster:
        cluster.wait(timeout_s=60)
        numbers = cluster.client.map(slow_square, range(40))
        psutil.Process(next(iter(cluster.client.run(os.getpid).values()))).kill()
        assert cluster.client.gather(numbers) == [number**2 for number in range(40)]
        cluster.wait(2, timeout_s=60)


def test_a_cluster_is_scaled_and_follows_the_work():
    with compute.cluster(workers=(0, 2), memory_per_worker_bytes=512 * 2**20) as cluster:
        assert cluster.status()["workers"] == ()
        assert cluster.client.submit(slow_square, 6).result(timeout=60) == 36
        cluster.scale(1)
        cluster.wait(1, timeout_s=60)
        with pytest.raises(InvalidInput, match="more than the 1000"):
            cluster.scale(2000)


def test_another_process_attaches_and_a_dead_cluster_is_told():
    with compute.cluster(workers=1, memory_per_worker_bytes=512 * 2**20, name="mine") as cluster:
        code = (
            "from genesis_workbench import compute\n"
            "with compute.cluster(attach='mine') as c: print(c.client.submit(sum, [1, 2]).result(timeout=30))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.strip() == "3", done.stderr
        with pytest.raises(Conflict, match="You have a cluster 'mine' already"):
            compute.cluster(name="mine")
    with pytest.raises(Conflict, match="is closed"):
        cluster.status()


def test_after_the_last_cluster_dask_computes_here_again(tmp_path):
    first = compute.cluster(workers=1, memory_per_worker_bytes=512 * 2**20)
    second = compute.cluster(workers=1, memory_per_worker_bytes=512 * 2**20)
    first.close()
    assert int(da.ones(7, chunks=2).sum().compute()) == 7  # on the second
    second.close()
    assert int(da.ones(7, chunks=2).sum().compute()) == 7
    gone = tmp_path / "clusters/gone"
    gone.mkdir()
    about = {"address": "tcp://127.0.0.1:9", "process": processes.identity(os.getpid())}
    (gone / "cluster.json").write_text(json.dumps(about))
    with pytest.raises(Unavailable, match="does not answer"):
        compute.cluster(attach="gone")
    assert int(da.ones(7, chunks=2).sum().compute()) == 7


def test_whether_a_cluster_lives_is_not_told_by_the_number_of_a_process(tmp_path):
    """After a restart of a container another process has that number; of another machine none can be looked at."""
    machine, boot, number, began = processes.identity(os.getpid())
    folder = tmp_path / "clusters/mine"
    folder.mkdir(parents=True)

    def kept(process, address):
        (folder / "cluster.json").write_text(json.dumps({"address": address, "process": process}))
        return "mine" in compute.cluster_names()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        assert kept([machine, boot, number, began], here)
        assert not kept([machine, boot, number, began + 1], here)
        assert kept(["another", "machine", number, began], here)
        assert kept([machine, boot, number, began], "")  # it is being made
        with pytest.raises(Conflict, match="You have a cluster 'mine' already"):
            compute.cluster(name="mine", memory_per_worker_bytes=512 * 2**20)
        with pytest.raises(Unavailable, match="is being made"):
            compute.cluster(attach="mine")
    assert not kept(["another", "machine", number, began], here)


def test_cluster_is_the_function_whatever_was_asked_for_first():
    code = "import genesis_workbench.compute.dask_cluster; from genesis_workbench import compute; print(callable(compute.cluster))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "True", done.stderr


def test_versions_that_differ_are_named():
    ours = {"host": {"python": "3.11.7.final.0"}, "packages": {"dask": "2026.8.0", "msgpack": "1.1"}}
    theirs = {"host": {"python": "3.12.1.final.0"}, "packages": {"dask": "2026.8.0"}}
    assert differences(ours, ours) == ""
    assert differences(ours, theirs) == (
        "python 3.12 (the notebook has 3.11) and msgpack missing (the notebook has 1.1)"
    )
