"""Training on a real Slurm: two processes by srun, preempted, put back into the queue, and finished by themselves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import genesis_workbench as gw
from genesis_workbench import models
from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.training import metrics

pytest.importorskip("torch", reason="torch is not installed")

TINY = Path(__file__).parent.parent / "training" / "tiny"
SITE = 'name = "test"\n[compute]\nscheduler = "slurm"\ninterface = "lo"\n[compute.slurm]\npoll_s = 0.3\n'


def until(true, run, timeout_s=180):
    deadline = time.monotonic() + timeout_s
    while not true():
        errors = Path(run.status().folder, "stderr")
        assert time.monotonic() < deadline, errors.read_text()[-3000:] if errors.exists() else run.status()
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_preempted_run_saves_and_goes_on_by_itself(slurm, tmp_path, monkeypatch):
    (tmp_path / "site.toml").write_text(SITE)
    monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    models._zoo.cache_clear()
    both = Resources(processes_per_node=2, memory_bytes=1536 * 2**20)
    run = gw.train(
        TINY,
        name="tiny",
        resources=both,
        queue="spare",
        walltime_s=900,
        epochs=60,
        batch_size=32,
        log_steps=1,
    )
    until(lambda: any(line["kind"] == metrics.STEP for line in run.lines()), run)
    # A job that needs every core takes the machines of the spare queue.
    urgent = JobSpec(
        name="urgent", command=("sleep", "3"), resources=Resources(nodes=4, cpu_cores=4), walltime_s=60,
        key=new_id("job"),
    )  # fmt: skip
    gw.submit(urgent)
    version = run.wait(600)
    job = run.status()
    assert job.restarts == 1, job
    assert len(run.record.jobs) == 1, "nobody had to resume it"
    lines = run.lines()
    began = [line for line in lines if line["kind"] == metrics.START]
    assert began[0]["processes"] == 2
    assert len(began) == 2
    assert began[1]["step"] > 0
    stopped = [line for line in lines if line["kind"] == metrics.END and line["ended"] == "told to end"]
    assert stopped[0]["step"] == began[1]["step"], "it saved the step it was at"
    steps = [line["step"] for line in lines if line["kind"] == metrics.STEP]
    assert steps == list(range(1, 60 * 12 + 1))
    assert version.lineage["job"]["restarts"] == 1
    models._zoo.cache_clear()
