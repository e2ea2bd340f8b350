"""Dask clusters on a real Kubernetes survive what clusters do, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from system.kubernetes.notebook import HOME, CellFailed, Notebook, may_see, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORKERS = "app.kubernetes.io/component=worker"
SITE = """
name = "test"
[compute]
scheduler = "kubernetes"
interface = "eth0"
image = "{image}"
worker_memory_bytes = 419430400
idle_release_s = {idle_s}
[compute.kubernetes]
poll_s = 0.5
"""
BEGIN = """
import json, os, signal, time
from distributed import wait
from genesis_workbench import compute
def slow_square(number, seconds=0.5):
    time.sleep(seconds)
    return number**2
def working():
    return [each for each in cluster.status()["workers"] if each["state"] == "working"]
"""


@pytest.fixture
def site(notebook: Notebook, image: str) -> Callable[..., None]:
    """A fresh kernel, the site file, and no pod before and after."""

    def write(idle_s: int = 600) -> None:
        notebook.write(f"{HOME}/site.toml", SITE.format(image=image, idle_s=idle_s))

    write()
    notebook.start_kernel()
    notebook(BEGIN)
    yield write
    notebook.end_kernel()
    until(lambda: not notebook.kubectl.names("pods") + notebook.kubectl.names("secrets"), 150)


def left_behind(notebook):
    """Everything of a cluster that there is, but for pods under way out."""
    pods = [pod for pod in notebook.kubectl.items("pods") if "deletionTimestamp" not in pod["metadata"]]
    return [pod["metadata"]["name"] for pod in pods] + notebook.kubectl.names("secrets")


def test_the_first_worker_computes_over_tls_as_an_ordinary_user(site, notebook, image):
    notebook("cluster = compute.cluster(workers=1)")
    assert notebook("cluster.client.submit(slow_square, 6).result(timeout=90)") == 36
    (pod,) = notebook.kubectl.items("pods", WORKERS)
    (secret,) = notebook.kubectl.items("secrets")
    container = pod["spec"]["containers"][0]
    assert container["image"] == image
    size = {"cpu": "1", "memory": "419430400"}
    assert container["resources"] == {"requests": size, "limits": size}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["spec"]["activeDeadlineSeconds"] == 3600
    assert not any("serviceaccount" in mount["mountPath"] for mount in container["volumeMounts"])
    assert "of-the-notebook" not in json.dumps(pod)
    assert [each["name"] for each in pod["metadata"]["ownerReferences"]] == [secret["metadata"]["name"]]
    assert [each["name"] for each in secret["metadata"]["ownerReferences"]] == [notebook.name]
    assert notebook("cluster.client.scheduler.address").startswith("tls://")
    plain = "from distributed import Client\nClient(cluster.client.scheduler.address.replace('tls', 'tcp'), timeout=3)"
    with pytest.raises(CellFailed):
        notebook(plain)
    address = pod["status"]["podIP"]
    listening = notebook.kubectl(
        "exec", pod["metadata"]["name"], "--", "cat", "/proc/net/tcp", "/proc/net/tcp6"
    )
    assert listeners(listening) == {address, "127.0.0.1"}
    assert notebook("json.loads(cluster.script())['kind']") == "Pod"
    notebook("cluster.close()")
    assert left_behind(notebook) == []


def listeners(table):
    """Addresses that something listens on, from /proc/net/tcp."""
    rows = [line.split() for line in table.splitlines() if ":" in line and line.split()[3] == "0A"]
    found = [bytes.fromhex(row[1].partition(":")[0])[::-1] for row in rows]
    return {".".join(str(part) for part in address) for address in found}


def test_pods_deleted_in_the_middle_are_replaced_and_the_result_is_right(site, notebook):
    notebook("cluster = compute.cluster(workers=4)\ncluster.wait(4, timeout_s=150) and None", 200)
    notebook("numbers = cluster.client.map(slow_square, range(120))\ntime.sleep(3)")
    kubectl = notebook.kubectl
    first, second, *_ = kubectl.names("pods", WORKERS)
    kubectl("delete", "pod", first, "--grace-period=0", "--force")
    kubectl("delete", "pod", second, "--wait=false")
    assert notebook("cluster.client.gather(numbers)", 200) == [number**2 for number in range(120)]
    notebook("cluster.wait(4, timeout_s=120) and None", 150)
    assert notebook("cluster.status()['replaced']") == 2
    assert {first, second} & set(kubectl.names("pods", WORKERS)) == set()
    notebook("cluster.close()")
    assert left_behind(notebook) == []


def test_a_worker_that_is_killed_comes_back(site, notebook):
    notebook("cluster = compute.cluster(workers=1)\ncluster.wait(1, timeout_s=90) and None")
    (pod,) = notebook.kubectl.names("pods", WORKERS)
    kill = "import psutil; [each.kill() for each in psutil.Process(1).children() if 'distributed.cli' in str(each.cmdline())]"
    notebook.kubectl("exec", pod, "--", "python", "-c", kill)
    until(lambda: pod not in notebook.kubectl.names("pods", WORKERS))
    assert notebook("cluster.client.submit(slow_square, 5).result(timeout=90)") == 25
    notebook("cluster.close()")


def test_workers_that_need_more_memory_than_they_have_are_told_as_that(site, notebook):
    notebook("cluster = compute.cluster(workers=1)\ncluster.wait(1, timeout_s=90) and None")
    notebook("greedy = cluster.client.submit(lambda: sum(bytearray(b'x') * 2**30))")
    words = "A worker was lost: It used more memory than the 0.39 GiB that it may. Ask for more."
    until(lambda: words in notebook("repr(cluster)"))
    notebook("greedy.cancel()")
    assert notebook("cluster.client.submit(slow_square, 5).result(timeout=90)") == 25
    notebook("cluster.close()")


def test_idle_workers_are_given_back_with_results_kept_and_come_again_with_work(site, notebook):
    site(idle_s=3)
    notebook(
        "cluster = compute.cluster(workers=2)\nkept = cluster.client.map(slow_square, range(8))\nwait(kept) and None"
    )
    until(lambda: notebook.kubectl.names("pods", WORKERS) == [])
    assert notebook("cluster.status()['released']") is True
    assert notebook("cluster.client.submit(sum, kept).result(timeout=90)") == sum(n**2 for n in range(8))
    notebook("cluster.close()")


def test_a_cluster_follows_the_work_and_is_scaled(site, notebook):
    notebook("cluster = compute.cluster(workers=(0, 3))")
    assert notebook.kubectl.names("pods", WORKERS) == []
    assert notebook("cluster.client.gather(cluster.client.map(slow_square, range(60)))", 150) == [
        n**2 for n in range(60)
    ]
    notebook("cluster.scale(1)")
    until(lambda: len(notebook.kubectl.names("pods", WORKERS)) == 1)
    with pytest.raises(InvalidInput, match="more than the 1000"):
        notebook("cluster.scale(2000)")
    notebook("cluster.close()")


def test_workers_are_renewed_before_their_walltime_and_results_move_over(site, notebook):
    notebook("cluster = compute.cluster(workers=1, walltime=40)\ncluster.wait(1, timeout_s=90) and None")
    notebook("kept = cluster.client.submit(slow_square, 12)\nwait(kept) and None")
    until(lambda: notebook("cluster.status()['renewed']") >= 1, 120)
    assert notebook("kept.result(timeout=60)") == 144
    assert notebook("cluster.status()['replaced']") == 0
    notebook("cluster.close()")


def test_another_process_attaches_by_name(site, notebook):
    notebook("cluster = compute.cluster(workers=1, name='mine')")
    cell = (
        "import subprocess, sys\n"
        'code = "from genesis_workbench import compute\\n'
        "with compute.cluster(attach='mine') as c: print(c.client.submit(sum, [1, 2]).result(timeout=90))\"\n"
        "subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120).stdout"
    )
    assert notebook(cell).strip() == "3"
    with pytest.raises(Conflict, match="You have a cluster 'mine' already"):
        notebook("compute.cluster(name='mine')")
    with pytest.raises(NotFound, match="You have no cluster 'other'"):
        notebook("compute.cluster(attach='other')")
    notebook("cluster.close()")


def test_what_cannot_be_is_refused_and_what_waits_says_why(site, notebook, kubectl):
    take_back = may_see(kubectl, "nodes", "pods")
    try:
        with pytest.raises(
            InvalidInput, match="A worker can never run on the queue 'all': its largest machine has"
        ):
            notebook("compute.cluster(workers=1, threads=1000)")
        cores = notebook("compute.queues()[0].cores_per_node")
        notebook(f"cluster = compute.cluster(workers=3, threads={cores})")
        until(lambda: f"no machine has {cores} free cores; the largest has" in notebook("repr(cluster)"))
        notebook("cluster.close()")
    finally:
        take_back()


def test_a_full_quota_is_raised_where_the_cluster_is_asked_for(site, notebook, kubectl):
    hard = {"hard": {"requests.cpu": "1500m"}}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "workers"}, "spec": hard}
    )
    until(lambda: json.loads(kubectl("get", "resourcequota", "workers", "-o", "json"))["status"].get("hard"))
    try:
        with pytest.raises(InvalidInput, match="exceeded quota: workers"):
            notebook("compute.cluster(workers=3)")
        until(lambda: left_behind(notebook) == [])
    finally:
        kubectl("delete", "resourcequota", "workers")


def test_a_kernel_that_is_killed_leaves_nothing_after_the_next_cluster(site, notebook):
    notebook("cluster = compute.cluster(workers=2)\ncluster.wait(2, timeout_s=90) and None")
    before = set(left_behind(notebook))
    with pytest.raises(CellFailed, match="the kernel ended"):
        notebook("os.kill(os.getpid(), signal.SIGKILL)")
    phases = lambda: {pod["status"]["phase"] for pod in notebook.kubectl.items("pods", WORKERS)}  # noqa: E731
    until(lambda: "Running" not in phases(), 150)  # the workers end themselves
    notebook.start_kernel()
    notebook(BEGIN + "cluster = compute.cluster(workers=1)")
    until(lambda: not before & set(left_behind(notebook)))
    notebook("cluster.close()")


def test_a_notebook_that_is_deleted_takes_its_cluster_with_it(site, kubectl, image):
    with Notebook(kubectl, image, "short-lived") as other:
        other.start_kernel()
        other(BEGIN + "cluster = compute.cluster(workers=2)\ncluster.wait(2, timeout_s=90) and None")
        assert len(left_behind(other)) == 3
        kubectl("delete", "pod", "short-lived", "--grace-period=0", "--force")
        until(lambda: left_behind(other) == [])
