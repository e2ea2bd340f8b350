"""Jobs on a real Kubernetes run once, say why they wait, and leave nothing to guess."""

from __future__ import annotations

import json

import pytest

from genesis_workbench.compute.job import JobSpec, JobState, Resources
from genesis_workbench.core.errors import Conflict, InvalidInput
from system.kubernetes.notebook import HOME, CellFailed, RemoteScheduler, may_see, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = Resources(memory_bytes=100 * 2**20)
COUNT = "open('ran', 'a').write('x')"


def compute_section(image, **fields):
    site = {
        "scheduler": "kubernetes",
        "image": image,
        "kubernetes": {"poll_s": 0.3, "job_memory_bytes": 256 * 2**20},
    }
    site["kubernetes"] |= fields.pop("kubernetes", {})
    return json.dumps(site | fields)


@pytest.fixture
def scheduler(notebook, image, tmp_path):
    """A scheduler in the notebook with no jobs of other tests."""
    scheduler = RemoteScheduler(
        notebook, f"{HOME}/state/jobs-{tmp_path.name}", compute_section(image), tmp_path
    )
    yield scheduler
    kubectl = notebook.kubectl
    kubectl("delete", "jobs", "--selector", "app.kubernetes.io/name=genesis-workbench", "--wait=false")
    until(lambda: not kubectl.names("pods"), 180)  # see `begun`: one may run to its own end


@pytest.fixture
def sees_nodes(kubectl):
    """The operator lets notebooks see machines and all pods."""
    take_back = may_see(kubectl, "nodes", "pods")
    yield
    take_back()


def python(code, **fields):
    fields = {"resources": SMALL} | fields
    return JobSpec(name="test", command=("python", "-c", code), **fields)


def ended(scheduler, key, timeout_s=90):
    return until(lambda: (job := scheduler.status(key)).state.final and job, timeout_s)


def says(scheduler, key, words, timeout_s=60):
    return until(lambda: words in (job := scheduler.status(key)).reason and job, timeout_s)


def begun(scheduler, key):
    """Wait until it runs and Kubernetes knows: a kubelet of 1.20 forgets to end a pod that is deleted in its first second."""
    until(lambda: scheduler.notebook.read(f"{scheduler.folder}/{key}/ran"))
    until(lambda: scheduler.status(key).state is JobState.ACTIVE)


def test_a_job_brings_arguments_and_files_in_and_results_and_files_out(scheduler, tmp_path):
    (tmp_path / "input.txt").write_text("iron")
    code = (
        "import json, os, pathlib\n"
        "metal = pathlib.Path('data/input.txt').read_text()\n"
        "pathlib.Path('out.txt').write_text(metal.upper())\n"
        "json.dump({'sum': sum(json.load(open('arguments.json'))), 'here': os.environ['HERE']}, open('result.json', 'w'))\n"
    )
    spec = python(
        code,
        arguments=[1, 2, 3],
        stage_in={"data/input.txt": str(tmp_path / "input.txt")},
        stage_out=("out.txt",),
        environment={"HERE": "yes"},
    )
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0), job
    assert scheduler.result(spec.key) == {"sum": 6, "here": "yes"}
    assert scheduler.output(spec.key, "out.txt").read_text() == "IRON"


def test_a_job_is_an_ordinary_user_without_a_token_and_sees_its_own_folder_alone(scheduler):
    code = (
        "import json, os, pathlib\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "def fails(path):\n"
        "    try: pathlib.Path(path).write_text('x')\n"
        "    except OSError as error: return error.strerror\n"
        "json.dump({'uid': os.getuid(), 'capabilities': status.split('CapEff:')[1].split()[0],\n"
        "  'no_new': status.split('NoNewPrivs:')[1].split()[0], 'seccomp': status.split('Seccomp:')[1].split()[0],\n"
        "  'etc': fails('/etc/x'), 'home': fails('/home/user/x'),\n"
        "  'token': pathlib.Path('/var/run/secrets/kubernetes.io').exists(),\n"
        "  'site': pathlib.Path('/home/user/site.toml').exists(), 'jobs': os.listdir('..'),\n"
        "  'hub': [name for name in os.environ if 'TOKEN' in name]}, open('result.json', 'w'))\n"
    )
    scheduler.notebook.write(f"{HOME}/site.toml", "name = 'secret'\n")
    spec = python(code)
    scheduler.submit(python("pass"))
    scheduler.submit(spec)
    assert ended(scheduler, spec.key).state is JobState.COMPLETED
    assert scheduler.result(spec.key) == {
        "uid": 1000,
        "capabilities": "0000000000000000",
        "no_new": "1",
        "seccomp": "2",
        "etc": "Read-only file system",
        "home": "Read-only file system",
        "token": False,
        "site": False,
        "jobs": [spec.key],
        "hub": [],
    }


def test_a_failing_job_says_its_last_words(scheduler):
    spec = python("raise SystemExit('the furnace is cold')")
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert "the furnace is cold" in job.reason


def test_one_key_runs_once_however_often_it_is_submitted(scheduler):
    spec = python(COUNT)
    for _ in range(3):
        scheduler.submit(spec)
    ended(scheduler, spec.key)
    scheduler.submit(spec)
    assert len(scheduler.notebook.kubectl.names("jobs")) == 1
    assert scheduler.output(spec.key, "ran").read_text() == "x"
    with pytest.raises(Conflict, match="another job"):
        scheduler.submit(python("pass", key=spec.key))


def test_many_jobs_are_each_itself_and_made_once(scheduler):
    code = "import json; json.dump(json.load(open('arguments.json')), open('result.json', 'w'))"
    specs = [python(code, arguments=number) for number in range(12)]
    made = scheduler.submit_all(specs)
    assert [job.native_id for job in scheduler.submit_all(specs)] == [job.native_id for job in made]
    assert len(scheduler.notebook.kubectl.names("jobs")) == 12
    for number, spec in enumerate(specs):
        assert ended(scheduler, spec.key, 150).state is JobState.COMPLETED
        assert scheduler.result(spec.key) == number


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submission_killed_around_the_request_runs_once_when_repeated(scheduler, moment):
    spec = python(f"{COUNT}; import time; time.sleep(3)")
    request = "create(self, *given)" if moment == "after" else "None"
    cell = (
        "import os, signal, subprocess, sys\n"
        f"code = {scheduler.cell('')!r} + '''\n"
        "import os, signal, sys\n"
        "from genesis_workbench.compute.kubernetes.api import Kubernetes\n"
        "create = Kubernetes.create\n"
        "def killed(self, *given):\n"
        f"    {request}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Kubernetes.create = killed\n"
        "make().submit(JobSpec.model_validate_json(sys.argv[1]))\n"
        "'''\n"
        f"subprocess.run([sys.executable, '-c', code, {spec.model_dump_json()!r}], timeout=60).returncode\n"
    )
    assert scheduler.notebook(cell) == -9
    assert len(scheduler.notebook.kubectl.names("jobs")) == (moment == "after")
    assert scheduler.status(spec.key).state is JobState.NEW
    scheduler.submit(spec)
    assert ended(scheduler, spec.key).state is JobState.COMPLETED
    assert len(scheduler.notebook.kubectl.names("jobs")) == 1
    assert scheduler.output(spec.key, "ran").read_text() == "x"


def test_a_pod_that_is_deleted_leaves_a_job_that_is_not_started_again(scheduler):
    spec = python(f"{COUNT}; import time; time.sleep(60)")
    scheduler.submit(spec)
    begun(scheduler, spec.key)
    kubectl = scheduler.notebook.kubectl
    kubectl("delete", "pod", *kubectl.names("pods"), "--grace-period=0", "--force")
    job = ended(scheduler, spec.key, 120)
    assert job.state is JobState.FAILED
    assert "not known" in job.reason
    assert scheduler.output(spec.key, "ran").read_text() == "x"


def test_a_job_that_may_go_on_is_started_again_after_its_pod_was_lost(scheduler):
    spec = python(f"{COUNT}; import time; time.sleep(60 if open('ran').read() == 'x' else 0)", requeue=True)
    scheduler.submit(spec)
    begun(scheduler, spec.key)
    kubectl = scheduler.notebook.kubectl
    kubectl("delete", "pod", *kubectl.names("pods"), "--wait=false")
    job = ended(scheduler, spec.key, 120)
    assert job.state is JobState.COMPLETED, job
    ran = scheduler.output(spec.key, "ran").read_text()
    started = scheduler.notebook.read(f"{scheduler.folder}/{spec.key}/started.json")
    assert (job.restarts, ran) == (1, "xx"), (job, started)


def test_a_job_is_canceled_while_it_runs_and_before_it_starts(scheduler):
    running, waiting = python("import time; time.sleep(300)"), python(COUNT, image="localhost/no-such:1")
    scheduler.submit(running)
    scheduler.submit(waiting)
    until(lambda: scheduler.status(running.key).started)
    for spec in (running, waiting):
        scheduler.cancel(spec.key)
        assert ended(scheduler, spec.key).state is JobState.CANCELED
    until(lambda: not scheduler.notebook.kubectl.names("pods"))
    assert scheduler.submit(waiting).state is JobState.CANCELED
    assert scheduler.notebook.kubectl.names("jobs") == []


def test_a_job_is_warned_then_ended_at_its_walltime(scheduler):
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: open('warned', 'w').close())\n"
        "while True: time.sleep(0.1)\n"
    )
    spec = python(code, walltime_s=4, warning_s=2)
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert "longer than its 4 s" in job.reason
    assert scheduler.output(spec.key, "warned").exists()


@pytest.mark.parametrize(
    "resources", [Resources(memory_bytes=150 * 2**20), Resources()], ids=["asked", "default"]
)
def test_too_much_memory_is_told_as_that(scheduler, resources):
    spec = python(
        "held = bytearray(2 * 2**30)\nfor i in range(0, len(held), 4096): held[i] = 1", resources=resources
    )
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert "memory" in job.reason, job
    assert "Ask for more" in job.reason


def test_a_wrapper_that_is_killed_for_its_memory_is_told_by_kubernetes(scheduler, notebook, image, tmp_path):
    """The limit holds for the pod as a whole, so the kernel may choose the wrapper."""
    small = compute_section(image, kubernetes={"job_memory_bytes": 8 * 2**20})
    starved = RemoteScheduler(notebook, str(scheduler.folder), small, tmp_path)
    spec = python("pass", resources=Resources())
    starved.submit(spec)
    job = ended(starved, spec.key)
    assert job.state is JobState.FAILED
    assert job.reason == "It used more memory than the 0.01 GiB that it may. Ask for more."
    scheduler.notebook("scheduler = make()")


def test_what_can_never_run_is_refused_before_it_is_made(scheduler, sees_nodes):
    cores = scheduler.queues()[0].cores_per_node
    assert cores > 0
    for asked, words in [
        (
            {"resources": Resources(cpu_cores=1000)},
            f"has {cores} cores and you asked for 1000 on one. Ask for at most {cores}",
        ),
        ({"resources": Resources(memory_bytes=2**45)}, "you asked for 32768.09 GiB. Ask for at most"),
        ({"resources": Resources(gpus=1)}, "have 0 accelerators"),
        ({"resources": Resources(nodes=2)}, "here a job is one pod on one machine"),
        ({"resources": Resources(exclusive=True)}, "here jobs share machines"),
        ({"queue": "fast"}, "There is no queue 'fast'. This site has all"),
        ({"account": "a b"}, "cannot be an account"),
        ({"stage_in": {"x": "/no/such"}}, "cannot be read"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            scheduler.submit(python("pass", **asked))
    assert scheduler.notebook.kubectl.names("jobs") == []


def test_a_full_machine_is_told_with_what_is_free(scheduler, sees_nodes):
    (queue,) = scheduler.queues()
    blockers = [
        python(
            "import time; time.sleep(120)",
            resources=Resources(cpu_cores=queue.cores_per_node, memory_bytes=2**26),
        )
        for _ in range(queue.nodes)
    ]
    scheduler.submit_all(blockers)
    spec = python("pass", resources=Resources(cpu_cores=queue.cores_per_node, memory_bytes=2**26))
    scheduler.submit(spec)
    job = says(
        scheduler, spec.key, f"It waits: no machine has {queue.cores_per_node} free cores; the largest has "
    )
    assert job.state is JobState.QUEUED
    scheduler.notebook("scheduler = make()")
    assert scheduler.queues()[0].waiting_jobs >= 1


def test_without_a_look_at_machines_a_job_waits_and_the_scheduler_says_why(scheduler):
    spec = python("pass", resources=Resources(cpu_cores=1000))
    scheduler.submit(spec)
    job = says(scheduler, spec.key, "have too little free cpu")
    assert job.state is JobState.QUEUED


def test_an_image_that_is_not_there_is_named(scheduler, notebook, image, tmp_path):
    spec = python("pass", image="localhost/no-such-image:1")
    scheduler.submit(spec)
    job = says(scheduler, spec.key, "the image 'localhost/no-such-image:1' cannot be fetched")
    assert job.state is JobState.QUEUED
    never = RemoteScheduler(
        notebook,
        str(scheduler.folder),
        compute_section(image, kubernetes={"image_pull_policy": "Never"}),
        tmp_path,
    )
    other = python("pass", image="localhost/no-such-image:2")
    never.submit(other)
    says(never, other.key, "It can never start: the image 'localhost/no-such-image:2' is not on its machine")


def test_a_quota_is_told_whether_it_is_full_or_too_small(scheduler):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "jobs"},
        "spec": {"hard": {"requests.cpu": "1200m"}},
    }
    kubectl = scheduler.notebook.kubectl
    kubectl.apply(quota)
    until(lambda: json.loads(kubectl("get", "resourcequota", "jobs", "-o", "json"))["status"].get("hard"))
    try:
        with pytest.raises(InvalidInput, match="allows 1200m of cpu altogether and you asked for 2"):
            scheduler.submit(python("pass", resources=Resources(cpu_cores=2)))
        running, waiting = python("import time; time.sleep(120)"), python("pass")
        scheduler.submit(running)
        until(lambda: scheduler.status(running.key).state is JobState.ACTIVE)
        scheduler.submit(waiting)
        job = says(scheduler, waiting.key, "is used up")
        assert job.state is JobState.QUEUED
        assert "requests.cpu" in job.reason
    finally:
        kubectl("delete", "resourcequota", "jobs")


def test_rendering_makes_nothing(scheduler):
    manifest = json.loads(
        scheduler.render(python("pass", resources=Resources(cpu_cores=2, memory_bytes=2**30)))
    )
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(2**30 + 96 * 2**20)}
    assert scheduler.notebook.kubectl.names("jobs") == []


def test_a_notebook_without_rights_is_told_which(scheduler, kubectl):
    kubectl("delete", "rolebinding", "notebook")
    try:
        with pytest.raises((PermissionError, CellFailed), match=r"compute\.enabled"):
            until(lambda: scheduler.submit(python("pass")) and None)
    finally:
        subject = f"--serviceaccount={kubectl.namespace}:notebook"
        kubectl("create", "rolebinding", "notebook", "--role=notebook", subject)
