"""What cannot run is refused before it is sent; what ran comes back with its files and its reasons."""

from __future__ import annotations

import json
import time

import pytest

from genesis_workbench.compute import Resources
from genesis_workbench.compute.iri import client
from genesis_workbench.compute.job import JobState, QueueFull
from genesis_workbench.compute.schedulers import iri
from genesis_workbench.compute.schedulers._full import Full
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.core.errors import (
    InvalidInput,
    Unavailable,
)
from integration.iri.jobs import counted, ended, python, runs_once


@pytest.mark.parametrize("version", ["v2"], indirect=True)
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"resources": Resources(nodes=9)}, "has 4 machines and you asked for 9. Ask for at most 4"),
        ({"resources": Resources(cpu_cores=9)}, "has 8 cores and you asked for 9 on one. Ask for at most 8"),
        ({"resources": Resources(memory_bytes=2**40)}, "Ask for at most 17179869184 bytes"),
        ({"resources": Resources(gpus=1)}, "have 0 accelerators each and you asked for 1"),
    ],
)
def test_what_no_resource_can_run_is_refused_before_it_is_sent(facility, scheduler, asked, words):
    with pytest.raises(InvalidInput, match=words):
        scheduler.submit(counted(**asked))
    assert not [each for each in facility.asked if each.method == "POST" and "resources" not in each.path]


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_another_resource_that_could_is_named_and_used(facility, scheduler, site):
    big = {
        **facility.resources["pioneer-compute"],
        "name": "Voyager",
        "attributes": {"configured_node_count": 64},
    }
    big["links"] = {"iri:submit-job": {"href": "/api/v2/compute/job/voyager"}}
    facility.resources["voyager"] = big
    mine = site.model_copy(update={"iri": site.iri.model_copy(update={"resource": "Pioneer"})})
    scheduler = IriScheduler(scheduler.folder, mine)
    with pytest.raises(InvalidInput, match="Or use the queue 'Voyager', which can"):
        scheduler.submit(counted(resources=Resources(nodes=9)))
    assert [(each.name, each.default, each.nodes) for each in scheduler.queues()] == [
        ("Pioneer", True, 4),
        ("Voyager", False, 64),
    ]
    spec = counted(queue="Voyager")
    assert scheduler.submit(spec).queue == "Voyager"
    assert [each.path for each in facility.asked if each.operation == "launchJob"] == [
        "/api/v2/compute/job/voyager"
    ]
    runs_once(scheduler, spec)


def test_a_resource_that_is_down_takes_nothing(facility, scheduler):
    facility.resources["pioneer-compute"]["current_status"] = "down"
    spec = counted()
    with pytest.raises(Unavailable, match="'Pioneer' of the facility is down; nothing was submitted"):
        scheduler.submit(spec)
    assert scheduler.status(spec.key) is None


def test_a_resource_that_is_not_there_is_answered_with_those_that_are(scheduler, site):
    mine = site.model_copy(update={"iri": site.iri.model_copy(update={"resource": "Pionner"})})
    with pytest.raises(InvalidInput, match="no resource 'Pionner' for compute: it has Pioneer"):
        IriScheduler(scheduler.folder, mine).submit(counted())


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_where_the_site_names_no_folder_it_is_the_persons_own(facility, scheduler, site):
    mine = site.model_copy(update={"iri": site.iri.model_copy(update={"folder": ""})})
    scheduler = IriScheduler(scheduler.folder, mine)
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    folder = facility.folder / "alice/genesis-jobs" / spec.key
    assert (folder / "starts").read_text() == "x"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "(your folder at the facility)" in scheduler.render(spec)


@pytest.mark.parametrize("version", ["v1"], indirect=True)
@pytest.mark.parametrize(
    ("folder", "words"), [("", "set compute.iri.folder"), ("jobs", "has to begin with '/'")]
)
def test_a_folder_that_cannot_be(scheduler, site, folder, words):
    mine = site.model_copy(update={"iri": site.iri.model_copy(update={"folder": folder})})
    with pytest.raises(InvalidInput, match=words):
        IriScheduler(scheduler.folder, mine).submit(counted())


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_facility_without_lists_for_each_use_is_asked_for_all(facility, scheduler, status):
    facility.fail("getComputeResources", status)
    facility.fail("getFilesystemResources", status)
    spec = counted()
    scheduler.submit(spec)
    assert facility.count("getResources") == 2
    runs_once(scheduler, spec)


def test_a_file_that_is_too_large_for_the_api_is_refused_before_it_is_sent(facility, scheduler, tmp_path):
    (tmp_path / "big").write_bytes(bytes(6 * 2**20))
    with pytest.raises(
        InvalidInput, match=r"'big' has 6291456 bytes; the facility's API takes at most 5242880"
    ):
        scheduler.submit(counted(stage_in={"big": str(tmp_path / "big")}))
    assert facility.count("files:upload") == 0


def test_a_result_that_is_too_large_is_told_and_the_rest_comes(facility, scheduler):
    spec = python("open('big', 'wb').write(bytes(6 * 2**20)); print('done')", stage_out=("big",))
    scheduler.submit(spec)
    job = ended(scheduler, spec)
    assert job.state is JobState.COMPLETED
    assert (
        f"'big' has 6291456 bytes, more than the facility's API sends; it stays in {facility.folder}"
        in job.reason
    )
    assert scheduler.output(spec.key, "stdout").read_text() == "done\n"


def test_of_output_that_is_too_large_the_end_comes(facility, scheduler):
    spec = python("import sys; sys.stderr.write('x' * 6 * 2**20 + '\\nthe last word'); sys.exit(3)")
    scheduler.submit(spec)
    job = ended(scheduler, spec)
    assert job.state is JobState.FAILED
    assert "Its last words: the last word" in job.reason
    assert "Of 'stderr' (6291470 bytes) only the end was brought back" in job.reason
    assert scheduler.output(spec.key, "stderr").stat().st_size == 2**20


def test_files_that_could_not_be_brought_are_brought_when_asked_for(facility, scheduler):
    facility.machine.hold = True
    spec = python("open('result.json', 'w').write('7')")
    scheduler.submit(spec)
    facility.fail("files:stat", 500, detail="disk trouble")
    facility.machine.hold = False
    job = ended(scheduler, spec)
    assert job.state is JobState.COMPLETED
    assert "Its files could not be brought back" in job.reason
    assert "disk trouble" in job.reason
    assert scheduler.result(spec.key) == 7


def test_files_that_could_not_be_taken_there_start_nothing_and_go_again(facility, scheduler):
    facility.fail("files:upload", 500)
    spec = counted()
    with pytest.raises(Unavailable, match=r"could not upload .*arguments\.json"):
        scheduler.submit(spec)
    assert not facility.machine.jobs
    scheduler.submit(spec)
    runs_once(scheduler, spec)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_jobs_for_which_the_facility_has_no_room_wait_and_the_others_go_on(facility, scheduler, status):
    words = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    facility.fail("launchJob", status, detail=words)
    specs = [counted() for _ in range(3)]
    with pytest.raises(QueueFull, match="QOSMaxSubmitJobPerUserLimit"):
        scheduler.submit_all(specs)
    asked = len(facility.asked)
    with pytest.raises(QueueFull, match="QOSMaxSubmitJobPerUserLimit"):
        scheduler.submit_all(specs)
    assert len(facility.asked) == asked  # it is left alone for a while
    scheduler._full = Full(0.0)
    submit = scheduler.submit

    def then_full(spec):
        if spec is specs[2]:
            facility.fail("launchJob", status, detail=words)
        return submit(spec)

    scheduler.submit = then_full
    jobs = scheduler.submit_all(specs)
    assert [bool(job.native_id) for job in jobs] == [True, True, False]
    assert jobs[2].state is JobState.NEW
    assert "not been submitted yet" in jobs[2].reason
    scheduler.submit = submit
    scheduler.submit_all(specs)
    for spec in specs:
        runs_once(scheduler, spec)


def test_a_facility_that_does_not_find_a_job_for_a_moment(facility, scheduler):
    spec = counted()
    scheduler.submit(spec)
    (number, job), *_ = facility.machine.jobs.items()
    del facility.machine.jobs[number]
    time.sleep(0.02)
    now = scheduler.status(spec.key)
    assert not now.state.final
    assert now.reason == "The facility does not find it at the moment."
    facility.machine.jobs[number] = job
    runs_once(scheduler, spec)
    assert not (scheduler.folder / spec.key / "missed.json").exists()


def test_a_facility_that_forgot_the_job(facility, scheduler, monkeypatch):
    monkeypatch.setattr(iri, "_FORGOTTEN_S", 0.0)
    spec = python("import json, time; json.dump(7, open('result.json', 'w')); time.sleep(60)")
    scheduler.submit(spec)
    ((_, job),) = facility.machine.jobs.items()
    left = facility.folder / "jobs" / spec.key / "result.json"
    deadline = time.monotonic() + 60
    while not (left.exists() and left.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    facility.machine.jobs.clear()
    facility.machine.end(job)
    time.sleep(0.02)
    assert not scheduler.status(spec.key).state.final
    time.sleep(0.02)
    found = scheduler.status(spec.key)
    assert found.state is JobState.FAILED
    assert "no longer knows it; whether the work was done is not known" in found.reason
    assert "The result that it left was brought back" in found.reason
    assert scheduler.result(spec.key) == 7


def test_held_and_unknown_states(facility, scheduler):
    facility.machine.hold = True
    spec = counted()
    scheduler.submit(spec)
    (job,) = facility.machine.jobs.values()
    job.state, job.message = "held", "maintenance until noon"
    time.sleep(0.02)
    found = scheduler.status(spec.key)
    assert (found.state, found.reason) == (
        JobState.QUEUED,
        "The facility holds it back. maintenance until noon",
    )
    job.state = "levitating"
    time.sleep(0.02)
    with pytest.raises(Unavailable, match="'levitating', which is not one of the API's"):
        scheduler.status(spec.key)


def test_what_is_slow_is_waited_for_and_what_is_too_slow_is_not(facility, scheduler, site):
    facility.slow("launchJob", 0.3)
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    impatient = client.Client(site.iri, retries=0, timeout_s=0.05)
    facility.slow("getProjects", 0.5)
    with pytest.raises(Unavailable, match="did not answer in time"):
        impatient.call("GET", impatient.at("account/projects"), what="list your projects")


def test_several_processes_make_one_claim(facility, scheduler):
    code = "import os; open('rank-' + os.environ['PSIJ_RANK'], 'w').close()"
    names = tuple(f"rank-{rank}" for rank in range(4))
    spec = python(code, resources=Resources(nodes=2, processes_per_node=2), stage_out=names)
    scheduler.submit(spec)
    assert ended(scheduler, spec).state is JobState.COMPLETED
    assert [scheduler.output(spec.key, name).exists() for name in names] == [True] * 4
    (job,) = facility.machine.jobs.values()
    assert job.spec["launcher"] == "srun"


def test_a_job_is_warned_before_its_walltime(facility, scheduler):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open('warned', 'w').close(), sys.exit(3)))\n"
        "time.sleep(60)\n"
    )
    spec = python(code, walltime_s=30, warning_s=29, stage_out=("warned",))
    scheduler.submit(spec)
    assert ended(scheduler, spec).state is JobState.FAILED
    assert scheduler.output(spec.key, "warned").exists()


def test_rendering_asks_nobody_and_shows_the_request(facility, scheduler, version):
    shown = json.loads(scheduler.render(counted(queue="debug", walltime_s=90.5)))
    assert shown["body"]["attributes"] == {"duration": 91, "queue_name": "debug", "account": "proj"}
    assert ("Idempotency-Key" in shown["headers"]) == (version == "v2")
    assert not facility.asked
    assert not scheduler.folder.exists()
