"""Training on a real Kubernetes: two processes in a pod that is deleted, tried again, and finished by themselves."""

from __future__ import annotations

import json

import pytest

from genesis_workbench.compute.job import Job
from genesis_workbench.training import metrics
from system.kubernetes.conftest import missing
from system.kubernetes.notebook import HOME, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SITE = """
name = "test"
[compute]
scheduler = "kubernetes"
image = "{image}"
[compute.kubernetes]
poll_s = 0.3
"""
BEGIN = """
import json
import genesis_workbench as gw
from genesis_workbench.compute import Resources
run = gw.train(
    "surrogate", data=["cec-pv-modules"], name="pv", resources=Resources(processes_per_node=2, memory_bytes=1536 * 2**20),
    epochs=20, batch_size=64, log_steps=1, checkpoint_steps=20, shards=4, shard_size=512, members=2, width=16,
)
run.id
"""


def test_a_run_whose_pod_is_deleted_goes_on_from_its_checkpoint(notebook, image):
    kubectl = notebook.kubectl
    if not kubectl(
        "exec", notebook.name, "--", "sh", "-c", "python -c 'import torch' && echo yes", check=False
    ):
        missing(
            "the user image has no torch: build one by images/build.py user --with 'genesis-workbench[training]', load it into the "
            "nodes, and name it by GENESIS_TEST_IMAGE"
        )
    notebook.write(f"{HOME}/site.toml", SITE.format(image=image))
    notebook.start_kernel()
    notebook(BEGIN)

    def lines(kind):
        return [line for line in notebook("list(run.lines())") if line["kind"] == kind]

    def saved():
        job = Job.model_validate_json(notebook("run.status().model_dump_json()"))
        assert not job.state.final, notebook.read(f"{job.folder}/stderr")[-3000:]
        return lines(metrics.CHECKPOINT)

    until(saved, 240)
    [pod] = kubectl.names("pods")
    kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    reference, lineage = json.loads(
        notebook("version = run.wait(400)\njson.dumps([version.reference, version.lineage])", 420)
    )
    began = lines(metrics.START)
    assert began[0]["processes"] == 2
    assert [len(began), began[0]["step"]] == [2, 0]
    assert began[1]["step"] > 0, "it went on from a checkpoint"
    steps = [line["step"] for line in lines(metrics.STEP)]
    assert steps == list(range(1, steps[-1] + 1))
    assert reference == "pv@1"
    assert lineage["job"]["restarts"] >= 1
    assert notebook("len(run.record.jobs)") == 1, "nobody had to resume it"
