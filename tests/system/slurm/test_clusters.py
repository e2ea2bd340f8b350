"""Dask clusters on a real Slurm survive what queues do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from distributed import wait

from genesis_workbench import compute
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.widgets import compute_panel

SMALL = 300 * 2**20
SITE = """
name = "test"
[compute]
scheduler = "slurm"
interface = "lo"
scratch = "{scratch}"
worker_memory_bytes = {memory}
idle_release_s = {idle_s}
[compute.slurm]
poll_s = 0.3
"""


@pytest.fixture
def site(slurm, tmp_path, monkeypatch):
    """The site file, the state folder, and an empty queue before and after."""

    def write(idle_s=600):
        (tmp_path / "site.toml").write_text(
            SITE.format(idle_s=idle_s, memory=SMALL, scratch=tmp_path / "scratch")
        )

    write()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    yield write
    until(lambda: not slurm.jobs())


def until(true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return found


def slow_square(number, seconds=0.5):
    time.sleep(seconds)
    return number**2


def working(cluster):
    return [each for each in cluster.status()["workers"] if each["state"] == "working"]


def test_eight_workers_over_four_nodes_listen_where_the_site_says_and_carry_no_secret(
    site, slurm, monkeypatch
):
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of the notebook")
    with compute.cluster(workers=8, threads=2) as cluster:
        cluster.wait(timeout_s=90)
        about = cluster.client.run(
            lambda: (os.environ["SLURMD_NODENAME"], os.environ.get("JUPYTERHUB_API_TOKEN"))
        )
        assert sorted(node for node, _ in about.values()) == ["c1", "c1", "c2", "c2", "c3", "c3", "c4", "c4"]
        assert {token for _, token in about.values()} == {None}
        assert cluster.client.scheduler.address.startswith("tls://127.0.0.1:")
        workers = cluster.client.run(os.getpid).values()
        family = {
            psutil.Process(),
            *(each for pid in workers for each in (psutil.Process(pid), psutil.Process(pid).parent())),
        }
        listening = {
            each.laddr.ip
            for process in family
            for each in process.net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        assert "#SBATCH --mem=300M" in cluster.script()
        assert cluster.client.submit(slow_square, 7).result(timeout=30) == 49


def test_nobody_joins_or_asks_without_the_clusters_certificate(site):
    from distributed import Client

    with compute.cluster(workers=1) as cluster:
        with pytest.raises((OSError, TypeError)):
            Client(cluster.client.scheduler.address, timeout=3, set_as_default=False)
        plain = cluster.client.scheduler.address.replace("tls://", "tcp://")
        with pytest.raises(OSError, match=r"Timed out|reset|closed"):
            Client(plain, timeout=3, set_as_default=False)


@pytest.mark.parametrize("size", [6, pytest.param((2, 6), marks=pytest.mark.slow)])
def test_workers_canceled_in_the_middle_are_replaced_and_the_result_is_right(site, slurm, size):
    with compute.cluster(workers=size) as cluster:
        futures = cluster.client.map(slow_square, range(100))
        cluster.wait(6, timeout_s=90)
        until(lambda: sum(future.done() for future in futures) > 10)
        slurm.run("scancel", *slurm.jobs()[:2])
        until(lambda: len(working(cluster)) < 6)
        # One that follows the work may need fewer by now.
        cluster.wait(size if isinstance(size, int) else size[0], timeout_s=60)
        assert cluster.client.gather(futures) == [number**2 for number in range(100)]
        assert cluster.status()["replaced"] >= 2


@pytest.mark.slow
def test_work_longer_than_the_walltime_is_finished_by_renewed_workers(site, slurm):
    with compute.cluster(workers=2, walltime=24) as cluster:
        first = set(slurm.jobs())
        futures = cluster.client.map(slow_square, range(160), seconds=0.5)
        done, history = 0, []
        while done < len(futures):
            done = sum(future.done() for future in futures)
            history.append(done)
            time.sleep(0.5)
        assert cluster.client.gather(futures) == [number**2 for number in range(160)]
        assert cluster.status()["renewed"] >= 2
        # Nothing that was finished is computed again.
        assert history == sorted(history)
        assert not first & set(slurm.jobs())


@pytest.mark.slow
def test_on_a_full_queue_finished_results_wait_for_the_next_worker(site, slurm):
    with compute.cluster(workers=1, threads=4, queue="tiny", walltime=24) as cluster:
        cluster.wait(timeout_s=60)
        # Three of four nodes are not in this partition, and the fourth is full: no replacement can come early.
        futures = cluster.client.map(slow_square, range(200), seconds=0.5)
        history = []
        while not history or history[-1] < len(futures):
            history.append(sum(future.done() for future in futures))
            time.sleep(0.5)
        assert cluster.client.gather(futures) == [number**2 for number in range(200)]
        assert history == sorted(history)
        assert cluster.status()["renewed"] >= 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"queue": "nowhere"}, "There is no queue 'nowhere'"),
        ({"threads": 64}, "its largest machine has 4 cores and you asked for 64"),
        ({"memory_per_worker_bytes": 2**40}, "GiB of memory and you asked for 1024.00 GiB"),
        ({"walltime": "3h"}, "it allows 1 h and you asked for 3 h"),
        ({"account": "x y"}, "cannot be an option of sbatch"),
        ({"workers": 5000}, "more than the 1000"),
    ],
)
def test_what_cannot_be_is_refused_in_the_notebook(site, slurm, asked, words):
    with pytest.raises(InvalidInput, match=words):
        compute.cluster(**asked)
    assert slurm.jobs() == []
    assert compute.cluster_names() == []


def test_what_sbatch_itself_refuses_is_raised_with_its_words(site, slurm):
    slurm.run("scontrol", "update", "PartitionName=tiny", "AllowGroups=nobody-of-us")
    slurm.run("scontrol", "update", "PartitionName=tiny", "State=DRAIN")
    try:
        with pytest.raises(InvalidInput, match="sbatch refused"):
            compute.cluster(workers=1, queue="tiny", walltime=60)
    finally:
        slurm.run("scontrol", "update", "PartitionName=tiny", "State=UP", "AllowGroups=ALL")


def test_a_worker_whose_submission_was_taken_without_an_answer_is_ended(site, slurm, tmp_path):
    folder, lose = tmp_path / "programs", tmp_path / "lose"
    folder.mkdir()
    for name in ("squeue", "sinfo", "scancel", "scontrol"):
        (folder / name).symlink_to(shutil.which(name))
    # Slurm takes the job, and then the connection is gone.
    (folder / "sbatch").write_text(
        f'#!/bin/sh\nset -e\nnumber=$({shutil.which("sbatch")} "$@")\nif [ -e {lose} ]; then echo $number >> {lose}\n'
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1; fi\necho $number\n"
    )
    (folder / "sbatch").chmod(0o755)
    with (tmp_path / "site.toml").open("a") as file:
        file.write(f'programs = "{folder}"\n')
    with compute.cluster(workers=1) as cluster:
        cluster.wait(timeout_s=60)
        lose.touch()
        cluster.scale(2)
        until(lambda: "Socket timed out" in cluster.status()["trouble"])
        (stray,) = until(lambda: lose.read_text().split())
        until(lambda: stray not in slurm.jobs())
        lose.unlink()
        cluster.wait(2, timeout_s=60)
        assert len(slurm.jobs()) == 2


def test_a_full_queue_is_told_and_the_work_waits(site, slurm):
    blocker = slurm.run(
        "sbatch", "--parsable", "-N4", "-c4", "-o", "/dev/null", "--wrap", "sleep 120"
    ).strip()
    try:
        with compute.cluster(workers=1) as cluster:
            future = cluster.client.submit(slow_square, 3)

            def told():
                first = cluster.status()["workers"][:1]
                return first and first[0]["position"] == 1 and "waits for free machines" in first[0]["reason"]

            until(told)
            assert "waits for free machines" in repr(cluster)
            panel = compute_panel(cluster)
            shown = panel.status["workers"][0]
            assert (shown["position"], "waits for free machines" in shown["reason"]) == (1, True)
            panel.close()
            slurm.run("scancel", blocker)
            assert future.result(timeout=60) == 9
    finally:
        slurm.run("scancel", blocker, check=False)


def test_a_node_that_dies_is_replaced_and_comes_back(site, slurm):
    with compute.cluster(workers=8, threads=2) as cluster:
        cluster.wait(timeout_s=90)
        futures = cluster.client.map(slow_square, range(100))
        until(lambda: sum(future.done() for future in futures) > 5)
        slurm.stop_node("c4")
        slurm.run("scontrol", "update", "NodeName=c4", "State=DOWN", "Reason=test")
        assert cluster.client.gather(futures) == [number**2 for number in range(100)]
        # Six fit on the nodes that are left; two wait, and say so.
        until(lambda: len(working(cluster)) == 6 and len(cluster.status()["workers"]) == 8)
        slurm.start_node("c4")
        slurm.run(
            "scontrol", "update", "NodeName=c4", "State=RESUME", check=False
        )  # it may be back by itself
        cluster.wait(8, timeout_s=90)


def test_a_controller_that_restarts_is_not_noticed(site, slurm):
    with compute.cluster(workers=2) as cluster:
        cluster.wait(timeout_s=60)
        before = slurm.jobs()
        slurm.stop_controller()
        assert cluster.client.submit(slow_square, 4).result(timeout=30) == 16
        until(lambda: "controller does not answer" in cluster.status()["trouble"])
        slurm.start_controller()
        until(lambda: slurm.run("squeue", "-h", check=False) and not cluster.status()["trouble"])
        assert slurm.jobs() == before


def test_an_idle_cluster_gives_its_workers_back_and_keeps_its_results(site, slurm):
    site(idle_s=2)
    with compute.cluster(workers=2) as cluster:
        kept = cluster.client.map(slow_square, range(10), seconds=0.01)
        wait(kept, timeout=60)
        until(lambda: not slurm.jobs())
        assert cluster.status()["released"]
        assert cluster.client.gather(kept) == [number**2 for number in range(10)]
        # New work brings workers again, and they take the results over.
        total = cluster.client.submit(sum, kept)
        assert total.result(timeout=60) == sum(number**2 for number in range(10))
        until(lambda: all(each["state"] == "working" for each in cluster.status()["workers"]))


def test_work_longer_than_the_idle_time_is_never_cut(site, slurm):
    site(idle_s=1)
    with compute.cluster(workers=1) as cluster:
        assert cluster.client.submit(slow_square, 5, seconds=5).result(timeout=60) == 25
        assert cluster.status()["replaced"] == 0


def test_a_second_notebook_attaches_by_name(site, slurm):
    with compute.cluster(workers=1, name="shared") as cluster:
        cluster.wait(timeout_s=60)
        code = (
            "from genesis_workbench import compute\n"
            "with compute.cluster(attach='shared') as cluster:\n"
            "    print(cluster.client.submit(sum, [1, 2, 3]).result(timeout=30), cluster.attached)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.strip() == "6 True", done.stderr
        assert len(working(cluster)) == 1  # leaving it leaves it as it is
        with pytest.raises(NotFound, match="Yours are: shared"):
            compute.cluster(attach="another")
    with pytest.raises(NotFound, match="Yours are: none"):
        compute.cluster(attach="shared")


def test_a_worker_of_another_version_is_refused_by_name(site, monkeypatch):
    from distributed import versions

    ours = versions.get_versions()
    ours["packages"]["dask"] = "1999.1.0"
    with compute.cluster(workers=1) as cluster:
        monkeypatch.setattr(versions, "get_versions", lambda: ours)
        with pytest.raises(InvalidInput, match=r"has dask 20.* \(the notebook has 1999.1.0\)"):
            cluster.wait(timeout_s=60)


def test_a_notebook_that_is_killed_leaves_no_job(site, slurm):
    code = (
        "import time; from genesis_workbench import compute\n"
        "cluster = compute.cluster(workers=2); cluster.wait(); print('up', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout.readline().strip() == "up"
        notebook.kill()
    until(lambda: not slurm.jobs(), timeout_s=120)
