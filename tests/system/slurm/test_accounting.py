"""Where Slurm keeps accounts, a job that the queue has long forgotten is still told for what it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from genesis_workbench.compute import JobSpec
from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.core.site import ComputeSection, SlurmSection
from system.slurm.cluster import PATH, SlurmCluster
from system.slurm.conftest import needed

pytestmark = pytest.mark.slow  # installs and starts a database server
SITE = ComputeSection(scheduler="slurm", slurm=SlurmSection(poll_s=0.2))


@pytest.fixture(scope="module")
def accounted():
    needed()
    missing = [
        name
        for name in ("slurmdbd", "mariadbd", "mariadb-install-db")
        if shutil.which(name, path=PATH) is None
    ]
    if missing:
        reason = f"{', '.join(missing)} missing: apt-get install slurmdbd mariadb-server"
        if os.environ.get("REQUIRE_SLURMDBD") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with SlurmCluster(nodes=2, accounting=True) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        patch.setenv("PATH", PATH)
        yield cluster


def until(true, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return found


def test_a_job_that_slurm_itself_ended_is_told_from_its_accounts(accounted, tmp_path):
    scheduler = SlurmScheduler(tmp_path / "jobs", SITE)
    spec = JobSpec(name="long", command=(sys.executable, "-c", "import time; time.sleep(600)"))
    scheduler.submit(spec)
    job = until(lambda: (job := scheduler.status(spec.key)).state is JobState.ACTIVE and job)
    # The wrapper is killed with its machine's word on it, so no outcome is written; the queue forgets after ten seconds.
    accounted.stop_node("c1")
    accounted.stop_node("c2")
    for node in ("c1", "c2"):
        accounted.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    until(lambda: "Invalid job id" in _complaint(accounted, job.native_id))
    told = until(lambda: (job := scheduler.status(spec.key)).state.final and job)
    assert told.state is JobState.FAILED
    assert "A machine that it ran on failed" in told.reason


def _complaint(cluster, number):
    done = subprocess.run(
        ["scontrol", "show", "job", number],
        env={**os.environ, "SLURM_CONF": str(cluster.conf)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr
