"""The chart, installed on a real Kubernetes: a notebook runs jobs and Dask workers as pods, or each person has a pod.

GENESIS_TEST_HUB_IMAGE names the hub image of the same build, on every node.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import uuid
from pathlib import Path

import pytest

from authority import Authority
from harness import Browser, Workbench, free_ports, run_in_kernel
from nginx import Nginx, needed
from provider import Provider
from system.kubernetes.conftest import missing
from system.kubernetes.notebook import Kubectl, until
from system.kubernetes.policies import Enforced

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CHART = Path(__file__).parents[3] / "helm/genesis-workbench"
STATE = "/var/lib/genesis-workbench"
POD = "wb-genesis-workbench-0"
# What a server that the hub started sees of its pod's environment: nothing of Kubernetes.
AS_A_PERSON = (
    "env", "-i", f"HOME={STATE}/homes/ada", "PATH=/opt/genesis-workbench/bin:/usr/bin:/bin",
    "GENESIS_SITE=/etc/genesis-workbench/site.toml", "python", "-",
)  # fmt: skip
PROFILES = """
site:
  extra: |
    [[servers.profiles]]
    name = "small"
    title = "Small"
    cpu_cores = 1
    memory_bytes = 1073741824
    [[servers.profiles]]
    name = "large"
    title = "Large"
    memory_bytes = 2147483648
    [catalog]
    sources = []
"""
CELL = """
import genesis_workbench as gw
from genesis_workbench.compute import JobSpec
code = "import json, os; json.dump([os.getuid(), os.listdir('..')], open('result.json', 'w'))"
job = gw.compute.wait(gw.submit(JobSpec(name="first", command=("python", "-c", code))), 120)
print(job.state, job.reason, gw.compute.scheduler().result(job.key) == [1000, [job.key]])
with gw.cluster(workers=1, memory_per_worker_bytes=400 * 2**20) as cluster:
    print(cluster.client.submit(sum, [1, 2]).result(timeout=120))
"""


@pytest.fixture
def chart(kubeconfig):
    """Return a context manager that installs the chart with some settings, and gives kubectl for its namespace."""
    hub = os.environ.get("GENESIS_TEST_HUB_IMAGE")
    if not hub:
        missing("no hub image: set GENESIS_TEST_HUB_IMAGE to one that the nodes have")
    programs = str(kubeconfig.parent / "bin")
    helm, kubectl = (shutil.which(name) or shutil.which(name, path=programs) for name in ("helm", "kubectl"))
    if not (helm and kubectl):
        missing("helm or kubectl is not installed")
    repository, _, tag = hub.rpartition(":")
    common = [f"image.repository={repository}", f"image.tag={tag}", "storage.size=1Gi"]
    common += ["resources.requests.cpu=10m", "resources.requests.memory=512Mi"]

    @contextlib.contextmanager
    def install(*settings, values="", before=lambda _: None):
        space = f"gw-chart-{uuid.uuid4().hex[:8]}"
        there = Kubectl(kubectl, space)
        there("create", "namespace", space)
        before(there)
        command = [
            helm,
            "install",
            "wb",
            str(CHART),
            "--namespace",
            space,
            "--server-side=false",
            "--values=-",
        ]
        try:
            subprocess.run(
                command + [part for each in (*common, *settings) for part in ("--set", each)],
                input=values,
                text=True,
                check=True,
                timeout=60,
                capture_output=True,
            )
            until(lambda: there("get", "pod", POD, "--ignore-not-found"))
            there("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=110s")
            yield there
        finally:
            there("delete", "namespace", space, "--wait=false")
            for kind in ("clusterrole", "clusterrolebinding"):
                there("delete", kind, f"wb-genesis-workbench-{space}-servers", "--ignore-not-found")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.delenv(name, raising=False)
        yield install


def test_a_notebook_of_the_chart_runs_jobs_and_workers_with_the_chart_s_rights(chart, image):
    with chart("compute.enabled=true", f"compute.image={image}") as installed:
        told = installed("exec", "-i", POD, "--", *AS_A_PERSON, given=CELL)
        assert told.splitlines() == ["completed  True", "3"]
        until(lambda: not installed.names("pods", "app.kubernetes.io/component=worker"))
        assert installed.names("secrets", "app.kubernetes.io/component=cluster") == []


@contextlib.contextmanager
def forwarded(kubectl, port):
    """Reach a port of the hub's pod on this machine, where its proxy knows itself by that port."""
    link = kubectl.start("port-forward", f"pod/{POD}", f"{port}:{port}")
    try:
        assert "Forwarding from" in link.stdout.readline()
        yield
    finally:
        link.kill()
        link.communicate()


def server_of(kubectl, name):
    (pod,) = kubectl.items("pods", f"component=singleuser-server,hub.jupyter.org/username={name}")
    return pod


@contextlib.contextmanager
def enforced(kubectl, kubeconfig):
    """Have the policies kept; a cluster that is not the one for tests must do so by itself."""
    run = kubeconfig.parent / "run"
    with Enforced(kubectl, run) if (run / "number").exists() else contextlib.nullcontext():
        yield


def knocks(kubectl, pod, *places):
    """Return which of these places somebody's server can connect to."""
    code = f"""
import socket
def opens(place):
    try:
        socket.create_connection(place, timeout=4).close()
    except OSError:
        return False
    return True
print([opens(place) for place in {places}])
"""
    return ast.literal_eval(kubectl("exec", "-i", pod, "--", "python", "-", given=code))


def test_somebody_signs_in_and_has_a_pod_that_outlives_the_hub(chart, pinned_image, kubeconfig, tmp_path):
    (port,) = free_ports(1)
    workbench = Workbench(tmp_path)
    workbench.public_url = f"http://127.0.0.1:{port}"
    settings = [f"site.hub.port={port}", "servers.spawner=kubernetes", f"servers.image={pinned_image}"]
    settings += ["servers.seeMachines=true", "servers.home.bytes=1073741824"]
    lab = f"{workbench.user_origin('admin')}/user/admin/lab"
    with chart(*settings, values=PROFILES) as kubectl, enforced(kubectl, kubeconfig):
        told = kubectl("exec", POD, "--", "workbench", "users", "password", "admin", "--state", STATE)
        browser = Browser(workbench)
        with forwarded(kubectl, port):
            browser.sign_in("admin", told.partition("password ")[2].split()[0])
            choice = f"{workbench.public_url}/hub/spawn"
            until(
                lambda: "Free now:" in browser.get(choice).text
            )  # the first look may take longer than a page waits
            browser.start_server("admin")
            assert browser.get(lab).status_code == 200
            added = kubectl("exec", POD, "--", "workbench", "users", "add", "bob", "--state", STATE)
            bob = Browser(workbench)
            bob.sign_in("bob", added.partition("password ")[2].split()[0])
            bob.start_server("bob")
        before = server_of(kubectl, "admin")
        nobody_reaches_another(kubectl, before, server_of(kubectl, "bob"))
        mounted = [mount["mountPath"] for mount in before["spec"]["containers"][0]["volumeMounts"]]
        assert not any("serviceaccount" in path for path in mounted)
        # Another hub of the same release, at another address, is found again by the service's name.
        kubectl("delete", "pod", POD, "--grace-period=5")
        until(lambda: kubectl("get", "pod", POD, "--ignore-not-found"))
        kubectl("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=110s")
        with forwarded(kubectl, port):
            until(lambda: browser.get(lab).status_code == 200)
            assert browser.hub("GET", "users/admin").json()["servers"][""]["ready"]
        assert server_of(kubectl, "admin")["metadata"]["uid"] == before["metadata"]["uid"]
        browser.close()
        bob.close()


def own_address(kubeconfig):
    """Return the address of this machine on the network of the cluster's nodes."""
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=str(kubeconfig.parent / "bin"))
    (node, *_) = Kubectl(kubectl, "default").items("nodes", labels="")
    where = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((where, 9))  # nothing is sent: it is asked from where that would go
        return probe.getsockname()[0]


def test_people_of_other_machines_sign_in_by_a_provider_through_what_speaks_tls(chart, kubeconfig, tmp_path):
    needed()
    provider = Provider(tmp_path, own_address(kubeconfig))
    provider.start()
    provider.put("7", preferred_username="ada", groups=["scientists"])
    secret = tmp_path / "secret"
    secret.write_text("a-secret-that-must-be-nowhere")
    folder = tmp_path / "front"
    folder.mkdir()
    front = Authority(folder)
    front.sign("wb.localhost", "*.wb.localhost")
    public, inside = free_ports(2)
    workbench = Workbench(tmp_path)
    workbench.public_url, workbench.domain = f"https://wb.localhost:{public}", "wb.localhost"
    workbench.trusted = ssl.create_default_context(cafile=front.file)
    workbench.trusted.load_verify_locations(provider.authority.file)
    settings = [
        f"site.hub.port={inside}",
        "site.hub.address=0.0.0.0",
        f"site.hub.publicUrl={workbench.public_url}",
    ]
    settings += [
        "site.hub.originDomain=wb.localhost",
        "people.authenticator=oidc",
        "secret=workbench",
    ]
    settings += [f"people.settings.issuer={provider.url}", "people.settings.client_id=workbench"]
    settings += [
        "people.settings.client_secret_file=/run/genesis-workbench/client-secret",
        "people.settings.ca_file=/run/genesis-workbench/ca.crt",
        "people.settings.allowed_groups={scientists}",
    ]

    def keep_secret(kubectl):
        files = [f"--from-file=client-secret={secret}", f"--from-file=ca.crt={provider.authority.file}"]
        kubectl("create", "secret", "generic", "workbench", *files)

    try:
        with (
            chart(
                *settings, values="site:\n  extra: '[catalog]\n\n    sources = []'", before=keep_secret
            ) as kubectl,
            forwarded(kubectl, inside),
            Nginx(folder, front, "wb.localhost", public, inside),
        ):
            browser = Browser(workbench)
            form = browser.get(f"{workbench.public_url}/hub/oauth_login?next=/hub/home")
            assert str(form.url).startswith(provider.url)
            answer = browser.http.post(form.url, data={"sub": "7"}, follow_redirects=True)
            assert str(answer.url) == f"{workbench.public_url}/hub/home"
            browser.start_server("ada")
            token = browser.make_token("ada", note="test", scopes=["access:servers!user=ada", "self"])
            assert run_in_kernel(workbench, "ada", token, "print(6 * 7)").strip() == "42"
            assert [
                each.name
                for each in browser.http.cookies.jar
                if each.domain.endswith("wb.localhost") and not each.secure
            ] == []
            provider.put("8", preferred_username="eve", groups=["others"])
            stranger = Browser(workbench)
            form = stranger.get(f"{workbench.public_url}/hub/oauth_login?next=/hub/home")
            assert stranger.http.post(form.url, data={"sub": "8"}, follow_redirects=True).status_code == 403
            # The secret is in no variable, no log, and no file that another account could read.
            told = kubectl(
                "exec",
                POD,
                "--",
                "sh",
                "-c",
                f"stat -c %a /run/genesis-workbench/client-secret; env; cat {STATE}/logs/*.log",
            )
            assert told.startswith("600")
            assert "a-secret-that-must-be-nowhere" not in told
            browser.close()
            stranger.close()
    finally:
        provider.stop()


def nobody_reaches_another(kubectl, hers, his):
    """Knock from one server at what it must not reach: another's, and the cluster's API."""
    hub = json.loads(kubectl("get", "pod", POD, "-o", "json"))
    ports = {each["name"]: each["containerPort"] for c in hub["spec"]["containers"] for each in c["ports"]}
    at, name = hub["status"]["podIP"], his["metadata"]["name"]
    api = kubectl("get", "endpoints", "kubernetes", "--namespace=default", "-o", "json")
    (where,) = json.loads(api)["subsets"]
    allowed = [(at, ports["hub"]), (at, ports["service"])]
    closed = [
        (hers["status"]["podIP"], 8888),
        (where["addresses"][0]["ip"], where["ports"][0]["port"]),
    ]
    assert knocks(kubectl, name, *allowed) == [True, True]
    assert knocks(kubectl, name, *closed) == [False, False]
    # Both are there: the hub's pod may reach them.
    assert knocks(kubectl, POD, *closed) == [True, True]
