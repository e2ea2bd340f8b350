"""The process above a job where Slurm takes its machine away: what was told to end is put back, not counted as failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from genesis_workbench.compute.job import JobSpec
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._folder import ENDED, write


def test_a_command_that_heard_of_a_preemption_before_its_wrapper_is_started_again(tmp_path):
    command = ("sh", "-c", "touch left; exit 143")
    spec = JobSpec(name="preempted", command=command, requeue=True, walltime_s=60, key="job-preempted")
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    write(tmp_path / "arguments.json", {})
    environment = {**os.environ, "SLURM_JOB_ID": "7"}

    def preempted(restarts, heard_after_s):
        """Start it, let its command end, tell it to end, and return its exit status."""
        words = [sys.executable, "-m", wrapper.__name__, str(tmp_path)]
        process = subprocess.Popen(words, env={**environment, "SLURM_RESTART_COUNT": restarts})
        deadline = time.monotonic() + 30
        while not (tmp_path / "left").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (tmp_path / "left").unlink()
        time.sleep(heard_after_s)
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    # As long as a busy Slurm may take to tell the batch script too.
    assert preempted("0", 2) == 0
    assert not (tmp_path / ENDED).exists(), "it was taken for one that failed by itself"
    assert preempted("1", 0) == 0, "and so it is started again"
    assert not (tmp_path / ENDED).exists()
