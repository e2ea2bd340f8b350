"""The pod of a server: as confined as a container, as large as its profile, with a home of its own; checked by the API's schemas."""

from __future__ import annotations

import re
from types import SimpleNamespace

import kubernetes_validate
import pytest
from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.client import ApiClient

from genesis_hub import resources
from genesis_hub.settings import Settings
from genesis_hub.spawners import kubernetes as pods
from genesis_workbench.core.errors import InvalidInput
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


async def test_home_scratch_and_shared_data_are_attached(spawner):
    spec, _ = await manifest(spawner)
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"/home/user", "/tmp", "/data"}  # noqa: S108
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


def test_the_cluster_is_understood_by_whoever_waits():
    said = {"reason": "FailedScheduling", "message": "0/3 nodes are available: 3 Insufficient memory."}
    assert pods.words(said) == (
        "No machine has room for your server now. It starts as soon as one has. (0/3 nodes are available: 3 Insufficient memory.)"
    )
    assert pods.words({"reason": "Started", "message": "Started container notebook"}).startswith(
        "Your container runs"
    )
    assert pods.words({"reason": "Odd", "message": "Something new"}) == "Something new"


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
    loopback = site.model_copy(update={"hub": site.hub.model_copy(update={"private_address": "127.0.0.1"})})
    with pytest.raises(InvalidInput, match="which pods cannot reach"):
        Settings(loopback, SimpleNamespace(), SimpleNamespace(), SimpleNamespace())._kubernetes(Config())
