"""Jobs on this machine run once, obey their limits and say how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.compute.job import JobState, QueueFull
from genesis_workbench.compute.schedulers import local, wrapper
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound

COUNT = "import pathlib; p = pathlib.Path({file!r}); p.open('a').write('x')"


@pytest.fixture
def scheduler(tmp_path):
    yield LocalScheduler(tmp_path / "jobs")
    for watcher in local._watchers:
        watcher.wait(timeout=30)  # nothing goes on after its test


def python(code, **fields):
    return JobSpec(name="test", command=(sys.executable, "-c", code), **fields)


def wait(scheduler, key, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not (job := scheduler.status(key)).state.final:
        assert time.monotonic() < deadline, f"still {job.state}"
        time.sleep(0.05)
    return job


def test_a_job_reads_its_arguments_and_leaves_a_result(scheduler):
    code = "import json; a = json.load(open('arguments.json')); json.dump({'sum': sum(a)}, open('result.json', 'w'))"
    spec = python(code, arguments=[1, 2, 3])
    scheduler.submit(spec)
    job = wait(scheduler, spec.key)
    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)
    assert scheduler.result(spec.key) == {"sum": 6}


def test_one_key_runs_once_however_often_it_is_submitted(scheduler, tmp_path):
    spec = python(COUNT.format(file=str(tmp_path / "ran")))
    for _ in range(5):
        scheduler.submit(spec)
    wait(scheduler, spec.key)
    LocalScheduler(scheduler.folder).submit(spec)
    assert (tmp_path / "ran").read_text() == "x"


def test_a_submission_killed_between_intent_and_start_runs_once_when_repeated(scheduler, tmp_path):
    spec = python(COUNT.format(file=str(tmp_path / "ran")))
    killed = (
        "import os, signal, sys, pathlib\n"
        "from genesis_workbench.compute import JobSpec\n"
        "from genesis_workbench.compute.schedulers.local import LocalScheduler\n"
        "LocalScheduler._start = lambda self, *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "LocalScheduler(pathlib.Path(sys.argv[1])).submit(JobSpec.model_validate_json(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", killed, str(scheduler.folder), spec.model_dump_json()]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert scheduler.status(spec.key).state is JobState.QUEUED
    scheduler.submit(spec)
    assert wait(scheduler, spec.key).state is JobState.COMPLETED
    assert (tmp_path / "ran").read_text() == "x"


def test_a_job_whose_watcher_died_before_it_began_is_started_by_whoever_looks(
    scheduler, tmp_path, monkeypatch
):
    spec = python(COUNT.format(file=str(tmp_path / "ran")))
    monkeypatch.setattr(LocalScheduler, "_start", lambda *_: None)
    scheduler.submit(spec)
    monkeypatch.undo()
    assert scheduler.status(spec.key).state is JobState.QUEUED  # it may still be about to start
    monkeypatch.setattr(local, "_WAKE_S", 0.0)
    assert wait(scheduler, spec.key).state is JobState.COMPLETED
    assert (tmp_path / "ran").read_text() == "x"  # however many were started, one did the work


def test_another_job_under_the_same_key_is_a_conflict(scheduler):
    spec = python("pass")
    scheduler.submit(spec)
    with pytest.raises(Conflict, match="belongs to another job"):
        scheduler.submit(spec.model_copy(update={"name": "other"}))


def test_a_job_that_fails_says_its_last_words(scheduler):
    spec = python("raise SystemExit('no beam')")
    scheduler.submit(spec)
    job = wait(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert "no beam" in job.reason
    with pytest.raises(NotFound):
        scheduler.result(spec.key)


def test_walltime_and_memory_are_limits(scheduler):
    slow = python("import time; time.sleep(60)", walltime_s=0.5)
    big = python(
        "x = bytearray(300 * 2**20); import time; time.sleep(60)",
        resources=Resources(memory_bytes=100 * 2**20),
    )
    scheduler.submit(slow)
    scheduler.submit(big)
    assert "longer than its 0.5 s" in wait(scheduler, slow.key).reason
    assert "bytes of memory" in wait(scheduler, big.key).reason


def test_cancel_ends_the_job_and_its_children(scheduler, tmp_path):
    marker = tmp_path / "child"
    spec = python(
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(marker)!r}).write_text(str(child.pid))\ntime.sleep(60)"
    )
    scheduler.submit(spec)
    while not (marker.exists() and marker.read_text()):
        time.sleep(0.05)
    scheduler.cancel(spec.key)
    assert wait(scheduler, spec.key).state is JobState.CANCELED
    child = int(marker.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_watcher_that_was_killed_is_not_taken_for_success(scheduler):
    spec = python("import time; time.sleep(60)")
    scheduler.submit(spec)
    while scheduler.status(spec.key).state is not JobState.ACTIVE:
        time.sleep(0.05)
    started = json.loads((scheduler.folder / spec.key / "started.json").read_text())
    watcher = psutil.Process(started["pid"])
    children = watcher.children()
    os.kill(watcher.pid, signal.SIGKILL)
    for child in children:
        child.kill()
    job = wait(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert "not known" in job.reason


def test_what_no_machine_here_can_hold_is_refused_before_it_is_queued(scheduler):
    with pytest.raises(InvalidInput, match="this machine has"):
        scheduler.submit(python("pass", resources=Resources(cpu_cores=1000)))


def test_a_machine_takes_a_few_jobs_for_each_core_and_the_others_when_those_have_ended(
    scheduler, monkeypatch
):
    monkeypatch.setattr(local, "_PLACES_A_CORE", 0)
    monkeypatch.setattr(local, "_LEAST_PLACES", 2)
    specs = [python("import time; time.sleep(60)") for _ in range(4)]
    jobs = scheduler.submit_all(specs)
    assert [job.state is JobState.NEW for job in jobs] == [False, False, True, True]
    assert "Jobs for 2 cores run here, as many as may" in jobs[2].reason
    with pytest.raises(QueueFull, match="Wait until some have ended"):
        LocalScheduler(scheduler.folder).submit(specs[2])
    assert scheduler.status(specs[2].key) is None  # nothing of it is left
    scheduler.cancel(specs[0].key)
    wait(scheduler, specs[0].key)
    until(lambda: submitted(scheduler, specs[2]))
    # A watcher that is killed holds its place no longer.
    until(lambda: scheduler.status(specs[1].key).state is JobState.ACTIVE)
    started = json.loads((scheduler.folder / specs[1].key / "started.json").read_text())
    watcher = psutil.Process(started["pid"])
    children = watcher.children()
    watcher.kill()
    for child in children:
        child.kill()
    until(lambda: submitted(scheduler, specs[3]))
    for spec in specs[2:]:
        scheduler.cancel(spec.key)
        wait(scheduler, spec.key)


def submitted(scheduler, spec):
    try:
        return scheduler.submit(spec)
    except QueueFull:
        return None


def until(true, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def test_a_key_cannot_leave_the_folder():
    with pytest.raises(ValueError, match="cannot be the name of a job"):
        python("pass", key="../outside")


def test_a_job_that_starts_while_it_is_looked_at_is_not_taken_for_dead(scheduler, monkeypatch):
    spec = python("import time; time.sleep(1)")
    locked = wrapper.locked

    def starts_meanwhile(folder):
        before = locked(folder)
        until = time.monotonic() + 30
        while not (folder / "started.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        return before

    monkeypatch.setattr(wrapper, "locked", starts_meanwhile)
    assert not scheduler.submit(spec).state.final
    monkeypatch.undo()
    assert wait(scheduler, spec.key).state is JobState.COMPLETED
