"""A job runs once at a facility, whatever is lost, slow or killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.core.errors import (
    Conflict,
    PermissionRefused,
    Unavailable,
)
from integration.iri.jobs import counted, ended, python, runs_once


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_facility_is_given_the_time_it_asks_for(facility, scheduler, waits, status):
    facility.fail("launchJob", status, retry_after=7, times=2)
    spec = counted()
    scheduler.submit(spec)
    assert waits.count(7) == 2
    runs_once(scheduler, spec)


def test_patience_ends(facility, scheduler, waits):
    facility.fail("launchJob", 503, times=100)
    spec = counted()
    with pytest.raises(Unavailable, match=r"could not submit the job .* \(status 503\).*Try again later"):
        scheduler.submit(spec)
    assert facility.count("launchJob") == 6
    between = [wait for wait in waits if wait > 0.1]  # the rest is for tasks
    assert len(set(between)) == len(between) == 5  # each with its own jitter
    facility._faults.clear()
    scheduler.submit(spec)
    runs_once(scheduler, spec)


def test_a_wait_beyond_all_patience_is_not_waited_for(facility, scheduler, waits):
    facility.fail("launchJob", 429, retry_after=86400)
    with pytest.raises(Unavailable, match="status 429"):
        scheduler.submit(counted())
    assert 86400 not in waits


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_a_submission_still_in_flight_is_asked_for_again(facility, scheduler, waits):
    facility.fail("launchJob", 409, retry_after=2, detail="already in progress")
    spec = counted()
    scheduler.submit(spec)
    assert 2 in waits
    sent = [each for each in facility.asked if each.operation == "launchJob"]
    assert len({each.headers["idempotency-key"] for each in sent}) == 1
    assert len({each.body for each in sent}) == 1
    runs_once(scheduler, spec)


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_lost_after_the_job_was_taken(facility, scheduler, times):
    facility.lose_answer("launchJob", times=times)
    spec = counted()
    scheduler.submit(spec)
    assert len(facility.machine.jobs) == 1
    runs_once(scheduler, spec)


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_lost_where_the_list_of_jobs_is_behind(facility, scheduler, version, times):
    facility.hides_jobs = True
    facility.lose_answer("launchJob", times=times)
    spec = counted()
    scheduler.submit(spec)
    facility.hides_jobs = False
    runs_once(scheduler, spec)
    # Version 2 replays the first answer. Version 1 has taken each, and all but one copy ended at once.
    assert len(facility.machine.jobs) == {"v1": times + 1, "v2": 1}[version]


def test_a_copy_whose_first_is_not_listed_goes_on_until_it_is(facility, scheduler, version):
    facility.forgets_keys = facility.hides_jobs = True
    facility.lose_answer("launchJob", times={"v1": 1, "v2": 2}[version])  # of version 2's, one is a refusal
    spec = python("import time; time.sleep(1); open('result.json', 'w').write('1')")
    scheduler.submit(spec)
    first, second = facility.machine.jobs.values()
    until = time.monotonic() + 30
    while "failed" not in (first.state, second.state) and time.monotonic() < until:
        time.sleep(0.01)
    if second.state == "failed":  # else the second one was faster, and is the one that runs
        time.sleep(0.02)
        found = scheduler.status(spec.key)
        assert (found.state, found.reason) == (
            JobState.ACTIVE,
            "Another copy of it took its place; the facility does not list that one yet.",
        )
    facility.hides_jobs = False
    assert ended(scheduler, spec).state is JobState.COMPLETED
    assert scheduler.result(spec.key) == 1


def test_a_refusal_after_a_lost_answer_forgets_nothing(facility, scheduler, token):
    facility.lose_answer("launchJob", effect=lambda: facility.fail("getJobs", 403, detail="not now"))
    spec = counted()
    with pytest.raises(PermissionRefused, match="not now"):
        scheduler.submit(spec)
    assert "Submit it again: it runs once" in scheduler.status(spec.key).reason
    scheduler.submit(spec)
    assert len(facility.machine.jobs) == 1
    runs_once(scheduler, spec)


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_a_facility_without_a_memory_for_keys(facility, scheduler):
    facility.forgets_keys = True
    facility.lose_answer("launchJob", times=2)
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)


def test_when_every_answer_is_lost_it_can_be_submitted_again(facility, scheduler, waits):
    facility.hides_jobs = True
    facility.lose_answer("launchJob", times=3)
    spec = counted()
    with pytest.raises(Unavailable, match="broke off the connection"):
        scheduler.submit(spec)
    assert "Submit it again: it runs once" in scheduler.status(spec.key).reason
    facility.hides_jobs = False
    scheduler.submit(spec)
    runs_once(scheduler, spec)


def test_cancel_after_every_answer_was_lost(facility, scheduler, waits):
    facility.hides_jobs = facility.machine.hold = True
    facility.lose_answer("launchJob", times=3)
    spec = counted()
    with pytest.raises(Unavailable):
        scheduler.submit(spec)
    scheduler.cancel(spec.key)
    assert scheduler.status(spec.key).state is JobState.CANCELED
    facility.machine.hold = False
    for job in list(facility.machine.jobs.values()):
        until = time.monotonic() + 30
        while job.state not in ("failed", "completed") and time.monotonic() < until:
            time.sleep(0.02)
        assert (job.state, job.exit_code) == ("failed", 113)  # its place was taken
    assert not (facility.folder / "jobs" / spec.key / "starts").exists()
    assert scheduler.submit(spec).state is JobState.CANCELED


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submitter_killed_around_the_request(facility, scheduler, site, moment):
    spec = counted()
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    code = (
        "import os, pathlib, signal, sys\n"
        "from genesis_workbench.compute import JobSpec\n"
        "from genesis_workbench.compute.iri.facility import Facility\n"
        "from genesis_workbench.compute.schedulers.iri import IriScheduler\n"
        "from genesis_workbench.core.site import ComputeSection\n"
        "submit = Facility.submit\n"
        "def killed(self, *arguments):\n"
        f"    {kill if moment == 'before' else 'submit(self, *arguments)'}\n"
        f"    {kill}\n"
        "Facility.submit = killed\n"
        "site = ComputeSection.model_validate_json(sys.argv[2])\n"
        "IriScheduler(pathlib.Path(sys.argv[1]), site).submit(JobSpec.model_validate_json(sys.argv[3]))\n"
    )
    words = [str(scheduler.folder), site.model_dump_json(), spec.model_dump_json()]
    done = subprocess.run([sys.executable, "-c", code, *words], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(facility.machine.jobs) == (moment == "after")
    assert scheduler.status(spec.key).state is JobState.NEW
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    assert len(facility.machine.jobs) == 1


def test_a_submitter_killed_while_the_facility_answers(facility, scheduler, site):
    """The request is taken, the answer under way: killed from outside, by the facility itself."""
    spec = counted()
    code = (
        "import pathlib, sys\n"
        "from genesis_workbench.compute import JobSpec\n"
        "from genesis_workbench.compute.schedulers.iri import IriScheduler\n"
        "from genesis_workbench.core.site import ComputeSection\n"
        "site = ComputeSection.model_validate_json(sys.argv[2])\n"
        "IriScheduler(pathlib.Path(sys.argv[1]), site).submit(JobSpec.model_validate_json(sys.argv[3]))\n"
    )
    words = [str(scheduler.folder), site.model_dump_json(), spec.model_dump_json()]
    running = []
    facility.lose_answer("launchJob", effect=lambda: running[0].send_signal(signal.SIGKILL))
    running.append(subprocess.Popen([sys.executable, "-c", code, *words]))
    assert running[0].wait(timeout=60) == -signal.SIGKILL
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    assert len(facility.machine.jobs) == 1


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_a_key_that_belongs_to_another_body_is_a_conflict(facility, scheduler, site, tmp_path):
    spec = counted()
    scheduler.submit(spec)
    elsewhere = site.model_copy(update={"account": "other"})
    with pytest.raises(Conflict, match=r"another job.*Use a key of its own"):
        IriScheduler(tmp_path / "others", elsewhere).submit(spec)
    runs_once(scheduler, spec)


def test_a_request_is_repeated_as_it_was_first_sent(facility, scheduler, site, waits):
    facility.hides_jobs = True
    facility.lose_answer("launchJob", times=3)
    spec = counted()
    with pytest.raises(Unavailable):
        scheduler.submit(spec)
    changed = site.model_copy(update={"account": "other"})
    IriScheduler(scheduler.folder, changed).submit(spec)
    assert len({each.body for each in facility.asked if each.operation == "launchJob"}) == 1
    facility.hides_jobs = False
    runs_once(scheduler, spec)
