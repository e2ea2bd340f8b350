"""Jobs at a facility that fails in every way that its API knows."""

from __future__ import annotations

import base64
import json
import logging
import signal
import subprocess
import sys
import time

import pytest

from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.compute.iri import client
from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.core.errors import (
    Conflict,
    InvalidInput,
    PermissionRefused,
    SignInRequired,
    Unavailable,
)
from genesis_workbench.core.site import ComputeSection, IriSection
from genesis_workbench.testing.iri import IriFacility

COUNT = "import pathlib; pathlib.Path('starts').open('a').write('x')"


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


@pytest.fixture
def facility(tmp_path):
    with IriFacility(tmp_path / "facility") as made:
        yield made


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text("first-token\n")
    return file


@pytest.fixture
def site(facility, token, version):
    iri = IriSection(
        url=facility.url,
        version=version,
        folder=str(facility.folder / "jobs"),
        token_file=str(token),
        allow_private=True,
        poll_s=0.01,
    )
    return ComputeSection(scheduler="iri", iri=iri, account="proj")


@pytest.fixture
def scheduler(tmp_path, site):
    return IriScheduler(tmp_path / "jobs", site)


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited for, without waiting for more than a moment of each."""
    found = []

    def wait(seconds):
        found.append(seconds)
        time.sleep(min(seconds, 0.01))

    monkeypatch.setattr(client, "pause", wait)
    return found


def python(code, **fields):
    return JobSpec(name="test", command=(sys.executable, "-c", code), **fields)


def counted(**fields):
    return python(COUNT, stage_out=("starts",), **fields)


def ended(scheduler, spec, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (job := scheduler.status(spec.key)).state.final:
        assert time.monotonic() < deadline, f"still {job}"
        time.sleep(0.02)
    return job


def runs_once(scheduler, spec):
    assert ended(scheduler, spec).state is JobState.COMPLETED, scheduler.status(spec.key)
    assert scheduler.output(spec.key, "starts").read_text() == "x"


# What the facility asks a client to wait for


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


# Once


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


# The token


def test_a_token_renewed_on_disk_in_the_middle(facility, scheduler, token):
    def renew():
        facility.tokens = {"second-token": "alice"}
        token.write_text("second-token\n")

    facility.fail("files:upload", 401, detail="expired", effect=renew)
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    assert facility.asked[-1].headers["authorization"] == "Bearer second-token"


def test_an_expired_token_is_told_with_what_to_do(facility, scheduler, token):
    spec = python("import time; time.sleep(1)")
    scheduler.submit(spec)
    facility.tokens = {"second-token": "alice"}
    time.sleep(0.02)  # longer than what was seen is kept
    with pytest.raises(SignInRequired, match=r"does not accept the token.*Sign in at the facility again"):
        scheduler.status(spec.key)
    token.write_text("second-token")
    assert ended(scheduler, spec).state is JobState.COMPLETED


def test_what_is_forbidden_is_told_and_can_be_asked_for_again(facility, scheduler):
    facility.fail("launchJob", 403, detail="no allocation for proj")
    spec = counted()
    with pytest.raises(PermissionRefused, match=r"no allocation for proj.*ask the facility"):
        scheduler.submit(spec)
    assert scheduler.status(spec.key).reason == "It has not been submitted yet."
    scheduler.submit(spec)
    runs_once(scheduler, spec)


@pytest.mark.parametrize("content", [None, "", "two words", '{"IRI_API_TOKEN": 1}', "x" * 20_000])
def test_a_token_that_is_none(scheduler, token, content):
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    with pytest.raises(SignInRequired, match=str(token)) as raised:
        scheduler.submit(counted())
    assert not content or content not in str(raised.value)


def test_a_token_as_the_facilities_own_notebooks_keep_it(scheduler, token):
    token.write_text(json.dumps({"IRI_API_TOKEN": "first-token"}))
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)


def test_the_token_is_in_no_file_log_message_or_address(facility, scheduler, token, site, caplog):
    caplog.set_level(logging.DEBUG)
    secret = base64.b64encode(b"a secret that must not leave" * 3).decode()
    token.write_text(secret)
    facility.tokens = {secret: "alice"}
    spec = counted()
    facility.fail("files:chmod", 400, detail=f"the token {secret} is odd")
    with pytest.raises(InvalidInput) as raised:
        scheduler.submit(spec)
    assert secret not in str(raised.value) + repr(raised.value) + raised.value.detail
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    texts = [
        repr(scheduler),
        repr(scheduler._facility.client),
        scheduler.render(spec),
        site.model_dump_json(),
        caplog.text,
    ]
    texts += [each.path for each in facility.asked]
    texts += [each.body.decode("latin-1") for each in facility.asked]
    for folder in (scheduler.folder, facility.folder):
        texts += [file.read_text("latin-1") for file in folder.rglob("*") if file.is_file()]
    assert len(texts) > 20
    assert not [text for text in texts if secret in text]


def test_the_token_goes_to_no_other_origin(facility, scheduler, tmp_path, version):
    with IriFacility(tmp_path / "elsewhere") as other:
        facility.public = other.url  # its links lead there now
        spec = counted()
        with pytest.raises(InvalidInput, match="another origin, where its token must not go"):
            scheduler.submit(spec)
        assert not other.asked


def test_a_redirect_is_not_followed(facility, scheduler):
    facility.fail("launchJob", 307)
    with pytest.raises(Unavailable, match="It redirects, which is not followed with a token"):
        scheduler.submit(counted())


# What cannot run


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


# On the way back


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


def test_a_facility_that_forgot_the_job(facility, scheduler):
    spec = python("import time; time.sleep(60)")
    scheduler.submit(spec)
    job = facility.machine.jobs.popitem()[1]
    facility.machine.end(job)
    time.sleep(0.02)
    found = scheduler.status(spec.key)
    assert found.state is JobState.FAILED
    assert "no longer knows it; whether the work was done is not known" in found.reason


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


# Where it connects


def test_a_private_address_needs_the_sites_word(site):
    plain = site.iri.model_copy(update={"allow_private": False})
    with pytest.raises(InvalidInput, match="not a public address"):
        client.Client(plain).call("GET", client.Client(plain).at("facility"), what="describe itself")


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_a_token_needs_encryption_beyond_this_machine(site):
    with pytest.raises(InvalidInput, match="has to begin with https://"):
        client.Client(site.iri.model_copy(update={"url": "http://facility.example.gov"}))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://api.example.gov", "https://api.example.gov/api/v2"),
        ("https://api.example.gov/", "https://api.example.gov/api/v2"),
        ("https://api.example.gov/iri/", "https://api.example.gov/iri/v2"),
        ("https://api.example.gov:8443/api", "https://api.example.gov:8443/api/v2"),
    ],
)
def test_addresses(url, root):
    made = client.Client(IriSection(url=url))
    assert made.at("facility") == f"{root}/facility"
    assert str(made.follow("/api/v2/x")) == str(made.root.join("/api/v2/x"))


def test_links_written_behind_a_proxy_keep_the_encryption():
    made = client.Client(IriSection(url="https://api.example.gov"))
    assert str(made.follow("http://api.example.gov/api/v2/task/1")) == "https://api.example.gov/api/v2/task/1"
    for link in (
        "https://evil.example/api",
        "https://api.example.gov:444/x",
        "file:///etc/passwd",
        "//evil.example/x",
    ):
        with pytest.raises(InvalidInput):
            made.follow(link)
