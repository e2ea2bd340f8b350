"""Where Slurm keeps accounts, a job that the queue has long forgotten is still told for what it was."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import time

import pytest

from genesis_workbench.compute import JobSpec
from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.core.errors import Unavailable
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


def test_a_batch_of_more_than_slurm_takes_goes_through_in_parts(accounted, tmp_path):
    me = pwd.getpwuid(os.geteuid()).pw_name
    accounted.run("sacctmgr", "-i", "modify", "user", me, "set", "MaxSubmitJobs=8")
    scheduler = SlurmScheduler(tmp_path / "jobs", SITE)
    specs = [
        JobSpec(name="short", command=(sys.executable, "-c", "open('ran', 'a').write('x')"))
        for _ in range(20)
    ]
    jobs = scheduler.submit_all(specs)
    assert [bool(job.native_id) for job in jobs] == [True] * 8 + [False] * 12
    assert {job.state for job in jobs[8:]} == {JobState.NEW}

    def through():
        waiting = [spec for spec in specs if not scheduler.status(spec.key).native_id]
        with contextlib.suppress(Unavailable):  # none of it for now
            scheduler.submit_all(waiting)
        return all(scheduler.status(spec.key).state is JobState.COMPLETED for spec in specs)

    until(through)
    assert [scheduler.output(spec.key, "ran").read_text() for spec in specs] == ["x"] * 20


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
