"""What counts as work in a person's server: real kernels, terminals and jobs; never a tab that is merely open."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from genesis_workbench.core import busy
from genesis_workbench.server.activity import Activity

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/alice/")


class NoKernels:
    last_kernel_activity = LONG_AGO

    def list_kernel_ids(self):
        return []


@pytest.fixture
def activity():
    made = Activity({"kernel_manager": NoKernels()})
    made._touched = LONG_AGO
    return made


def until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("method", "path", "kind", "counts"),
    [
        ("GET", "/user/alice/api/kernels", "", False),
        ("GET", "/user/alice/api/contents/", "", False),
        ("GET", "/user/alice/api/contents/", "directory", False),
        ("GET", "/user/alice/api/contents/a.ipynb", "notebook", True),
        ("PUT", "/user/alice/api/contents/upload.bin", "", True),
        ("POST", "/user/alice/api/sessions", "", True),
        ("DELETE", "/user/alice/api/terminals/1", "", True),
    ],
)
def test_a_tab_that_asks_is_no_work_and_a_person_who_acts_is(activity, method, path, kind, counts):
    activity.request(method, path, kind)
    assert (activity.last() > LONG_AGO) == counts


async def test_a_cell_that_runs_keeps_the_server_and_an_idle_kernel_does_not():
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

    manager = AsyncMappingKernelManager()
    activity = Activity({"kernel_manager": manager})
    identifier = await manager.start_kernel()
    try:
        client = manager.get_kernel(identifier).client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        await asyncio.to_thread(until, lambda: not activity.busy())
        client.execute("import time; time.sleep(600)")
        await asyncio.to_thread(until, lambda: activity.busy() == ["a running cell"])
        assert (datetime.now(UTC) - activity.last()).total_seconds() < 60
        client.stop_channels()
    finally:
        await manager.shutdown_kernel(identifier, now=True)


def test_a_program_in_a_terminal_keeps_the_server_and_a_shell_that_waits_does_not(activity):
    shell = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE)
    terminal = SimpleNamespace(ptyproc=SimpleNamespace(pid=shell.pid))
    activity._settings["terminal_manager"] = SimpleNamespace(terminals={"1": terminal})
    try:
        assert activity.busy() == []
        shell.stdin.write(b"sleep 600 &\n")
        shell.stdin.flush()
        until(lambda: activity.busy() == ["a program in a terminal"])
        shell.stdin.write(b"kill $!\n")
        shell.stdin.flush()
        until(lambda: activity.busy() == [])
    finally:
        shell.communicate(b"exit\n", timeout=10)
    assert activity.busy() == []


def test_a_job_of_this_server_keeps_it_and_a_job_of_another_does_not(activity):
    words = [
        sys.executable,
        "-c",
        "import time; time.sleep(600)",
        "genesis_workbench.compute.schedulers.wrapper",
    ]
    for prefix, told in (("/user/bob/", []), ("/user/alice/", ["a job on this machine"])):
        job = subprocess.Popen(words, env={**os.environ, "JUPYTERHUB_SERVICE_PREFIX": prefix})
        try:
            until(lambda told=told: activity.busy() == told)
        finally:
            job.kill()
            job.wait()


def test_what_works_in_the_background_says_so_until_it_is_killed(activity, monkeypatch):
    busy.say("a Dask computation")
    assert activity.busy() == ["a Dask computation"]
    monkeypatch.setattr(busy, "_FRESH_S", -1)
    assert activity.busy() == []
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX")
    busy.say("nothing outside a server")
    assert busy.heard() == []


def test_a_dask_computation_says_so(activity):
    import genesis_workbench as gw

    with gw.cluster(workers=1, memory_per_worker_bytes=400 * 2**20) as cluster:
        future = cluster.client.submit(time.sleep, 600)
        until(lambda: activity.busy() == ["a Dask computation"])
        future.cancel()
