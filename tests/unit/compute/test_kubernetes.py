"""What is sent to Kubernetes is valid and modest, and what it says is put into plain words."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import sys

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.compute.clusters.kubernetes import KubernetesWorkers, WorkerPod
from genesis_workbench.compute.job import JobSpec, JobState, QueueFull, Resources
from genesis_workbench.compute.kubernetes import access, words
from genesis_workbench.compute.kubernetes.api import Kubernetes, QuotaFull
from genesis_workbench.compute.kubernetes.nodes import Nodes
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._full import Full
from genesis_workbench.compute.schedulers.kubernetes import KubernetesScheduler
from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    PermissionRefused,
    TooLarge,
    Unavailable,
)
from genesis_workbench.core.nodes import quantity
from genesis_workbench.core.site import ComputeSection, KubernetesSection

GIB = 2**30


def section(folder, **fields):
    kubernetes = {
        "jobs_claim": "home-{user}", "jobs_path": str(folder), "namespace": "ada", "image_pull_secrets": ["registry"],
        "volumes": [{"claim": "data", "path": "/data", "sub_path": "public"}],
        "queues": [
            {"name": "cpu", "max_walltime_s": 7200},
            {"name": "gpu", "node_selector": {"kind": "gpu"}, "priority_class": "high",
             "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]},
        ],
    }  # fmt: skip
    return ComputeSection.model_validate(
        {
            "image": "example.org/user@sha256:0",
            "account": "fusion",
            "interface": "lo",
            "kubernetes": kubernetes,
        }
        | fields
    )


class Answers:
    """A Kubernetes API that answers as it is told, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return (
            httpx.Response(status, json=body)
            if not isinstance(body, bytes)
            else httpx.Response(status, content=body)
        )


@pytest.fixture
def api(monkeypatch):
    """Make a client over :class:`Answers`, without pauses."""
    monkeypatch.setattr("genesis_workbench.compute.kubernetes.api.time.sleep", lambda _: None)

    def make(*answers):
        there = Answers(*answers)
        made = Kubernetes(KubernetesSection(namespace="ada"))
        found = access.Access("https://k8s.example.org", None, "ada", lambda: "token-of-now")
        made.__dict__["_access"] = found
        made.__dict__["_client"] = httpx.Client(base_url=found.url, transport=httpx.MockTransport(there))
        return made, there

    return make


# --- manifests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.25", "1.34"])
def test_a_job_is_what_kubernetes_accepts_and_has_no_rights_to_spare(tmp_path, monkeypatch, version):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-the-notebook")
    spec = JobSpec(
        name="melt",
        command=("melt",),
        environment={"PASSWORD": "in-the-folder-only"},
        resources=Resources(cpu_cores=2, processes_per_node=2, gpus=1, memory_bytes=GIB),
        walltime_s=90.5,
        queue="gpu",
    )
    text = KubernetesScheduler(tmp_path / "jobs", section(tmp_path)).render(spec)
    assert "of-the-notebook" not in text
    assert "in-the-folder-only" not in text
    manifest = json.loads(text)
    validator.validate(manifest, version, strict=True)
    assert manifest["spec"]["backoffLimit"] == 0
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    size = {"cpu": "4", "memory": str(GIB + 96 * 2**20), "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": size, "limits": size}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["activeDeadlineSeconds"] >= 91
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"kind": "gpu"}, "high")
    claims = [
        each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if "persistentVolumeClaim" in each
    ]
    assert claims == ["home-ada", "data"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert mounts[str(tmp_path / "jobs" / spec.key)]["subPath"] == f"jobs/{spec.key}"
    assert mounts["/data"] == {"name": "v2", "mountPath": "/data", "subPath": "public", "readOnly": True}
    assert not (tmp_path / "jobs").exists()


def test_a_job_is_named_by_its_key_and_whose_it_is(tmp_path, monkeypatch):
    spec = JobSpec(name="melt", command=("melt",))

    def name(user, spec):
        monkeypatch.setenv("JUPYTERHUB_USER", user)
        return json.loads(KubernetesScheduler(tmp_path, section(tmp_path)).render(spec))["metadata"]["name"]

    other = JobSpec(name="melt", command=("melt",))
    assert name("ada", spec) == name("ada", spec)
    assert len({name("ada", spec), name("bob", spec), name("ada", other)}) == 3


def test_a_job_that_may_go_on_is_tried_again(tmp_path):
    spec = JobSpec(name="melt", command=("melt",), requeue=True)
    assert (
        json.loads(KubernetesScheduler(tmp_path, section(tmp_path)).render(spec))["spec"]["backoffLimit"] > 0
    )


def test_folders_that_no_pod_can_mount_are_told(tmp_path):
    spec = JobSpec(name="melt", command=("melt",))
    with pytest.raises(InvalidInput, match="is mounted at /elsewhere"):
        KubernetesScheduler(tmp_path, section("/elsewhere")).render(spec)
    with pytest.raises(InvalidInput, match="jobs_claim"):
        KubernetesScheduler(tmp_path, ComputeSection(image="x")).render(spec)
    with pytest.raises(InvalidInput, match="No image is named"):
        KubernetesScheduler(tmp_path, section(tmp_path, image="")).render(spec)


@pytest.mark.parametrize("version", ["1.25", "1.34"])
@pytest.mark.parametrize("protocol", ["tls", "tcp"])
def test_a_worker_is_what_kubernetes_accepts(tmp_path, api, version, protocol):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    workers = worker_place(tmp_path, api)
    manifest = workers._manifest(f"{protocol}://10.0.0.7:8786", "cluster-x-3")
    validator.validate(manifest, version, strict=True)
    container = manifest["spec"]["containers"][0]
    assert (
        container["resources"]["limits"]
        == container["resources"]["requests"]
        == {"cpu": "2", "memory": str(GIB)}
    )
    assert ("--tls-key" in container["args"]) is (protocol == "tls")
    assert container["args"][container["args"].index("--host") + 1] == "$(POD_IP)"
    assert manifest["spec"]["activeDeadlineSeconds"] == 600
    assert manifest["metadata"]["labels"]["genesis-workbench/account"] == "fusion"


def worker_place(tmp_path, api):
    with pytest.MonkeyPatch.context() as patch:
        client, _ = api((403, {"reason": "Forbidden", "message": 'User "x" cannot list'}))
        patch.setattr("genesis_workbench.compute.clusters.kubernetes.Kubernetes", lambda _: client)
        workers = KubernetesWorkers(section(tmp_path), 4, 2, GIB, walltime_s=600)
    workers._prefix = "gw-x-0"
    return workers


def test_a_site_without_an_interface_cannot_have_a_cluster():
    with pytest.raises(InvalidInput, match=r"compute\.interface, 'eth0'"):
        KubernetesWorkers(ComputeSection(image="x"), 1, 1, None)
    with pytest.raises(InvalidInput, match="No image is named"):
        KubernetesWorkers(ComputeSection(interface="eth0"), 1, 1, None)


async def test_a_worker_whose_making_was_answered_late_is_there(api):
    client, there = api(
        httpx.ReadTimeout("late"), (409, {"reason": "AlreadyExists", "message": "exists"}), (200, {})
    )
    worker = WorkerPod(
        "tls://10.0.0.7:8786", "x-1", kubernetes=client, gate=asyncio.Semaphore(1),
        manifest=lambda *_: {"metadata": {"name": "gw-x-1"}},
    )  # fmt: skip
    await worker.start()
    assert worker.job_id == "gw-x-1"
    await worker.close()
    await worker.close()
    assert [request.method for request in there.asked] == ["POST", "POST", "DELETE"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("1Gi", GIB),
        ("1e3", 1000),
        ("1.5G", 1.5e9),
        ("100k", 1e5),
        (3, 3),
        ("", 0),
        (None, 0),
        ("1Zi", 0),
    ],
)
def test_quantities_are_read(text, value):
    assert quantity(text) == value


@given(st.text(max_size=30))
def test_no_quantity_is_too_strange(text):
    assert quantity(text) >= 0


# --- the API ------------------------------------------------------------------------------------------------------


def test_requests_carry_the_token_of_now_and_lists_are_read_to_the_end(api):
    client, there = api(
        (200, {"items": [1, 2], "metadata": {"continue": "further"}}), (200, {"items": [3], "metadata": {}})
    )
    assert client.list("pods", "a=b") == [1, 2, 3]
    assert [request.headers["Authorization"] for request in there.asked] == ["Bearer token-of-now"] * 2
    assert str(there.asked[1].url) == (
        "https://k8s.example.org/api/v1/namespaces/ada/pods?labelSelector=a%3Db&limit=500&continue=further"
    )


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (403, {"reason": "Forbidden", "message": 'pods is forbidden: User "system:serviceaccount:ada:x" cannot create'}, PermissionRefused, "compute.enabled"),
        (403, {"reason": "Forbidden", "message": 'pods "x" is forbidden: exceeded quota: q'}, InvalidInput, "exceeded quota: q"),
        (403, {"reason": "Forbidden", "message": 'pods "x" is forbidden: violates PodSecurity "restricted"'}, InvalidInput, "PodSecurity"),
        (401, {"reason": "Unauthorized", "message": "Unauthorized"}, PermissionRefused, "rights"),
        (409, {"reason": "AlreadyExists", "message": "exists"}, Conflict, "one of that name"),
        (422, {"reason": "Invalid", "message": "spec.x: Required value"}, InvalidInput, "Required value"),
        (503, b"<html>no</html>", Unavailable, "cannot answer just now: <html>no"),
    ],
)  # fmt: skip
def test_refusals_are_told_for_what_they_are(api, status, body, error, words):
    client, _ = api((status, body))
    with pytest.raises(error, match=words):
        client.create("pods", {})


def test_what_may_be_repeated_is_repeated_and_then_given_up(api):
    client, there = api(httpx.ConnectError("refused"), (409, {"reason": "Conflict"}), (201, {"kind": "Pod"}))
    assert client.create("pods", {}) == {"kind": "Pod"}
    assert len(there.asked) == 3
    for trouble, error in (
        (httpx.ConnectError("refused"), Unavailable),
        (httpx.ReadTimeout("late"), DeadlineExceeded),
    ):
        client, there = api(trouble)
        with pytest.raises(error):
            client.list("pods")
        assert len(there.asked) == 4
    client, _ = api((404, {"message": "gone"}))
    client.delete("pods", "x")
    assert client.get("pods", "x") is None


def test_an_answer_without_end_is_cut(api, monkeypatch):
    monkeypatch.setattr("genesis_workbench.compute.kubernetes.api._LIMIT", 1000)
    client, _ = api((200, b"x" * 2000))
    with pytest.raises(TooLarge):
        client.list("pods")


# --- kubeconfig ---------------------------------------------------------------------------------------------------


def kubeconfig(tmp_path, monkeypatch, user, **cluster):
    config = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "ada"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example.org/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))  # JSON is YAML
    monkeypatch.setenv("KUBECONFIG", str(path))


def test_a_kubeconfig_gives_address_namespace_and_token(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from-a-file\n")
    kubeconfig(tmp_path, monkeypatch, {"tokenFile": "token"})
    found = access.find()
    assert (found.url, found.namespace, found.token()) == ("https://k8s.example.org", "ada", "from-a-file")
    kubeconfig(tmp_path, monkeypatch, {"token": "plain"})
    assert access.find().token() == "plain"


def test_a_program_gives_the_token_and_is_asked_again_when_it_has_ended(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib\n"
        "p = pathlib.Path(os.environ['COUNT']); p.write_text(p.read_text() + 'x')\n"
        "print(json.dumps({'status': {'token': p.read_text(), 'expirationTimestamp': os.environ['ENDS']}}))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "count").write_text("")
    for ends, second in (("2000-01-01T00:00:00Z", "xx"), ("2999-01-01T00:00:00Z", "xxx")):
        env = [{"name": "COUNT", "value": str(tmp_path / "count")}, {"name": "ENDS", "value": ends}]
        user = {
            "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "env": env}
        }
        kubeconfig(tmp_path, monkeypatch, user)
        token = access.find().token
        token()
        assert token() == second
    kubeconfig(tmp_path, monkeypatch, {"exec": {"apiVersion": "v1", "command": "/no/such"}})
    with pytest.raises(Unavailable, match="Run it by hand"):
        access.find().token()


@pytest.mark.parametrize(
    ("user", "cluster", "words"),
    [
        ({"auth-provider": {}, "username": "x"}, {}, "no longer used"),
        ({}, {"insecure-skip-tls-verify": True}, "name the cluster's authority"),
        ({}, {"certificate-authority-data": "!"}, "cannot be used"),
        ({"tokenFile": 3}, {}, "cannot be used"),
        ({}, {"server": None}, "cannot be used"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path, monkeypatch, user, cluster, words):
    kubeconfig(tmp_path, monkeypatch, user, **cluster)
    with pytest.raises(InvalidInput, match=words):
        access.find()
    with pytest.raises(InvalidInput, match="there is no context 'two' in it"):
        access.find("two")


def test_without_a_cluster_the_way_to_one_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="There is no Kubernetes here"):
        access.find()


# --- machines -----------------------------------------------------------------------------------------------------


def node(name, cpu="8", memory="16Gi", ready="True", **spec):
    return {
        "metadata": {"name": name, "labels": {"kind": "gpu"} if "gpu" in name else {}},
        "spec": spec,
        "status": {
            "allocatable": {
                "cpu": cpu,
                "memory": memory,
                **({"nvidia.com/gpu": "4"} if "gpu" in name else {}),
            },
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod(cpu="1", memory="1Gi", node_name="", phase="Running", **status):
    size = {"cpu": cpu, "memory": memory}
    container = {"name": "main", "image": "example.org/x:1", "resources": {"requests": size, "limits": size}}
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [container], **({"nodeName": node_name} if node_name else {})},
        "status": {"phase": phase, **status},
    }


def machines(api, tmp_path, *, pods_everywhere=True):
    taint = {"key": "gpu", "effect": "NoSchedule", "value": "yes"}
    nodes = [
        node("a"),
        node("b", ready="False"),
        node("c", unschedulable=True),
        node("gpu1", cpu="64", taints=[taint]),
    ]
    running = [pod("6", "2Gi", "a"), pod("2", "2Gi", "a", phase="Succeeded"), pod("60", "2Gi", "gpu1")]

    def answer(request):
        path = request.url.path
        if path.endswith("/nodes"):
            items = nodes
        elif path.endswith("/resourcequotas"):
            items = [{"metadata": {"name": "q"}, "status": {"hard": {"limits.memory": "20Gi", "pods": "4"}}}]
        elif path == "/api/v1/pods" and not pods_everywhere:
            return httpx.Response(403, json={"reason": "Forbidden", "message": 'User "x" cannot list'})
        else:
            items = [] if "fieldSelector" in str(request.url) else running
        return httpx.Response(200, json={"items": items, "metadata": {}})

    client, _ = api()
    client.__dict__["_client"] = httpx.Client(
        base_url="https://k8s.example.org", transport=httpx.MockTransport(answer)
    )
    return Nodes(client, section(tmp_path))


def test_queues_are_the_machines_that_they_may_use(api, tmp_path):
    cpu, gpu = machines(api, tmp_path).queues()
    # A tainted machine counts only where its taint is accepted; one that is down counts, but is not free.
    assert (cpu.name, cpu.default, cpu.nodes, cpu.cores_per_node, cpu.free_cores) == ("cpu", True, 3, 8, 2)
    assert (gpu.nodes, gpu.gpus_per_node, gpu.free_cores, gpu.memory_per_node_bytes) == (1, 4, 4, 16 * GIB)


@pytest.mark.parametrize(
    ("queue", "resources", "walltime_s", "words"),
    [
        (
            "",
            Resources(cpu_cores=9),
            60,
            "largest machine has 8 cores and you asked for 9.*use the queue 'gpu', which can",
        ),
        ("gpu", Resources(gpus=5), 60, "have 4 accelerators each and you asked for 5"),
        ("cpu", Resources(), 9000, "allows 2 h and you asked for 2 h 30 min"),
        ("gup", Resources(), 60, "There is no queue 'gup'. This site has cpu, gpu"),
        ("gpu", Resources(memory_bytes=17 * GIB), 60, "has 16.00 GiB of memory and you asked for 17.00"),
        ("gpu", Resources(memory_bytes=15 * GIB, cpu_cores=64), 60, ""),
    ],
)
def test_what_no_machine_can_ever_run_is_refused(api, tmp_path, queue, resources, walltime_s, words):
    there = machines(api, tmp_path)
    if not words:
        there.check("It", queue, resources, walltime_s)
        return
    with pytest.raises(InvalidInput, match=words):
        there.check("It", queue, resources, walltime_s)


def test_jobs_that_a_quota_has_room_for_are_made_and_the_others_later(monkeypatch, tmp_path):
    full = 'jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, limited: count/jobs.batch=2'
    made = []

    def create(_client, _kind, manifest):
        if len(made) == room:
            raise QuotaFull(f"Kubernetes refused: {full}")
        made.append(manifest["metadata"]["name"])

    place = KubernetesScheduler(tmp_path, section(tmp_path))
    monkeypatch.setattr(place, "_full", Full(0.0))
    monkeypatch.setattr(place, "_check", lambda _spec: None)
    monkeypatch.setattr(Kubernetes, "create", create)
    monkeypatch.setattr(Kubernetes, "list", lambda *_arguments, **_more: [])
    specs = [JobSpec(name="t", command=("true",)) for _ in range(4)]
    room = 0
    with pytest.raises(QueueFull, match=r"exceeded quota: q.*Try again when others have ended"):
        place.submit_all(specs)
    room = 2
    jobs = place.submit_all(specs)
    assert [job.native_id for job in jobs] == [*made, "", ""]
    assert jobs[3].state is JobState.NEW
    room = 4
    assert [job.native_id for job in place.submit_all(specs)] == made


def test_a_quota_that_is_too_small_is_told(api, tmp_path):
    big = Nodes(machines(api, tmp_path)._kubernetes, ComputeSection())
    big._kept = (float("inf"), None)  # machines may not be seen
    with pytest.raises(InvalidInput, match="allows 20Gi of memory altogether and you asked for"):
        big.check("It", "", Resources(memory_bytes=21 * GIB), 60)


# --- words --------------------------------------------------------------------------------------------------------


def unschedulable(message, **fields):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(phase="Pending", conditions=[condition], **fields)


def waits(pod, nodes=None, *, partly=False, events=()):
    return words.waiting(pod, nodes, partly=partly, gpu="nvidia.com/gpu", events=lambda _: list(events))


def test_a_pod_that_waits_for_room_says_what_is_free(api, tmp_path):
    there = machines(api, tmp_path, pods_everywhere=False)
    nodes = there.of(there._site.kubernetes.queues[0])
    asked = unschedulable("0/4 nodes are available: 1 Insufficient cpu.", cpu="64")
    assert waits(asked, nodes, partly=there.partly) == (
        "It waits: no machine has 64 free cores; the largest has 2. Others may use more: only pods of this namespace can "
        "be seen."
    )
    assert waits(unschedulable("", memory="15Gi"), nodes) == (
        "It waits: no machine has 15 free GiB of memory; the largest has 14."
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "0/3 nodes are available: 2 Insufficient cpu, 1 node(s) had taint {gpu: yes}, that the pod didn't tolerate.",
            "It waits for a machine: of those there are, 2 have too little free cpu, 1 are kept for other work.",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available.",
            "It waits for a machine: of those there are, 1 are of another kind.",
        ),
        ("something new", "It waits: something new."),
    ],
)
def test_the_scheduler_s_sentence_is_put_into_words(message, said):
    assert waits(unschedulable(message)) == said


def starting(reason, message=""):
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(
        phase="Pending", node_name="a", containerStatuses=[{"state": state, "image": "example.org/x:1"}]
    )


@pytest.mark.parametrize(
    ("given", "events", "said"),
    [
        (pod(phase="Pending"), (), "It has just been queued."),
        (starting("ContainerCreating"), (), "Its machine fetches the image and starts it."),
        (starting("ContainerCreating"), ({"reason": "FailedMount", "message": "x\nno claim"},), "It waits for its volume: no claim."),
        (starting("ImagePullBackOff", "Back-off"), (), "'example.org/x:1' cannot be fetched. Back-off. It is tried again"),
        (starting("InvalidImageName"), (), "It can never start: 'example.org/x:1' is not the name of an image. Cancel it."),
        (starting("ErrImageNeverPull"), (), "is not on its machine, and this site fetches none"),
        (starting("CreateContainerConfigError", "no secret"), (), "Its container cannot be made: no secret. Cancel it"),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_run_says_why(given, events, said):
    assert said in waits(given, events=events)


def finished(reason="Error", code=1, message="", **status):
    state = {"terminated": {"reason": reason, "exitCode": code, "message": message}}
    return pod(phase="Failed", containerStatuses=[{"state": state, "image": "example.org/x:1"}], **status)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (finished("OOMKilled", 137), "It used more memory than the 1.00 GiB that it may. Ask for more."),
        (finished(reason="Completed", code=0), "It ended and left no outcome; whether the work was done is not known."),
        (finished(message="x\nNo module named genesis_workbench"), "It ended with exit status 1. No module named genesis_workbench."),
        (finished("StartError", 128, "exec: melt: not found"), "Its image cannot run it: exec: melt: not found."),
        (pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."), "off its machine: The node was low on resource: memory. Whether"),
        (finished(conditions=[{"type": "DisruptionTarget", "status": "True", "message": "preempted"}]), "off its machine: preempted."),
    ],
)  # fmt: skip
def test_a_pod_that_left_no_outcome_says_how_it_ended(given, said):
    assert said in words.ended(given).reason


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"terminated": {"exitCode": 137}}, "It ran longer than its walltime. Ask for a longer one."),
        (
            {"waiting": {"reason": "ImagePullBackOff"}},
            "It never started: the image 'x' could not be fetched.",
        ),
        ({}, "It never started: its machine could not start it in time."),
    ],
)
def test_a_deadline_tells_what_took_so_long(state, said):
    given = pod(phase="Failed", reason="DeadlineExceeded", containerStatuses=[{"state": state, "image": "x"}])
    assert words.ended(given).reason == said


def test_a_quota_that_is_full_and_a_policy_that_forbids_are_told_apart():
    full = 'Error creating: pods "gw-1" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1'
    assert words.not_made([full], "ada") == (
        "It waits: the quota of the namespace 'ada' is used up (asked for cpu=1, used cpu=1 of cpu=1). It starts when "
        "others have ended."
    )
    policy = 'Error creating: pods "gw-1" is forbidden: violates PodSecurity "restricted:latest": x'
    assert "It cannot start: Kubernetes refuses its pod: violates PodSecurity" in words.not_made(
        [policy], "ada"
    )
    assert words.not_made([], "ada") == "It has just been queued."


# --- the wrapper in a pod -----------------------------------------------------------------------------------------


@pytest.fixture
def in_pod(tmp_path, monkeypatch):
    """A job's folder, and a way to be a pod of its Job."""
    monkeypatch.setattr(wrapper, "_CGROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup/memory").mkdir(parents=True)

    def be(name, code="pass", **fields):
        folder = tmp_path / "job"
        if not folder.exists():
            folder.mkdir()
            spec = JobSpec(name="t", command=(sys.executable, "-c", code), **fields)
            (folder / "spec.json").write_text(spec.model_dump_json())
        monkeypatch.setenv("GENESIS_NATIVE_ID", "gw-1")
        monkeypatch.setenv("GENESIS_POD", name)
        return folder

    handler = signal.getsignal(signal.SIGTERM)
    yield be
    signal.signal(signal.SIGTERM, handler)
    while wrapper._held:
        wrapper._held.pop().close()


def test_a_second_pod_of_a_job_that_may_not_go_on_runs_nothing(in_pod):
    folder = in_pod("first", "open('ran', 'a').write('x')")
    wrapper.claim(folder)
    wrapper._held.pop().close()  # the pod was lost
    with pytest.raises(SystemExit) as ended:
        wrapper.run(in_pod("second"))
    assert ended.value.code == 0
    assert not (folder / "ran").exists()


def test_a_second_pod_of_a_job_that_may_go_on_goes_on_and_is_counted(in_pod):
    folder = in_pod("first", "open('ran', 'a').write('x')", requeue=True)
    wrapper.claim(folder)
    wrapper._held.pop().close()
    wrapper.run(in_pod("second"))
    assert (folder / "ran").read_text() == "x"
    assert json.loads((folder / "started.json").read_text())["restarts"] == 1
    assert json.loads((folder / "ended.json").read_text())["state"] == "completed"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "memory.events",
            "oom 3\noom_kill 2\n",
            "It used more memory than its machine lets it have. Ask for more.",
        ),
        (
            "memory/memory.oom_control",
            "oom_kill_disable 0\noom_kill 1\n",
            "It used more memory than its machine",
        ),
        ("memory.events", "oom 0\noom_kill 0\n", "It ended with exit status -9."),
    ],
)
def test_a_process_that_the_kernel_killed_for_its_memory_is_told_apart(in_pod, tmp_path, file, content, said):
    folder = in_pod("first", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    (tmp_path / "cgroup" / file).write_text(content)
    wrapper.run(folder)
    outcome = json.loads((folder / "ended.json").read_text())
    assert outcome["state"] == JobState.FAILED
    assert outcome["reason"].startswith(said)
