"""The chart, installed on a real Kubernetes, lets a person's notebook run jobs and Dask workers as pods.

GENESIS_TEST_HUB_IMAGE names the hub image of the same build, on every node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from system.kubernetes.conftest import missing
from system.kubernetes.notebook import Kubectl, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHART = Path(__file__).parents[3] / "helm/genesis-workbench"
STATE = "/var/lib/genesis-workbench"
POD = "wb-genesis-workbench-0"
# What a server that the hub started sees of its pod's environment: nothing of Kubernetes.
AS_A_PERSON = (
    "env", "-i", f"HOME={STATE}/homes/ada", "PATH=/opt/genesis-workbench/bin:/usr/bin:/bin",
    "GENESIS_SITE=/etc/genesis-workbench/site.toml", "python", "-",
)  # fmt: skip
CELL = """
import genesis_workbench as gw
from genesis_workbench.compute import JobSpec
code = "import json, os; json.dump([os.getuid(), os.listdir('..')], open('result.json', 'w'))"
job = gw.compute.wait(gw.submit(JobSpec(name="first", command=("python", "-c", code))), 120)
print(job.state, job.reason, gw.compute.scheduler().result(job.key) == [1000, [job.key]])
with gw.cluster(workers=1, memory_per_worker_bytes=400 * 2**20) as cluster:
    print(cluster.client.submit(sum, [1, 2]).result(timeout=120))
"""


@pytest.fixture
def installed(kubeconfig, image):
    """kubectl for the namespace of a release."""
    hub = os.environ.get("GENESIS_TEST_HUB_IMAGE")
    if not hub:
        missing("no hub image: set GENESIS_TEST_HUB_IMAGE to one that the nodes have")
    programs = str(kubeconfig.parent / "bin")
    helm, kubectl = (shutil.which(name) or shutil.which(name, path=programs) for name in ("helm", "kubectl"))
    if not (helm and kubectl):
        missing("helm or kubectl is not installed")
    repository, _, tag = hub.rpartition(":")
    space = f"gw-chart-{os.getpid()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.delenv(name, raising=False)
        there = Kubectl(kubectl, space)
        there("create", "namespace", space)
        settings = [
            f"image.repository={repository}",
            f"image.tag={tag}",
            "compute.enabled=true",
            f"compute.image={image}",
        ]
        settings += ["storage.size=1Gi", "resources.requests.cpu=10m", "resources.requests.memory=512Mi"]
        command = [helm, "install", "wb", str(CHART), "--namespace", space, "--server-side=false"]
        try:
            subprocess.run(
                command + [part for each in settings for part in ("--set", each)],
                check=True,
                timeout=60,
                capture_output=True,
            )
            yield there
        finally:
            there("delete", "namespace", space, "--wait=false")


def test_a_notebook_of_the_chart_runs_jobs_and_workers_with_the_chart_s_rights(installed):
    until(lambda: installed("get", "pod", POD, "--ignore-not-found"))
    installed("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=110s")
    told = installed("exec", "-i", POD, "--", *AS_A_PERSON, given=CELL)
    assert told.splitlines() == ["completed  True", "3"]
    until(lambda: not installed.names("pods", "app.kubernetes.io/component=worker"))
    assert installed.names("secrets", "app.kubernetes.io/component=cluster") == []
