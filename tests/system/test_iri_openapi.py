"""Every request of the iri scheduler against the published OpenAPI documents, checked by a peer made from them.

Prism (npm: @stoplight/prism-cli) stands between the scheduler and our facility and refuses what either of them says
against the document. The documents are not part of the project: they are read where they lie beside it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.compute.iri.facility import Facility
from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.core.errors import Unavailable
from genesis_workbench.core.site import ComputeSection, IriSection
from genesis_workbench.testing.iri import IriFacility

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT.parent / "shared/iri"
pytestmark = pytest.mark.slow  # each document takes the peer 15 s to read
PRISM = "@stoplight/prism-cli@5.14.2"


def needed(missing):
    """Skip, or fail where it is required, naming what is missing."""
    if os.environ.get("REQUIRE_PRISM") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def prism():
    """The program, installed by npm into a folder that git ignores."""
    if not DOCUMENTS.is_dir():
        needed("../shared/iri is missing: the published OpenAPI documents of the IRI Facility API")
    folder = ROOT / "build/prism"
    program = folder / "node_modules/.bin/prism"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            needed("npm is missing: apt-get install npm")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PRISM]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
        except subprocess.TimeoutExpired:
            needed(f"npm could not install {PRISM} within 150 s")
        if done.returncode:
            needed(f"npm could not install {PRISM}: {done.stderr[-500:]}")
    return program


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


@pytest.fixture
def facility(prism, version, tmp_path):
    """Our facility behind the checks of the document of its version."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with IriFacility(tmp_path / "facility", public=f"http://127.0.0.1:{port}") as made:
        document = DOCUMENTS / f"openapi-{version}.yaml"
        command = [
            str(prism),
            "proxy",
            "--errors",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            str(document),
            made.url,
        ]
        with (tmp_path / "prism.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 90
            while not _answers(port):
                assert process.poll() is None, (tmp_path / "prism.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "prism.log").read_text()
                time.sleep(0.1)
            made.asked.clear()
            yield made
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def scheduler(facility, version, tmp_path):
    (tmp_path / "token").write_text("first-token")
    iri = IriSection(
        url=facility.public,
        version=version,
        folder=str(facility.folder / "jobs"),
        token_file=str(tmp_path / "token"),
        allow_private=True,
        prologue=["umask 077"],
        poll_s=0.01,
    )
    site = ComputeSection(scheduler="iri", iri=iri, account="proj", queue="debug")
    return IriScheduler(tmp_path / "jobs", site)


def ended(scheduler, spec):
    deadline = time.monotonic() + 60
    while not (job := scheduler.status(spec.key)).state.final:
        assert time.monotonic() < deadline, f"still {job}"
        time.sleep(0.05)
    return job


def python(code, **fields):
    return JobSpec(name="test", command=(sys.executable, "-c", code), **fields)


def test_everything_that_the_scheduler_says_is_in_the_document(facility, scheduler, version, tmp_path):
    (tmp_path / "in.txt").write_text("7")
    full = python(
        "open('result.json', 'w').write(open('in/in.txt').read()); import sys; sys.stderr.write('x' * 6 * 2**20)",
        arguments=[1, {"a": None}],
        environment={"OWN": "yes"},
        stage_in={"in/in.txt": str(tmp_path / "in.txt")},
        stage_out=("more/out.txt",),
        resources=Resources(nodes=1, cpu_cores=2, memory_bytes=2**30, exclusive=True),
        image="registry.example/image@sha256:0",
        walltime_s=90.5,
        warning_s=10,
    )
    facility.lose_answer("launchJob")
    with pytest.raises(Unavailable, match="socket hang up"):  # what Prism makes of it
        scheduler.submit(full)
    scheduler.submit(full)
    assert ended(scheduler, full).state is JobState.COMPLETED
    assert scheduler.result(full.key) == 7

    many = python("pass", resources=Resources(nodes=2, processes_per_node=2))
    scheduler.submit(many)
    assert ended(scheduler, many).state is JobState.COMPLETED

    long = python("import time; time.sleep(60)")
    scheduler.submit(long)
    scheduler.cancel(long.key)
    assert ended(scheduler, long).state is JobState.CANCELED

    assert scheduler.queues()
    if version == "v2":
        own = scheduler._site.iri.model_copy(update={"folder": ""})
        assert Facility(own).work_folder() == f"{facility.folder}/alice/genesis-jobs"
    assert scheduler._facility._all_resources()
    scheduler._facility.about()
    scheduler._facility.signed_in()
    said = {each.operation for each in facility.asked}
    assert said >= {
        "getFacility", "getProjects", "getComputeResources", "getFilesystemResources", "launchJob", "getJob", "getJobs",
        "cancelJob", "getResources", "getTask", "files:stat", "files:mkdir", "files:chmod", "files:upload", "files:download", "files:tail",
    }  # fmt: skip
    assert "none" not in said


def test_the_peer_made_from_the_document_refuses_what_is_not_in_it(facility, version):
    with httpx.Client(base_url=facility.public, headers={"Authorization": "Bearer first-token"}) as http:
        wrong = http.post(f"/api/{version}/compute/job/x", json={"executable": "/bin/true", "walltime": 5})
        assert wrong.status_code == 422
        assert not facility.machine.jobs
        assert http.get(f"/api/{version}/facility").status_code == 200
        assert http.get(f"/api/{version}/nonsense").status_code == 404
