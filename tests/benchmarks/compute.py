"""Dask clusters on a real Slurm and on this machine, ours against plain dask-jobqueue and plain LocalCluster.

Starts a Slurm of four nodes on loopback (as root; Debian's slurmctld, slurmd, munge). Ours speaks TLS and keeps the
cluster at strength; the peers do neither. Each pair runs in turns, and the median counts. Prints one JSON line for each of

- ``compute/first-result``: seconds from nothing to the first result on Slurm; goal 0.909 (at most 1.1 times the peer's);
- ``compute/recovery``: seconds to full strength after two of six workers were lost; the goal is 10 s, and the peer is given 60;
- ``compute/throughput-slurm``, ``compute/throughput-local``: 10,000 short tasks on four workers; goal 0.95;
- ``compute/attach``: seconds to open an attached cluster in another process; the goal is 0.5 s;
- ``compute/growth``: scheduler's memory, time a task and the keeper's turn at 10, 100 and 1,000 simulated workers.

Usage: ``python tests/benchmarks/compute.py [ROUNDS]``.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from system.slurm.cluster import PATH, SlurmCluster

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 3
MEMORY = 300 * 2**20
TASKS = 10_000
PEER_WAIT_S = 60
GROWTH = (10, 100, 1000)


def say(name: str, ratio: float | None, goal: float, figures: dict[str, Any]) -> None:
    """Print one result."""
    line = {"benchmark": f"compute/{name}", "ratio": ratio and round(ratio, 3), "goal": goal}
    print(json.dumps({**line, "figures": figures}), flush=True)


@contextlib.contextmanager
def ours(scheduler: str, workers: int) -> Iterator[tuple[Any, Callable[[], int]]]:
    """Open our cluster on a site of its own; gives the client and how many workers there are."""
    from genesis_workbench import compute

    site = f"""
name = "benchmark"
[compute]
scheduler = "{scheduler}"
interface = "lo"
worker_memory_bytes = {MEMORY}
[compute.slurm]
poll_s = 1
"""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "site.toml").write_text(site)
        os.environ["GENESIS_SITE"], os.environ["GENESIS_STATE"] = f"{folder}/site.toml", f"{folder}/state"
        with compute.cluster(workers=workers, memory_per_worker_bytes=MEMORY) as cluster:
            yield cluster.client, lambda: count(cluster.client)


@contextlib.contextmanager
def plain(scheduler: str, workers: int) -> Iterator[tuple[Any, Callable[[], int]]]:
    """Open the peer's cluster, as its own documentation does."""
    from dask_jobqueue import SLURMCluster
    from distributed import Client, LocalCluster

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if scheduler == "local":
            made: Any = LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=MEMORY)
        else:
            made = SLURMCluster(
                cores=1,
                memory="300MiB",
                processes=1,
                interface="lo",
                log_directory=folder,
                local_directory=folder,
            )
            made.scale(workers)
        with made, Client(made) as client:
            yield client, lambda: count(client)


def count(client: Any) -> int:
    """Workers that the scheduler knows."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def until(true: Callable[[], bool], limit_s: float) -> float | None:
    """Wait for something; give the seconds, or None where it never came."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < limit_s:
        if true():
            return time.perf_counter() - begun
        time.sleep(0.05)
    return None


def first_result(open_: Any, slurm: SlurmCluster) -> float:
    """Seconds from nothing to the first result."""
    begun = time.perf_counter()
    with open_("slurm", 1) as (client, _):
        assert client.submit(lambda: 42).result(timeout=120) == 42
        took = time.perf_counter() - begun
    until(lambda: not slurm.jobs(), 60)
    return took


def recovery(open_: Any, slurm: SlurmCluster) -> float | None:
    """Seconds to six workers again after two jobs were canceled."""
    with open_("slurm", 6) as (_, there):
        assert until(lambda: there() == 6, 120) is not None
        slurm.run("scancel", *slurm.jobs()[:2])
        assert until(lambda: there() < 6, 60) is not None
        took = until(lambda: there() == 6, PEER_WAIT_S)
    until(lambda: not slurm.jobs(), 60)
    return took


def throughput(open_: Any, scheduler: str) -> float:
    """Short tasks a second, by four workers that are there."""
    with open_(scheduler, 4) as (client, there):
        assert until(lambda: there() == 4, 120) is not None
        client.gather(client.map(lambda number: number, range(400), pure=False))
        begun = time.perf_counter()
        client.gather(client.map(lambda number: number + 1, range(TASKS), pure=False))
        return TASKS / (time.perf_counter() - begun)


def turns(measure: Callable[[Any], float | None], rounds: int) -> tuple[list[Any], list[Any]]:
    """Measure ours and the peer in turns."""
    found: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(rounds):
        found[0].append(measure(ours))
        found[1].append(measure(plain))
    return found


def attach() -> float:
    """Seconds that another process needs for gw.cluster(attach=...), its imports done."""
    from genesis_workbench import compute

    code = (
        "import time, distributed\n"
        "from genesis_workbench import compute\n"
        "from genesis_workbench.compute.dask_cluster import cluster\n"
        "begun = time.perf_counter()\n"
        "held = cluster(attach='shared')\n"
        "print(time.perf_counter() - begun)\n"
        "held.close()\n"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["GENESIS_STATE"] = folder
        os.environ.pop("GENESIS_SITE", None)
        with compute.cluster(workers=1, memory_per_worker_bytes=MEMORY, name="shared"):
            taken = [
                float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(ROUNDS)
            ]
    return statistics.median(taken)


async def simulated_worker(address: str, number: int) -> None:
    """Speak a worker's side of Dask's protocol and compute nothing: every task is done as soon as it comes."""
    from distributed.comm import connect
    from distributed.versions import get_versions

    comm = await connect(address)
    hello = {
        "op": "register-worker", "reply": False, "address": f"tcp://127.0.0.1:{20000 + number}", "status": "running",
        "nthreads": 1, "name": str(number), "now": time.time(), "resources": {}, "memory_limit": 2**30,
        "local_directory": "", "services": {}, "nanny": "", "pid": number, "versions": get_versions(), "extra": {},
        "metrics": METRICS, "stimulus_id": f"connect-{number}", "server_id": f"server-{number}",
    }  # fmt: skip
    await comm.write(hello)
    await comm.read()
    while True:
        messages = await comm.read()
        done = [
            {
                "op": "task-finished", "status": "OK", "key": each["key"], "run_id": each["run_id"], "nbytes": 28,
                "type": b"", "typename": "int", "metadata": {}, "thread": 1, "startstops": [],
                "stimulus_id": f"done-{each['key']}",
            }
            for each in messages if each["op"] == "compute-task"
        ]  # fmt: skip
        if done:
            await comm.write(done)


METRICS = {
    "task_counts": {}, "bandwidth": {"total": 1e8, "workers": {}, "types": {}}, "digests_total_since_heartbeat": {},
    "managed_bytes": 0, "spilled_bytes": {"memory": 0, "disk": 0}, "transfer": {},
    "event_loop_interval": 0.02, "cpu": 0.0, "memory": 2**28, "time": 0.0, "host_net_io": {}, "num_fds": 10,
}  # fmt: skip


def growth(workers: int) -> None:
    """Send tasks to simulated workers; print what scheduler and keeper cost."""
    import asyncio

    import psutil
    from distributed import Client, Scheduler, wait

    from genesis_workbench.compute.clusters._keeper import Keeper, Seen, Size

    async def measure() -> dict[str, float]:
        memory = psutil.Process().memory_info
        async with Scheduler(protocol="inproc://", dashboard=False, port=0) as scheduler:
            before = memory().rss
            made = [asyncio.create_task(simulated_worker(scheduler.address, n)) for n in range(workers)]
            while len(scheduler.workers) < workers:  # noqa: ASYNC110 - the scheduler has no event for it
                await asyncio.sleep(0.01)
            each_worker = (memory().rss - before) / workers
            async with Client(scheduler.address, asynchronous=True) as client:
                await wait(client.map(lambda number: number, range(2 * workers), pure=False))
                before, begun = memory().rss, time.process_time()
                futures = client.map(lambda number: number + 1, range(TASKS), pure=False)
                await wait(futures)
                took, held = time.process_time() - begun, memory().rss - before
                turn = await _turn(scheduler)
            for task in made:
                task.cancel()
        return {
            "processor_time_a_task_ms": round(took / TASKS * 1e3, 3),
            "memory_a_task_kB": round(held / TASKS / 1e3, 2),
            "memory_a_worker_kB": round(each_worker / 1e3, 1),
            "keeper_turn_ms": round(turn * 1e3, 2),
        }

    async def _turn(scheduler: Any) -> float:
        names = {str(number): {} for number in range(workers)}
        # What the keeper needs of a cluster.
        cluster = SimpleNamespace(
            name="growth", scheduler=scheduler, worker_spec=names, workers=dict.fromkeys(names)
        )

        async def look(names: Any) -> dict[Any, Seen]:
            return {name: Seen(running=True, started_s=time.time()) for name in names}

        size = Size(workers, workers)
        keeper = Keeper(cluster, size, look, walltime_s=3600, idle_release_s=600, scratch=Path())
        await keeper.turn()  # the first one compares versions
        begun = time.perf_counter()
        for _ in range(5):
            await keeper.turn()
        return (time.perf_counter() - begun) / 5

    print(json.dumps(asyncio.run(measure())))


def main() -> None:
    """Run all of them."""
    os.environ["PATH"] = PATH
    with SlurmCluster() as slurm:
        os.environ["SLURM_CONF"] = str(slurm.conf)
        mine, theirs = turns(lambda open_: first_result(open_, slurm), ROUNDS)
        ratio = statistics.median(theirs) / statistics.median(mine)
        say("first-result", ratio, 0.909, {"ours_s": rounded(mine), "dask_jobqueue_s": rounded(theirs)})
        mine, theirs = turns(lambda open_: recovery(open_, slurm), 1)
        figures = {
            "ours_s": rounded(mine),
            "dask_jobqueue_s": rounded(theirs),
            "peer_was_given_s": PEER_WAIT_S,
        }
        say("recovery", (theirs[0] or PEER_WAIT_S) / (mine[0] or PEER_WAIT_S), PEER_WAIT_S / 10, figures)
        for scheduler, peer in (("slurm", "dask_jobqueue"), ("local", "LocalCluster")):
            mine, theirs = turns(lambda open_, where=scheduler: throughput(open_, where), ROUNDS)
            ratio = statistics.median(mine) / statistics.median(theirs)
            figures = {"ours_tasks_a_second": rounded(mine), f"{peer}_tasks_a_second": rounded(theirs)}
            say(f"throughput-{scheduler}", ratio, 0.95, figures)
            until(lambda: not slurm.jobs(), 60)
    took = attach()
    say("attach", 0.5 / took, 1.0, {"seconds": round(took, 3)})
    found = {}
    for workers in GROWTH:
        command = [sys.executable, "-W", "ignore", __file__, "--growth", str(workers)]
        found[str(workers)] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    say("growth", None, 0, found)


def rounded(values: list[Any]) -> list[Any]:
    """Round seconds and rates; None stays."""
    return [value and round(value, 2) for value in values]


if __name__ == "__main__":
    if "--growth" in sys.argv:
        growth(int(sys.argv[-1]))
    else:
        main()
