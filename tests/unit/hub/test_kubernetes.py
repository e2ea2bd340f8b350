"""The pod of a server: as confined as a container, as large as its profile, with a home of its own; checked by the API's schemas."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import kubernetes_validate
import pytest
from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration

from genesis_hub import homes, resources
from genesis_hub.names import safe_name
from genesis_hub.settings import Settings
from genesis_hub.spawners import _cluster, _pods
from genesis_hub.spawners import kubernetes as pods
from genesis_workbench.core.errors import InvalidInput, PermissionRefused, Unavailable
from genesis_workbench.core.site import (
    KubernetesQueueSection,
    KubernetesServersSection,
    KubernetesVolumeSection,
    ProfileSection,
    load_site,
)

IMAGE = "registry.example.org/user@sha256:" + "1" * 64
SECTION = KubernetesServersSection(
    image=IMAGE, volumes=[KubernetesVolumeSection(claim="data", path="/data", sub_path="open")]
)
QUEUES = [
    KubernetesQueueSection(name="cpu", node_selector={"pool": "cpu"}),
    KubernetesQueueSection(
        name="gpu", node_selector={"pool": "gpu"}, tolerations=[{"key": "gpu", "operator": "Exists"}]
    ),
]
PROFILES = [
    ProfileSection(name="small", title="Small", limits={"cpu_cores": (1, 8)}),
    ProfileSection(name="gpu", title="GPU", queue="gpu", memory_bytes=2**33, accelerator_count=2),
    ProfileSection(name="tag", title="Tag", image="user:latest"),
    ProfileSection(name="lost", title="Lost", queue="tape"),
]


class Untouched(pods.KubernetesSpawner):
    """Without the hub's own objects behind it."""

    def get_env(self):
        return {"JUPYTERHUB_API_TOKEN": "secret", **self.rescue_variables("/tmp/rescue")}  # noqa: S108


@pytest.fixture
def spawner(monkeypatch):
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda _: None)
    made = Untouched(
        _mock=True, profiles=PROFILES, servers=SECTION, queues=QUEUES, site="test", namespace="servers"
    )
    made.user.groups = []
    made.user.escaped_name = "mock-name"
    made.user_options = {}
    return made


async def plain(found):
    async with ApiClient() as client:
        return client.sanitize_for_serialization(found)


async def manifest(spawner, **options):
    spawner.user_options = options
    await spawner.load_user_options()
    pod = await plain(await spawner.get_pod_manifest())
    pod = {"apiVersion": "v1", "kind": "Pod", **pod}
    for version in ("1.28", "1.34"):
        kubernetes_validate.validate(pod, version, strict=True)
    return pod["spec"], pod["metadata"]


async def test_a_pod_is_confined_and_knows_nothing_of_the_cluster(spawner):
    spec, about = await manifest(spawner)
    container = spec["containers"][0]
    security = container["securityContext"]
    assert security["runAsUser"] == 1000
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["runAsNonRoot"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not spec.get("hostNetwork")
    assert not any("hostPath" in volume for volume in spec["volumes"])
    assert about["labels"]["app.kubernetes.io/instance"] == "test"


async def test_an_authority_without_key_usage_is_trusted_and_still_checked(spawner):
    found = Configuration.get_default_copy()
    assert found.disable_strict_ssl_verification
    assert found.verify_ssl


async def test_the_profile_decides_size_machine_and_image(spawner):
    spec, _ = await manifest(spawner, profile="small", cpu_cores=4)
    container = spec["containers"][0]
    assert container["image"] == IMAGE
    assert container["resources"]["limits"] == {"cpu": 4, "memory": 2 * 2**30}
    assert spec["nodeSelector"] == {"pool": "cpu"}
    spec, _ = await manifest(spawner, profile="gpu")
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "2"
    assert limits["memory"] == 2**33
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


async def test_groups_share_a_folder_each_and_dashboards_only_read_it(spawner, monkeypatch):
    spawner.servers = SECTION.model_copy(update={"groups_claim": "groups"})
    spawner.user.groups = [SimpleNamespace(name="fusion"), SimpleNamespace(name="Hot Cells/2")]
    spec, _ = await manifest(spawner)
    mounts = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "groups"]
    assert mounts[0] == {
        "name": "groups",
        "mountPath": "/groups/fusion",
        "subPath": "fusion",
        "readOnly": False,
    }
    assert mounts[1]["subPath"] == safe_name("Hot Cells/2")
    assert "/" not in mounts[1]["subPath"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "groups"]
    assert volume["persistentVolumeClaim"]["claimName"] == "groups"
    monkeypatch.setattr(Untouched, "dashboard", "dsh-0123456789abcdef")
    spec, _ = await manifest(spawner)
    mounts = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "groups"]
    assert all(each["readOnly"] for each in mounts)


async def test_who_is_in_no_group_sees_none_of_their_folders(spawner):
    spawner.servers = SECTION.model_copy(update={"groups_claim": "groups"})
    spec, _ = await manifest(spawner)
    assert not any(each["name"] == "groups" for each in spec["volumes"])


async def test_home_scratch_and_shared_data_are_attached(spawner):
    spec, _ = await manifest(spawner)
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"/home/user", "/tmp", "/dev/shm", "/data"}  # noqa: S108
    assert mounts["/data"]["readOnly"] is True
    assert mounts["/data"]["subPath"] == "open"
    assert not mounts["/home/user"].get("readOnly")
    claim = await plain(spawner.get_pvc_manifest())
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}, "1.34", strict=True
    )
    assert claim["spec"]["resources"]["requests"]["storage"] == str(10 * 2**30)
    homes = [volume for volume in spec["volumes"] if volume["name"] == "home"]
    assert homes[0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"profile": "tag"}, "by the tag 'user:latest', not by its digest"),
        ({"profile": "lost"}, "'tape'.* There is: cpu, gpu"),
        ({"profile": "small", "memory_bytes": 2**50}, "memory cannot be set here"),
        ({"profile": "none"}, "You can choose: small"),
    ],
)
async def test_what_the_site_does_not_allow_is_refused(spawner, options, told):
    spawner.user_options = options
    with pytest.raises(SpawnException) as refused:
        await spawner.load_user_options()
    assert re.search(told, refused.value.jupyterhub_message)


async def test_options_of_kubespawners_own_set_nothing(spawner):
    own = {"kubespawner_override": {"uid": 0}, "extra_pod_config": {"hostPID": True}}
    spec, _ = await manifest(spawner, profile="small", **own)
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1000
    assert "hostPID" not in spec


async def test_a_rescue_server_writes_nothing_into_the_home(spawner):
    spec, _ = await manifest(spawner, profile="rescue")
    container = spec["containers"][0]
    assert "--FileContentsManager.delete_to_trash=False" in container["args"]
    assert {"name": "JUPYTER_DATA_DIR", "value": "/tmp/rescue/jupyter_data_dir"} in container["env"]  # noqa: S108


async def test_what_the_site_grants_is_given_and_nothing_else(spawner):
    spawner.servers = SECTION.model_copy(update={"service_account": "jobs", "site_config_map": "site"})
    spec, _ = await manifest(spawner)
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("jobs", True)
    assert {"name": "site", "configMap": {"name": "site"}} in spec["volumes"]
    assert {"name": "site", "mountPath": "/etc/genesis-workbench", "readOnly": True} in spec["containers"][0][
        "volumeMounts"
    ]


async def test_a_refusal_of_the_cluster_puts_no_secret_into_the_log(spawner, monkeypatch, caplog, tmp_path):
    async def refuse(*_):
        raise ApiException(status=403, reason="Forbidden")

    cluster = SimpleNamespace(create_namespaced_pod=refuse, create_namespaced_secret=refuse)
    monkeypatch.setattr(spawner, "api", cluster)
    file = tmp_path / "made by the hub"
    file.write_text("a private key")
    spawner.cert_paths = dict.fromkeys(("keyfile", "certfile", "cafile"), str(file))
    spawner.internal_trust_bundles = {"hub-ca": str(file)}
    await spawner.load_user_options()
    spawner.log.propagate = True
    pod, keys = await spawner.get_pod_manifest(), spawner.get_secret_manifest(None)
    hidden = (pod.spec.containers[0].env[0].value, keys.data["ssl.key"])
    with pytest.raises(ApiException):
        await spawner._make_create_pod_request(pod, 5)
    with pytest.raises(ApiException):
        await spawner._make_create_resource_request("secret", keys)
    assert f"Pod {pod.metadata.name}" in caplog.text
    assert f"Secret {keys.metadata.name}" in caplog.text
    assert not [each for each in hidden if not each or each in caplog.text]


async def test_a_pod_that_has_ended_is_not_started_again(spawner):
    spec, _ = await manifest(spawner)
    assert spec["restartPolicy"] == "Never"


# --- the words of whoever waits -----------------------------------------------------------------------------------


def pod(state=None, node="n1", **status):
    container = {"image": IMAGE, "resources": {"limits": {"memory": "1Gi"}}}
    containers = [{"name": "notebook", "state": state}] if state else None
    return {
        "metadata": {"uid": "1"},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Pending", "containerStatuses": containers, **status},
    }


def event(reason, message=""):
    return {"reason": reason, "message": message}


UNPLACED = [
    {
        "type": "PodScheduled",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }
]
UNBOUND = [{**UNPLACED[0], "message": "pod has unbound immediate PersistentVolumeClaims"}]


@pytest.mark.parametrize(
    ("found", "events", "words"),
    [
        (None, [], "Looking for a machine with room for you."),
        (pod(node=""), [], "Looking for a machine with room for you."),
        (
            pod(node="", conditions=UNPLACED),
            [],
            "No machine has room for your server now. It starts as soon as one has. "
            "(0/3 nodes are available: 3 Insufficient memory.)",
        ),
        (pod(node="", conditions=UNBOUND), [], "Your home is not there yet."),
        (pod(), [event("Scheduled")], "Preparing your container on n1."),
        (
            pod(),
            [event("Scheduled"), event("Pulling")],
            "n1 fetches your server's image, which takes a while",
        ),
        (pod(), [event("Pulling"), event("Pulled")], "Preparing your container on n1."),
        (
            pod(),
            [event("FailedMount", "no such claim")],
            "Your home cannot be attached yet. (no such claim.)",
        ),
        (pod({"running": {}}), [], "Your container runs on n1; JupyterLab is starting in it."),
    ],
)
def test_the_cluster_is_understood_by_whoever_waits(found, events, words):
    assert _pods.stage(found, events)[1].startswith(words)


@pytest.mark.parametrize(
    ("state", "events", "words"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, [], ""),
        ({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, [], ""),  # it is tried once more
        (
            {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}},
            [event("Failed", f"Failed to pull image {IMAGE}: not found"), event("Failed", "Error")],
            f"The machine n1 cannot fetch the image {IMAGE}: Failed to pull image {IMAGE}: not found. Tell the operator",
        ),
        ({"waiting": {"reason": "ErrImageNeverPull"}}, [], f"The machine n1 has no image {IMAGE}"),
        ({"waiting": {"reason": "InvalidImageName"}}, [], "is not the name of an image"),
        (
            {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}},
            [],
            "Your container cannot be made on n1: no secret. Tell the operator",
        ),
    ],
)
def test_what_can_never_start_is_known_at_once(state, events, words):
    told = _pods.hopeless(pod(state), events)
    assert words in told
    assert bool(told) is bool(words)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
            "It was ended because it wanted more than its 1.0 GiB of memory. Its last words: bye",
        ),
        (
            pod({"terminated": {"reason": "Error", "exitCode": 3}}),
            "It ended with status 3. Its last words: bye",
        ),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            "The cluster took it off its machine: The node was low on resource: memory. Its last words: bye",
        ),
    ],
)
def test_how_a_server_ended_is_said(found, words):
    assert _pods.ended(found)
    assert _pods.ending(found, ["hello", "bye"]) == words
    assert not _pods.ended(pod({"running": {}}, phase="Running"))


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (
            403,
            "pods x is forbidden: exceeded quota: people",
            Unavailable,
            "Stop a server that you no longer need",
        ),
        (403, 'pods is forbidden: User "hub" cannot create', PermissionRefused, "docs/how-to/kubernetes.md"),
        (
            403,
            "pods x is forbidden: violates PodSecurity",
            InvalidInput,
            "refuses your server: pods x is forbidden",
        ),
        (422, "Pod x is invalid", InvalidInput, "Pod x is invalid"),
        (503, "", Unavailable, "cannot answer just now"),
    ],
)
def test_refusals_of_the_cluster_say_what_to_do(status, said, kind, words):
    error = ApiException(status=status, reason="No")
    error.body = json.dumps({"message": said})
    found = _cluster.refusal(error)
    assert isinstance(found, kind)
    assert words in found.message


# --- what is free -------------------------------------------------------------------------------------------------


def node(name, cores="4", memory="16Gi", **spec):
    return {
        "metadata": {"name": name, "labels": {"pool": spec.pop("pool", "cpu")}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cores, "memory": memory, "nvidia.com/gpu": "2" if "g" in name else "0"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def taking(where, cpu, memory, phase="Running", **spec):
    asked = {"resources": {"requests": {"cpu": cpu, "memory": memory}}}
    placed = {"nodeName": where} if where else {}
    return {"spec": {**placed, **spec, "containers": [asked]}, "status": {"phase": phase}}


class Api:
    """A cluster's API that answers in pages of one."""

    def __init__(self, nodes, pods, status=200):
        self._nodes, self._pods, self._status, self.asked = nodes, pods, status, []

    async def list_node(self, **options):
        return self._page(self._nodes, options)

    async def list_pod_for_all_namespaces(self, **options):
        return self._page(self._pods, options)

    def _page(self, items, options):
        self.asked.append(options)
        at = int(options.get("_continue", 0))
        further = str(at + 1) if at + 1 < len(items) else ""
        page = {
            "items": items[at : at + 1],
            "metadata": {"continue": further},
            "message": "nodes: cannot list",
        }

        async def read():
            return json.dumps(page).encode()

        return SimpleNamespace(status=self._status, read=read)


NODES = [
    node("c1"),
    node("c2", unschedulable=True),
    node("g1", cores="8", memory="64Gi", pool="gpu", taints=[{"key": "gpu", "effect": "NoSchedule"}]),
]
PODS = [
    taking("c1", "1500m", "4Gi"),
    taking("g1", "1", "60Gi"),
    taking("", "64", "1Gi", phase="Pending", nodeSelector={"pool": "cpu"}),
]


async def test_what_is_free_is_what_no_pod_has_asked_for_on_machines_that_take_more(spawner):
    spawner.api = Api(NODES, PODS)
    places = await spawner.free()
    assert set(places) == {"", "cpu", "gpu"}
    assert places[""] == places["cpu"]
    assert places["cpu"].words() == "2 cores and 12.0 GiB of memory; 1 waiting"
    assert places["gpu"].words() == "7 cores and 4.0 GiB of memory and 2 accelerators"
    assert [each.cpu_cores for each in places["gpu"].empty] == [8]
    assert all(each["_preload_content"] is False for each in spawner.api.asked)


@pytest.mark.parametrize(
    ("queue", "size", "fits"),
    [
        ("cpu", {"cpu_cores": 2, "memory_bytes": 12 * 2**30}, True),  # whoever waits for 64 cores is passed
        ("cpu", {"cpu_cores": 3}, False),  # 2.5 are free
        ("cpu", {"cpu_cores": 1, "memory_bytes": 13 * 2**30}, False),
        ("gpu", {"cpu_cores": 1, "accelerator_count": 2}, True),
        ("gpu", {"cpu_cores": 1, "accelerator_count": 3}, False),
        (
            "gpu",
            {"cpu_cores": 1, "memory_bytes": 5 * 2**30},
            False,
        ),  # the other machine has them, of another queue
    ],
)
async def test_a_server_fits_where_one_machine_holds_all_of_it(spawner, queue, size, fits):
    spawner.api = Api(NODES, PODS)
    profile = ProfileSection(name="x", title="X", queue=queue, **size)
    assert (await spawner.free())[queue].holds(profile) is fits


async def test_no_machine_holds_anything(spawner):
    spawner.queues = []
    spawner.api = Api([NODES[1]], PODS)
    places = await spawner.free()
    assert places[""].words() == "0 cores and 0.0 GiB of memory"
    assert not places[""].holds(ProfileSection(name="x", title="X"))


async def test_a_hub_that_may_not_see_machines_says_nothing_of_them(spawner):
    spawner.api = Api(NODES, PODS, status=403)
    with pytest.raises(PermissionRefused, match="cannot list"):
        await spawner.free()
    await spawner._refuse_what_never_fits()  # nor does it refuse


async def test_what_no_machine_could_ever_hold_is_refused_with_the_largest(spawner):
    spawner.api = Api(NODES, PODS)
    spawner.user_options = {"profile": "small", "cpu_cores": 8}
    with pytest.raises(
        InvalidInput, match=r"8 cores, 2\.0 GiB of memory, and the largest machine has 4 cores, 16"
    ):
        await spawner._refuse_what_never_fits()
    spawner.user_options = {"profile": "small", "cpu_cores": 4}  # it must wait, but will have its turn
    await spawner._refuse_what_never_fits()
    spawner.api = Api([NODES[2]], [])  # a pool that has been scaled to none
    spawner.user_options = {"profile": "small", "cpu_cores": 8}
    await spawner._refuse_what_never_fits()


async def test_a_page_shows_what_is_free_and_what_a_server_gets_that_asks_for_nothing(spawner):
    spawner.api = Api(NODES, PODS)
    spawner._looks.clear()
    spawner.orm_spawner = None
    spawner.user.orm_user = SimpleNamespace(_orm_spawners=[])
    page = await spawner.page()
    assert "<b>Free now:</b> 2 cores and 12.0 GiB of memory; 1 waiting." in page
    assert "<b>Busy now.</b> Free: 7 cores and 4.0 GiB of memory and 2 accelerators." in page  # of the 8 GiB
    assert "<dd>2 GiB</dd>" in page


# --- through silences and restarts --------------------------------------------------------------------------------


class Reflector:
    """KubeSpawner's view of the pods."""

    def __init__(self, *pods, over=False):
        self.pods = {f"servers/{each['metadata']['name']}": each for each in pods}
        self.watch_task = SimpleNamespace(done=lambda: over)
        self.first_load_future = SimpleNamespace(done=lambda: True)


@pytest.fixture
def watched(spawner, monkeypatch):
    """Let the spawner see these pods, and forget them afterwards."""

    def watch(*pods, **options):
        monkeypatch.setattr(
            type(spawner), "reflectors", {("pods", "servers"): Reflector(*pods, **options)}, raising=False
        )

    async def lines():
        return ["hello", "bye"]

    monkeypatch.setattr(spawner, "_last_lines", lines)
    return watch


def running(spawner, state, **status):
    found = pod(state, phase="Running", podIP="10.0.0.1", **status)
    return {**found, "metadata": {"uid": "1", "name": spawner.pod_name}}


async def test_a_server_that_ended_by_itself_leaves_its_words_for_the_next_start(
    spawner, watched, monkeypatch
):
    removed = []

    async def delete(*_):
        removed.append(True)

    monkeypatch.setattr("kubespawner.KubeSpawner.stop", delete)
    spawner.pod_id = "1"
    watched(running(spawner, {"terminated": {"reason": "OOMKilled", "exitCode": 137}}))
    assert await spawner.poll() == 137
    assert "wanted more than its 1.0 GiB of memory. Its last words: bye" in spawner.last_words
    assert removed


async def test_a_home_that_only_its_pod_sees_is_remembered_and_a_full_one_leads_to_the_rescue(
    spawner, watched, monkeypatch
):
    full = homes.Home(2**31, 2**30, 2**40)

    async def log(**_):
        return f"{homes.report(full)}\nYour home is full"

    monkeypatch.setattr(spawner, "_log", log)
    monkeypatch.setattr(spawner, "_last_lines", pods.KubernetesSpawner._last_lines.__get__(spawner))
    watched(running(spawner, {"terminated": {"reason": "Error", "exitCode": 1}}))
    spawner.hub.base_url = "/hub/"
    refused = await spawner._failure("", time.monotonic() + 5)
    assert "Start the Rescue server" in refused.jupyterhub_message
    spawner.clear_state()
    kept = spawner.get_state()
    assert kept["home"]["used_bytes"] == 2**31
    starts = [SimpleNamespace(state=None), SimpleNamespace(state=kept)]
    spawner.user.orm_user = SimpleNamespace(_orm_spawners=starts)
    assert (await spawner.home()).full


async def test_a_pod_that_is_gone_is_told_only_where_it_ran(spawner, watched):
    watched()
    spawner.last_words = ""
    assert await spawner.poll() == 1
    assert spawner.last_words == ""
    spawner.pod_id = "1"
    assert await spawner.poll() == 1
    assert "removed from outside" in spawner.last_words


@pytest.mark.parametrize(("ago_s", "lost"), [(5, False), (300, True)])
async def test_a_server_counts_as_lost_when_its_machine_does_not_confirm_its_end(
    spawner, watched, ago_s, lost
):
    found = running(spawner, {"running": {}})
    since = datetime.now(UTC) - timedelta(seconds=ago_s)
    found["metadata"]["deletionTimestamp"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    watched(found)
    spawner.pod_id, spawner.last_words = "1", ""
    assert await spawner.poll() == (1 if lost else None)
    assert ("The machine n1 that ran your server has not answered" in spawner.last_words) is lost


async def test_a_cluster_that_does_not_answer_takes_no_server_with_it(spawner, watched, monkeypatch):
    watched(running(spawner, {"running": {}}), over=True)  # the watch has given up

    async def silence(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("kubespawner.KubeSpawner._start_reflector", silence)
    spawner.pod_id = "1"
    assert await spawner.poll() is None
    assert type(spawner).reflectors == {}  # the next look begins a new watch
    assert await spawner.poll() is None


async def test_a_watch_whose_beginning_is_canceled_is_begun_anew(spawner, watched, monkeypatch):
    watched(running(spawner, {"running": {}}), over=True)

    async def canceled(*_, **__):
        raise asyncio.CancelledError

    monkeypatch.setattr("kubespawner.KubeSpawner._start_reflector", canceled)
    with pytest.raises(asyncio.CancelledError):
        await spawner.poll()
    assert type(spawner).reflectors == {}


def test_the_next_hub_knows_which_pod_it_was(spawner):
    spawner.pod_id = "1"
    state = spawner.get_state()
    spawner.clear_state()
    assert spawner.pod_id == ""
    spawner.load_state(state)
    assert spawner.pod_id == "1"


def test_the_site_file_sets_it_up_and_a_hub_that_pods_cannot_reach_is_refused(monkeypatch, tmp_path):
    from traitlets.config import Config

    site = load_site(resources.site_file("kubernetes"))
    monkeypatch.setenv("GENESIS_SITE", str(resources.site_file("kubernetes")))
    settings = Settings(site, SimpleNamespace(), SimpleNamespace(), SimpleNamespace(hub=1, service=2))
    config = Config()
    config.Spawner.environment = {"GENESIS_SITE": "x"}
    settings._kubernetes(config)
    assert config.KubernetesSpawner.namespace == "workbench-servers"
    assert config.JupyterHub.spawner_class is pods.KubernetesSpawner
    assert config.KubernetesSpawner.pvc_name_template == "home-{username}"
    loopback = site.model_copy(update={"hub": site.hub.model_copy(update={"private_address": "127.0.0.1"})})
    with pytest.raises(InvalidInput, match="which pods cannot reach"):
        Settings(loopback, SimpleNamespace(), SimpleNamespace(), SimpleNamespace())._kubernetes(Config())
    everywhere = site.model_copy(update={"hub": site.hub.model_copy(update={"private_address": "0.0.0.0"})})  # noqa: S104
    with pytest.raises(InvalidInput, match=r"set hub\.private_name"):
        Settings(everywhere, SimpleNamespace(), SimpleNamespace(), SimpleNamespace())._kubernetes(Config())
