"""The hub starts each person's server as a Slurm job of that person, and a notebook in it opens a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from genesis_workbench.core.service import Service
from harness import Browser, Workbench, run_in_kernel
from system.accounts import ROOT, Account, shared_python
from system.containers.nodes import Network, user_image
from system.slurm.cluster import PATH, SlurmCluster
from system.slurm.conftest import needed

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several people"),
    pytest.mark.timeout(600),
]
SITE = """
name = "test"
[hub]
private_address = "{address}"
[servers]
spawner = "slurm"
# What sudo does on a site, without its rules (see test_sudo_is_enough).
become = [
  "env", "-i", "HOME={folder}/{{person}}", "USER={{person}}", "SLURM_CONF={conf}", "PATH={path}", "LD_LIBRARY_PATH={library}",
  "setpriv", "--reuid={{person}}", "--regid={{person}}", "--clear-groups", "--",
]
[[servers.profiles]]
name = "small"
title = "Small"
cpu_cores = 1
memory_bytes = 1073741824
walltime_s = 1800
[[servers.profiles]]
name = "vast"
title = "Vast"
memory_bytes = 1099511627776
[[servers.profiles]]
name = "secret"
title = "For others"
groups = ["others"]
[[servers.profiles]]
name = "boxed"
title = "In an image"
cpu_cores = 1
memory_bytes = 1073741824
walltime_s = 1800
image = "{folder}/image"
[compute]
scheduler = "slurm"
interface = "{interface}"
python = "{python}"
worker_memory_bytes = 314572800
[compute.slurm]
poll_s = 0.3
spool = "{folder}/scratch/{{person}}"
# Charliecloud, without root; the image's own variables are not taken.
container = ["ch-run", "--set-env=PATH=/opt/genesis-workbench/bin:/usr/bin:/bin", "{{image}}", "--"]
[catalog]
sources = []
"""
DASHBOARD = "import panel as pn\npn.pane.Str('spots').servable(title='Sunspots')\n"
NOTEBOOK = """
import genesis_workbench as gw, os
with gw.cluster(workers=2) as cluster:
    cluster.wait(timeout_s=90)
    print(cluster.client.submit(sum, [1, 2]).result(), sorted(set(cluster.client.run(os.getuid).values())), os.getuid())
"""


@pytest.fixture(scope="module")
def folder():
    """A folder that everybody can read, with a Python for everybody."""
    needed()
    made = Path(tempfile.mkdtemp(prefix="hub-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def python(folder):
    return shared_python(folder / "python")


@pytest.fixture(scope="module")
def network():
    """A network of hub and machines, which are all this machine: beyond loopback everything is encrypted."""
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def site(folder, python, network):
    """A Slurm, and the site file of a hub on it."""
    with SlurmCluster(memory_mib=4000) as slurm:
        text = SITE.format(
            folder=folder,
            conf=slurm.conf,
            path=PATH,
            python=python,
            library=python.parent.parent / "lib",
            address=network.address(1),
            interface=network.name,
        )
        (folder / "site.toml").write_text(text)
        (folder / "scratch").mkdir()
        (folder / "scratch").chmod(0o1777)
        yield slurm


@pytest.fixture(scope="module")
def people(folder, python, site):
    """Two accounts of the machine: whoever is called like one at the hub."""
    made = {name: Account(name, folder, python, {"SLURM_CONF": str(site.conf)}) for name in ("games", "news")}
    out, err = made["games"].run("import genesis_workbench, tantivy; print('ready')")
    if out.strip() != "ready":
        pytest.skip(f"other accounts cannot read this checkout: {err.strip()[-200:]}")
    return made


@pytest.fixture(scope="module")
def workbench(folder, people, site):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", PATH)
        with Workbench(folder / "state", folder / "site.toml") as running:
            for name in people:
                running.add(name, "solar")
            yield running


@pytest.fixture
def signed_in(workbench):
    made = {name: Browser(workbench) for name in ("games", "news")}
    for name, browser in made.items():
        browser.sign_in(name, workbench.passwords[name])
    yield made
    for browser in made.values():
        browser.close()


def _variable(process, name):
    """Return a variable of a process; empty where it has ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return process.environ().get(name, "")
    return ""


def _owner(process):
    with contextlib.suppress(psutil.Error):
        return process.uids().real
    return None


def _ready(browser):
    return browser.hub("GET", "users/news").json()["servers"].get("", {}).get("ready")


def _start(workbench, browser, profile):
    answer = browser.hub("POST", "users/news/server", json={"profile": profile})
    assert answer.status_code in (201, 202), answer.text  # it may be ready already
    workbench.until(lambda: _ready(browser), timeout_s=120)


def _stop(workbench, browser):
    browser.hub("DELETE", "users/news/server")
    workbench.until(lambda: "" not in browser.hub("GET", "users/news").json()["servers"])


def test_a_server_is_a_job_of_its_person_and_opens_a_cluster(workbench, signed_in, site, people, folder):
    for name in ("games", "news"):
        signed_in[name].start_server(name)
    owners = site.run("squeue", "-h", "-o", "%u %T").split("\n")
    assert sorted(line for line in owners if line) == ["games RUNNING", "news RUNNING"]
    token = signed_in["games"].make_token("games")
    out = run_in_kernel(workbench, "games", token, NOTEBOOK)
    assert out.split() == ["3", "[5]", "5"]
    # No file that is left holds the server's token, and no command line does.
    environments = {
        _variable(each, "JUPYTERHUB_API_TOKEN")
        for each in psutil.process_iter()
        if _owner(each) == people["games"].entry.pw_uid
    } - {""}
    assert environments
    for secret in environments:
        for place in (people["games"].home, folder / "scratch"):
            for file in place.rglob("*"):
                if file.is_file() and file.stat().st_size < 2**20:
                    assert secret.encode() not in file.read_bytes(), file
        for process in psutil.process_iter(["cmdline"]):
            assert secret not in " ".join(process.info["cmdline"] or [])
    # Bob's rights end at his own server.
    answer = signed_in["news"].hub("DELETE", "users/games/server")
    assert answer.status_code in (403, 404)
    refused = httpx.get(
        f"{workbench.public_url}/user/games/api/contents",
        headers={
            "Host": f"games--user.localhost:{workbench.port}",
            "Authorization": f"token {signed_in['news'].make_token('news')}",
        },
        trust_env=False,
    )
    assert refused.status_code == 403


def test_what_a_job_and_the_hub_say_to_each_other_is_encrypted_and_a_key_stays_on_its_machine(
    workbench, signed_in, network, people, folder
):
    told = {}
    for name, account in people.items():
        owned = (each for each in psutil.process_iter() if _owner(each) == account.entry.pw_uid)
        told[name] = next(each for each in owned if _variable(each, "JUPYTERHUB_SSL_KEYFILE")).environ()
    where = urlsplit(told["games"]["JUPYTERHUB_SERVICE_URL"])
    assert (where.scheme, where.hostname) == ("https", network.address(1))
    ports = json.loads((workbench.state / "run/ports.json").read_text())
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    for port in (where.port, ports["hub"], ports["service"]):
        for scheme in ("http", "https"):
            with pytest.raises(httpx.TransportError):
                httpx.get(
                    f"{scheme}://{network.address(1)}:{port}/", verify=stranger, trust_env=False, timeout=10
                )
    # Another person's server may call the hub, but not this one.
    stranger.load_cert_chain(told["news"]["JUPYTERHUB_SSL_CERTFILE"], told["news"]["JUPYTERHUB_SSL_KEYFILE"])
    with pytest.raises(httpx.TransportError, match=r"(?i)unknown.ca"):
        httpx.get(f"https://{network.address(1)}:{where.port}/", verify=stranger, trust_env=False, timeout=10)
    assert (
        httpx.get(
            f"https://{network.address(1)}:{ports['hub']}/hub/api/", verify=stranger, trust_env=False
        ).status_code
        == 200
    )
    key = Path(told["games"]["JUPYTERHUB_SSL_KEYFILE"])
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    secret = key.read_bytes().splitlines()[1]
    for place in (people["games"].home, folder / "scratch", workbench.state):
        for file in place.rglob("*"):
            if file.is_file() and file.stat().st_size < 2**20:
                assert secret not in file.read_bytes(), file


@pytest.fixture
def image(folder):
    """The user image as a folder, which is what Charliecloud runs."""
    needs = [name for name in ("ch-run", "podman") if shutil.which(name) is None]
    found = "" if needs else user_image()
    if not found:
        pytest.skip(f"missing: {', '.join(needs) or 'a user image (workbench images build user)'}")
    mounted = subprocess.run(["podman", "image", "mount", found], capture_output=True, text=True, check=True)
    (folder / "image").mkdir()
    subprocess.run(["mount", "--bind", mounted.stdout.strip(), folder / "image"], check=True)
    yield folder / "image"
    subprocess.run(["umount", "--lazy", folder / "image"], check=True)
    subprocess.run(["podman", "image", "unmount", found], check=True, capture_output=True)
    (folder / "image").rmdir()


@pytest.mark.slow
def test_a_server_in_an_image_is_the_persons_and_encrypts(workbench, signed_in, image, people):
    browser = signed_in["news"]
    _stop(workbench, browser)
    _start(workbench, browser, "boxed")
    code = """
import os, sys
from pathlib import Path
Path("from-the-image.txt").write_text("kept")
print(sys.executable, os.getuid(), Path.home(), os.environ["JUPYTERHUB_SERVICE_URL"].partition(":")[0])
"""
    out = run_in_kernel(workbench, "news", browser.make_token("news"), code)
    account = people["news"]
    told = next(each for each in _serving("genesis_hub.inside") if _owner(each) == account.entry.pw_uid)
    options = [word for word in told.cmdline() if word.startswith("--")]
    assert not any(str(ROOT) in word for word in options), "options that name folders of the hub's machine"
    assert out.split() == [
        "/opt/genesis-workbench/bin/python", str(account.entry.pw_uid), str(account.home), "https",
    ]  # fmt: skip
    assert (account.home / "from-the-image.txt").stat().st_uid == account.entry.pw_uid
    _stop(workbench, browser)
    # The hub remembers what somebody chose, and the image goes with this test.
    _start(workbench, browser, "small")


@pytest.mark.slow
def test_a_dashboard_is_a_job_that_the_group_sees_and_nobody_else(workbench, signed_in, site, network):
    service = Service(workbench.service_url, signed_in["games"].make_token("games"))
    made = service.post("dashboards", {"title": "Sunspots", "source": DASHBOARD, "groups": ["solar"]})
    try:
        page = signed_in["news"].patient_get(made["url"])
        assert page.status_code == 200
        assert "Sunspots" in page.text
        jobs = site.run("squeue", "-h", "-u", "games", "-o", "%A").split()
        environments = (each.environ() for each in _serving("genesis_workbench.dashboards.serve"))
        told = next(each for each in environments if each.get("JUPYTERHUB_SERVER_NAME") == made["id"])
        assert told["SLURM_JOB_ID"] in jobs
        where = urlsplit(told["JUPYTERHUB_SERVICE_URL"])
        assert (where.scheme, where.hostname) == ("https", network.address(1))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{where.netloc}/", trust_env=False, timeout=10)
    finally:
        service.delete(f"dashboards/{made['id']}")
        service.close()
    workbench.until(lambda: told["SLURM_JOB_ID"] not in site.run("squeue", "-h", "-o", "%A").split())


def _serving(module):
    return [each for each in psutil.process_iter(["cmdline"]) if module in (each.info["cmdline"] or [])]


@pytest.mark.slow
def test_a_server_that_ends_is_noticed_and_starts_again(workbench, signed_in, site):
    browser = signed_in["news"]
    before = site.run("squeue", "-h", "-u", "news", "-o", "%A").split()
    assert browser.hub("DELETE", "users/news/server").status_code in (202, 204)
    workbench.until(lambda: not site.run("squeue", "-h", "-u", "news", "-o", "%A").split())
    workbench.until(lambda: not browser.hub("GET", "users/news").json()["servers"])
    browser.start_server("news")
    after = site.run("squeue", "-h", "-u", "news", "-o", "%A").split()
    assert len(after) == 1
    assert after != before


def test_a_full_home_is_told_refused_and_emptied_by_the_rescue_server(workbench, signed_in, people):
    browser, home = signed_in["news"], people["news"].home
    _stop(workbench, browser)
    before = sorted(home.rglob("*"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0777", "tmpfs", home], check=True)
    try:
        with contextlib.suppress(OSError), (home / "results.bin").open("wb") as file:
            while True:
                file.write(bytes(2**20))
        refused = browser.hub("POST", "users/news/server", json={"profile": "small"})
        assert refused.status_code == 400
        assert "The disk of your home is full: 0.00 GiB are left" in refused.json()["message"]
        page = browser.get(f"{workbench.public_url}/hub/spawn/news").text
        assert 'value="rescue"' in page
        assert 'value="small"' not in page

        _start(workbench, browser, "rescue")
        assert [each.name for each in home.iterdir()] == ["results.bin"]
        answer = browser.http.delete(
            f"{workbench.user_origin('news')}/user/news/api/contents/results.bin",
            headers={"Authorization": f"token {browser.make_token('news')}"},
        )
        assert answer.status_code == 204, answer.text
        assert list(home.iterdir()) == []
        _stop(workbench, browser)

        assert "0.09 GiB left" in browser.get(f"{workbench.public_url}/hub/spawn/news").text
        _start(workbench, browser, "small")
        assert (home / "tutorials").is_dir()
    finally:
        _stop(workbench, browser)
        subprocess.run(["umount", "--lazy", home], check=True)
    assert sorted(home.rglob("*")) == before


@pytest.mark.slow
def test_a_full_queue_is_told_on_the_waiting_page(workbench, signed_in, site):
    browser = signed_in["news"]
    browser.hub("DELETE", "users/news/server")
    workbench.until(lambda: not browser.hub("GET", "users/news").json()["servers"])
    site.run("scontrol", "update", "PartitionName=debug", "State=DOWN")
    try:
        assert browser.hub("POST", "users/news/server", json={"profile": "small"}).status_code == 202
        with browser.http.stream(
            "GET", f"{workbench.public_url}/hub/api/users/news/server/progress", timeout=60
        ) as events:
            told = next(line for line in events.iter_lines() if "closed for now" in line)
        assert "in the queue" in told.lower()
    finally:
        site.run("scontrol", "update", "PartitionName=debug", "State=UP")
    workbench.until(lambda: _ready(browser), timeout_s=90)


@pytest.mark.parametrize(
    ("profile", "words"),
    [("vast", "can never run on the queue"), ("secret", "You can choose: small, vast, boxed")],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_would_do(workbench, signed_in, site, profile, words):
    browser = signed_in["news"]
    browser.hub("DELETE", "users/news/server")
    workbench.until(lambda: not browser.hub("GET", "users/news").json()["servers"])
    workbench.until(lambda: not site.run("squeue", "-h", "-u", "news", "-o", "%A").split())
    options = {
        "profile": profile,
        "become": ["sh", "-c", "touch /tmp/taken"],
        "job": "1",
        "python": "/bin/sh",
    }
    answer = browser.hub("POST", "users/news/server", json=options)
    assert answer.status_code == 400
    assert words in answer.text
    assert not site.run("squeue", "-h", "-u", "news", "-o", "%A").split()


def test_a_hub_that_restarts_loses_no_server(workbench, signed_in, site):
    browser = signed_in["games"]
    jobs = site.run("squeue", "-h", "-u", "games", "-o", "%A").split()
    workbench.program("jupyterhub_config.py").kill()

    def ready():
        answer = browser.hub("GET", "users/games")  # until the hub is back, the proxy answers in its place
        return answer.status_code == 200 and answer.json()["servers"].get("", {}).get("ready")

    workbench.until(ready, timeout_s=90)
    assert site.run("squeue", "-h", "-u", "games", "-o", "%A").split() == jobs


@pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo missing: apt-get install sudo")
def test_sudo_is_enough(folder, python, people, site):
    """The one rule that a site needs, in a mount namespace of its own: nothing of this machine changes."""
    variables = {"HOME": people["games"].home, "SLURM_CONF": site.conf, "PATH": PATH,
                 "LD_LIBRARY_PATH": python.parent.parent / "lib"}  # fmt: skip
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    program = f"/usr/bin/env -i {words} {python} -m genesis_workbench.compute.batch_server"
    # In a rule of sudo, ':' and '=' of arguments are escaped.
    escaped = program.replace(":", r"\:").replace("=", r"\=")
    (folder / "rule").write_text(f"backup ALL=(games) NOPASSWD: {escaped} *\n")
    inside = (
        f"mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d && cp {folder}/rule /etc/sudoers.d/genesis && chmod 440 /etc/sudoers.d/genesis"
        " && exec setpriv --reuid=backup --regid=backup --clear-groups -- sudo -n "
    )

    def ask(account, verb, asked):
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f"{inside} -u {account} -- {program} {verb} --site {folder}/site.toml",
        ]
        return subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)

    server = {"name": "server-sudo", "start": "0" * 16}
    started = ask(
        "games",
        "start",
        {**server, "command": ["true"], "environment": {"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1/x/"}},
    )
    assert json.loads(started.stdout)["job"].isdigit(), started.stderr
    assert json.loads(ask("games", "end", server).stdout) == {}
    refused = ask("root", "look", server)
    assert refused.returncode != 0
    assert refused.stdout == ""
