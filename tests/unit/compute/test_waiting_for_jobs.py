"""Jobs that are waited for and canceled: nothing that happens to a scheduler for a moment is taken for the job's end."""

from __future__ import annotations

import os

import pytest

from genesis_workbench.compute import submission
from genesis_workbench.compute.job import Job, JobSpec, JobState
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._folder import JobFolders
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.errors import Unavailable

SPEC = JobSpec(name="x", command=("true",), key="k1")


def test_a_second_cancel_of_a_job_that_never_began_ends_nobody(tmp_path, monkeypatch):
    scheduler = LocalScheduler(tmp_path)
    monkeypatch.setattr(scheduler, "_start", lambda *_: None)  # it has not begun yet
    signals = []
    monkeypatch.setattr(os, "kill", lambda *given: signals.append(given))
    scheduler.submit(SPEC)
    for _ in range(3):
        scheduler.cancel("k1")
    assert signals == []
    assert scheduler.status("k1").state is JobState.CANCELED
    assert not wrapper.locked(tmp_path / "k1"), (
        "this process goes on, and keeps no lock of a job that is over"
    )


def test_arguments_are_compared_as_json_has_them(tmp_path):
    folders = JobFolders(tmp_path)
    spec = SPEC.model_copy(update={"arguments": {"shape": (3, 4), "by": {1: "a"}}})
    assert folders.publish(spec) == folders.publish(spec)


class Away:
    """A scheduler that is away at first."""

    def __init__(self, times):
        self.left = times

    def status(self, _key):
        self.left -= 1
        if self.left >= 0:
            raise Unavailable("Slurm's controller does not answer.")
        return Job(key="k1", name="x", state=JobState.COMPLETED, submitted="", started=None, folder="")


def test_a_wait_outlives_a_scheduler_that_is_away_for_a_moment(monkeypatch):
    monkeypatch.setattr(submission, "_AWAY_S", 0.01)
    monkeypatch.setattr(submission, "scheduler", lambda _facility: Away(3))
    job = Job(key="k1", name="x", state=JobState.ACTIVE, submitted="", started=None, folder="")
    assert submission.wait(job).state is JobState.COMPLETED
    monkeypatch.setattr(submission, "scheduler", lambda _facility: Away(10**9))
    with pytest.raises(Unavailable, match="goes on; wait again"):
        submission.wait(job, timeout_s=0.05)
