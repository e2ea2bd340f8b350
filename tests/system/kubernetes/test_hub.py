"""People's servers as pods of a real Kubernetes, by a hub that has the chart's rights and no more.

The tests are steps of one story and run in their order: a server takes ten seconds to start. The cluster for tests does not
enforce network policies: what they say is tested with the chart.
"""

from __future__ import annotations

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from harness import Browser, Workbench
from system.kubernetes.notebook import RULES, Kubectl, account, may_see

# The first of them waits until the image is built.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SERVERS = "component=singleuser-server"
HOME_BYTES = 256 * 2**20
SITE = """
name = "pods"
[hub]
private_address = "{address}"
[servers]
spawner = "kubernetes"
start_timeout_s = 90
home_bytes = {home_bytes}
[servers.kubernetes]
namespace = "{namespace}"
image = "{image}"
site_config_map = "site"
groups_claim = "groups"
memory_bytes = 805306368
[[servers.profiles]]
name = "small"
title = "Small"
cpu_cores = 1
memory_bytes = 1073741824
[[servers.profiles]]
name = "plain"
title = "What every server gets"
[[servers.profiles]]
name = "whole"
title = "A whole machine"
cpu_cores = {cores}
[[servers.profiles]]
name = "vast"
title = "More than there is"
memory_bytes = 1099511627776
[[servers.profiles]]
name = "tight"
title = "Too little to start in"
memory_bytes = 41943040
[[servers.profiles]]
name = "tagged"
title = "Named by a tag"
image = "localhost/probe:1"
[[servers.profiles]]
name = "absent"
title = "An image that nobody has"
image = "localhost/absent@sha256:{absent}"
[catalog]
sources = []
"""
# Only the server's own process has the token: a process that is merely run in the container is nobody.
AS_THE_SERVER = (
    "import os; e = dict(p.split('=', 1) for p in open('/proc/1/environ').read().split('\\0') if '=' in p);"
    "os.environ.update(e);"
)


@pytest.fixture(scope="module")
def cores(kubectl: Kubectl) -> int:
    """Whole cores that the largest machine gives to pods."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return max(int(float(node["status"]["allocatable"]["cpu"])) for node in nodes)


@pytest.fixture(scope="module")
def workbench(kubectl: Kubectl, kubeconfig: Path, pinned_image: str, cores: int, tmp_path_factory):
    """A hub on this machine, with the account of the chart's hub."""
    folder = tmp_path_factory.mktemp("hub")
    account(kubectl, "hub", RULES.with_name("servers-rules.yaml"))
    may_see(kubectl, "nodes", "pods", who="hub")
    access = json.loads(kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    token = kubectl("create", "token", "hub", "--duration=3h").strip()
    access["users"] = [{"name": access["contexts"][0]["context"]["user"], "user": {"token": token}}]
    (folder / "kubeconfig").write_text(json.dumps(access))
    (folder / "kubeconfig").chmod(0o600)
    text = SITE.format(
        address=address_towards(access["clusters"][0]["cluster"]["server"]),
        namespace=kubectl.namespace,
        image=pinned_image,
        home_bytes=HOME_BYTES,
        cores=cores,
        absent="0" * 64,
    )
    (folder / "site.toml").write_text(text)
    kubectl("create", "configmap", "site", f"--from-file=site.toml={folder / 'site.toml'}")
    shared_by_all_machines(kubectl, "groups", folder / "groups")
    running = Workbench(folder / "state", folder / "site.toml")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
            running.start()
        for name in ("alice", "bob"):
            running.add(name, "fusion")
        yield running
        running.stop()
    finally:
        kubectl("delete", "pods", "--selector", SERVERS, "--grace-period=0", "--force")
        kubectl("delete", "configmap", "site", "--ignore-not-found")
        kubectl("delete", "persistentvolumeclaim", "groups", "--ignore-not-found")
        kubectl("delete", "persistentvolume", f"{kubectl.namespace}-groups", "--ignore-not-found")


def shared_by_all_machines(kubectl: Kubectl, name: str, folder: Path) -> None:
    """Make a claim on a folder that belongs to people's group: the machines of the cluster for tests are this one."""
    folder.mkdir()
    os.chown(folder, 0, 1000)
    folder.chmod(0o2775)
    about = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = f"{kubectl.namespace}-{name}"
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {**about, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {**about, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        },
    )


def address_towards(url: str) -> str:
    """Return the address that this machine has on the network of the cluster."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port or 443), timeout=10) as link:
        return str(link.getsockname()[0])


@pytest.fixture
def people(workbench):
    """Everybody, signed in."""
    made = {name: Browser(workbench) for name in ("alice", "bob", "admin")}
    for name, browser in made.items():
        browser.sign_in(name, workbench.passwords[name])
    yield made
    for browser in made.values():
        browser.close()


@pytest.fixture
def both(workbench, people):
    """Alice and Bob, each with a server that runs."""
    for name in ("alice", "bob"):
        if not ready(people[name], name):
            people[name].hub("POST", f"users/{name}/server", json={"profile": "small"})
    for name in ("alice", "bob"):
        workbench.until(lambda name=name: ready(people[name], name), timeout_s=120)
    return people


def ready(person, name):
    answer = person.hub(
        "GET", f"users/{name}"
    )  # until a hub that restarts is back, the proxy answers in its place
    return answer.status_code == 200 and answer.json()["servers"].get("", {}).get("ready")


def stop(workbench, person, name):
    person.hub("DELETE", f"users/{name}/server")
    workbench.until(lambda: "" not in person.hub("GET", f"users/{name}").json()["servers"])


def pod_of(kubectl, name):
    """Return somebody's pod; LookupError where there is none."""
    for pod in kubectl.items("pods", SERVERS):
        if pod["metadata"]["annotations"]["hub.jupyter.org/username"] == name:
            return pod
    raise LookupError(name)


def inside(kubectl, name, *command, check=True):
    """Run something in somebody's pod, as they would in a terminal."""
    return kubectl("exec", pod_of(kubectl, name)["metadata"]["name"], "--", *command, check=check).strip()


def story(workbench, person, name):
    """Return what the waiting page is told, to its end."""
    found = []
    url = f"{workbench.public_url}/hub/api/users/{name}/server/progress"
    with person.http.stream("GET", url, timeout=120) as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                found.append(json.loads(line.removeprefix("data:")))
            if found and (found[-1].get("ready") or found[-1].get("failed")):
                break
    return found


def why_not(workbench, person, name, profile):
    """Return why a server does not start: at once, or on the waiting page."""
    answer = person.hub("POST", f"users/{name}/server", json={"profile": profile})
    if answer.status_code >= 400:
        return answer.json()["message"]
    end = story(workbench, person, name)[-1]
    assert end.get("failed"), end
    return end["message"]


def cards(workbench, person):
    """Return what the page says is free, by profile."""
    page = person.get(f"{workbench.public_url}/hub/spawn").text
    found = re.findall(
        r'name="profile" id="[^"]+" value="(\w+)".*?genesis-free[^>]*>\s*(.*?)</p>', page, re.DOTALL
    )
    return {name: " ".join(re.sub("<[^>]+>", "", text).split()) for name, text in found}


def test_the_page_says_what_is_free_before_anybody_has_a_server(workbench, people, cores):
    told = cards(workbench, people["alice"])
    machine = rf"{cores} cores? and [\d.,]+ GiB of memory"
    assert re.fullmatch(rf"Free now: {machine}\.", told["small"]), told
    assert told["whole"] == told["plain"] == told["small"]
    assert told["vast"] == told["small"].replace("Free now:", "Larger than any machine here. Free:")


def test_a_server_starts_with_a_story_and_is_confined(workbench, people, kubectl):
    alice = people["alice"]
    with ThreadPoolExecutor(
        1
    ) as pool:  # the answer comes when the server is there, unless that takes ten seconds
        asked = pool.submit(alice.hub, "POST", "users/alice/server", json={"profile": "small"})
        workbench.until(lambda: alice.hub("GET", "users/alice").json()["servers"].get("", {}).get("pending"))
        told = [event["message"] for event in story(workbench, alice, "alice")]
        assert asked.result().status_code in (201, 202)
    node = pod_of(kubectl, "alice")["spec"]["nodeName"]
    assert told[0] == "Server requested"
    assert "Looking for a machine with room for you." in told
    assert f"Your container runs on {node}; JupyterLab is starting in it." in told
    status = inside(kubectl, "alice", "cat", "/proc/self/status")
    about = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert about["Uid"].split() == about["Gid"].split() == ["1000"] * 4
    assert int(about["CapEff"], 16) == int(about["CapBnd"], 16) == 0
    assert (about["NoNewPrivs"], about["Seccomp"]) == ("1", "2")
    for place in ("/x", "/etc/x", "/usr/x", "/etc/genesis-workbench/x"):
        assert inside(kubectl, "alice", "sh", "-c", f"touch {place} 2>/dev/null || echo refused") == "refused"
    assert inside(kubectl, "alice", "sh", "-c", "ls /var/run/secrets/kubernetes.io 2>&1 || true").endswith(
        "No such file or directory"
    )
    assert "KUBECONFIG" not in inside(kubectl, "alice", "env")


def test_the_profile_sets_what_a_server_may_use(workbench, both, kubectl):
    (container,) = pod_of(kubectl, "alice")["spec"]["containers"]
    for kind in ("requests", "limits"):
        assert container["resources"][kind] == {"cpu": "1", "memory": "1073741824"}
    limit = inside(
        kubectl,
        "alice",
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true",
    )
    assert limit == "1073741824"
    environment = inside(
        kubectl,
        "alice",
        "python",
        "-c",
        AS_THE_SERVER
        + "print(*(os.environ[name] for name in ('MEM_LIMIT', 'CPU_LIMIT', 'OMP_NUM_THREADS')))",
    )
    assert environment == "1073741824 1.0 1"


def test_home_site_and_service_are_there_as_everywhere(workbench, both, kubectl):
    inside(kubectl, "alice", "sh", "-c", "echo hers > ~/notes.txt")
    assert "tutorials" in inside(kubectl, "alice", "ls", "/home/user").split()
    ask = (
        AS_THE_SERVER
        + "from genesis_workbench.core.service import service; print(service().get('me')['name'])"
    )
    assert inside(kubectl, "alice", "python", "-W", "ignore", "-c", ask) == "alice"
    site = AS_THE_SERVER + "from genesis_workbench.core.site import this_site; print(this_site().name)"
    assert inside(kubectl, "alice", "python", "-W", "ignore", "-c", site) == "pods"
    assert both["alice"].get(f"{workbench.user_origin('alice')}/user/alice/lab").status_code == 200


def test_people_of_a_group_share_its_folder(both, kubectl):
    inside(kubectl, "alice", "sh", "-c", "echo ours > /groups/fusion/plan.txt")
    assert inside(kubectl, "bob", "cat", "/groups/fusion/plan.txt") == "ours"
    inside(kubectl, "bob", "sh", "-c", "echo mine too > /groups/fusion/more.txt")
    assert inside(kubectl, "alice", "ls", "/groups") == "fusion"


def test_nobody_reaches_the_server_or_the_home_of_another(workbench, both, kubectl):
    lab = f"{workbench.user_origin('alice')}/user/alice/lab"
    assert both["bob"].get(lab).status_code == 403
    contents = {
        "headers": {
            "Host": f"alice--user.localhost:{workbench.port}",
            "Authorization": f"token {both['bob'].make_token('bob')}",
        },
        "trust_env": False,
    }
    url = f"{workbench.public_url}/user/alice/api/contents"
    assert httpx.get(url, **contents).status_code == 403
    assert both["bob"].hub("DELETE", "users/alice/server").status_code in (403, 404)
    # Past the proxy, where no network policy stands before it: its own sign-in does.
    where = pod_of(kubectl, "alice")["status"]["podIP"]
    knock = (
        AS_THE_SERVER
        + f"import httpx; print(httpx.get('http://{where}:8888/user/alice/api/contents', headers="
        + "{'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}, trust_env=False).status_code)"
    )
    assert inside(kubectl, "bob", "python", "-c", knock) == "403"
    seen = "find / -xdev -name notes.txt -not -path '/proc/*' 2>/dev/null || true"
    assert inside(kubectl, "bob", "sh", "-c", f"({seen}); find /home/user -name notes.txt") == ""
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for name in ("alice", "bob")
        for volume in pod_of(kubectl, name)["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"home-alice", "home-bob", "groups"}


def test_a_machine_that_is_taken_is_busy_on_the_page_and_waited_for_in_words(workbench, both, kubectl, cores):
    told = cards(workbench, both["admin"])
    nodes = {pod_of(kubectl, name)["spec"]["nodeName"] for name in ("alice", "bob")}
    every = set(kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.name}").split())
    assert nodes == every, "the scheduler has put both on one of several machines"
    assert re.fullmatch(r"Busy now\. Free: \d+ cores? and [\d.,]+ GiB of memory\.", told["whole"]), told
    why = why_not(workbench, both["admin"], "admin", "whole")
    assert "Your server did not start within 90 s." in why
    assert "No machine has room for your server now. It starts as soon as one has." in why
    assert "Insufficient cpu" in why
    with pytest.raises(LookupError):
        pod_of(kubectl, "admin")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            "vast",
            "No machine can ever hold this server: it asks for 1 core, 1,024.0 GiB of memory, and the largest",
        ),
        ("tagged", "by the tag 'localhost/probe:1', not by its digest"),
        ("absent", "cannot fetch the image localhost/absent@sha256:0000"),
        ("tight", "wanted more than its 0.0 GiB of memory"),
    ],
)
def test_what_cannot_start_is_told_and_leaves_nothing(workbench, people, kubectl, profile, words):
    assert words in why_not(workbench, people["admin"], "admin", profile)
    workbench.until(lambda: "" not in people["admin"].hub("GET", "users/admin").json()["servers"])
    with pytest.raises(LookupError):
        pod_of(kubectl, "admin")


def test_a_full_quota_is_told(workbench, people, kubectl):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "people"},
        "spec": {"hard": {"pods": "1"}},
    }
    kubectl.apply(quota)
    workbench.until(lambda: '"hard"' in kubectl("get", "resourcequota", "people", "-o", "jsonpath={.status}"))
    try:
        why = why_not(workbench, people["admin"], "admin", "small")
        assert "The servers of this site have used up what the cluster gives them." in why
    finally:
        kubectl("delete", "resourcequota", "people")


def test_a_hub_that_is_killed_finds_every_server_again(workbench, both, kubectl):
    before = {name: pod_of(kubectl, name)["metadata"]["uid"] for name in ("alice", "bob")}
    old = workbench.program("jupyterhub_config.py")
    old.kill()
    workbench.until(
        lambda: workbench.program("jupyterhub_config.py").pid != old.pid and ready(both["alice"], "alice"),
        timeout_s=90,
    )
    assert ready(both["bob"], "bob")
    assert {name: pod_of(kubectl, name)["metadata"]["uid"] for name in ("alice", "bob")} == before
    assert both["alice"].get(f"{workbench.user_origin('alice')}/user/alice/lab").status_code == 200


def test_a_server_that_is_stopped_leaves_its_home_alone(workbench, both, kubectl):
    stop(workbench, both["alice"], "alice")
    with pytest.raises(LookupError):
        pod_of(kubectl, "alice")
    assert "home-alice" in kubectl("get", "persistentvolumeclaims", "--output=name")
    both["alice"].hub("POST", "users/alice/server", json={"profile": "plain"})
    workbench.until(lambda: ready(both["alice"], "alice"), timeout_s=120)
    assert inside(kubectl, "alice", "cat", "/home/user/notes.txt") == "hers"
    (container,) = pod_of(kubectl, "alice")["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "805306368"}


def test_a_pod_that_is_deleted_is_missed_and_told(workbench, both, kubectl):
    kubectl("delete", "pod", pod_of(kubectl, "bob")["metadata"]["name"])
    workbench.until(lambda: not ready(both["bob"], "bob"), timeout_s=90)
    page = both["bob"].get(f"{workbench.public_url}/hub/spawn").text
    assert "Your server was removed from outside." in page


def test_a_full_home_is_told_where_a_server_is_chosen_and_only_the_rescue_starts_in_it(
    workbench, both, kubectl
):
    alice = both["alice"]
    inside(kubectl, "alice", "sh", "-c", f"head -c {HOME_BYTES} /dev/zero > ~/waste")
    stop(workbench, alice, "alice")
    why = why_not(workbench, alice, "alice", "small")
    assert "Your home is full" in why
    assert "Start the Rescue server" in why
    workbench.until(lambda: "" not in alice.hub("GET", "users/alice").json()["servers"])
    page = alice.get(f"{workbench.public_url}/hub/spawn").text
    assert "Your home was full when your last server started" in page
    assert 'value="rescue"' in page
    alice.hub("POST", "users/alice/server", json={"profile": "rescue"})
    workbench.until(lambda: ready(alice, "alice"), timeout_s=120)
    inside(kubectl, "alice", "rm", "/home/user/waste")
    stop(workbench, alice, "alice")
    alice.hub("POST", "users/alice/server", json={"profile": "small"})
    workbench.until(lambda: ready(alice, "alice"), timeout_s=120)
    stop(workbench, alice, "alice")
    page = alice.get(f"{workbench.public_url}/hub/spawn").text
    assert re.search(
        r"Your home held when your last server started, just now: 0\.\d\d GiB of 0\.25 GiB\.", page
    )


def test_in_a_browser_the_cards_tell_of_the_cluster_and_the_waiting_page_of_the_pod(
    workbench, people, kubectl, chromium, screenshot
):
    if ready(people["bob"], "bob"):
        stop(workbench, people["bob"], "bob")
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.goto(f"{workbench.public_url}/hub/login?next=/hub/spawn/bob")
    page.fill("#username_input", "bob")
    page.fill("#password_input", workbench.passwords["bob"])
    page.click("#login_submit")
    page.get_by_role("heading", name="Start a server").wait_for()
    expect(page.locator(".genesis-free").first).to_contain_text("GiB of memory")
    expect(page.locator("#genesis-home-words")).to_contain_text("of 0.25 GiB")
    screenshot(page, "60-pods-profiles")
    page.get_by_role("radio", name="Small").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("spawn-pending"), timeout=30_000)
    page.get_by_text("What happened so far").click()
    expect(page.locator("#genesis-steps li", has_text="Your container runs on node")).to_be_visible(
        timeout=60_000
    )
    screenshot(page, "61-pods-waiting")
    page.wait_for_url(re.compile("bob--user"), timeout=120_000)
    page.locator(".jp-Launcher, .jp-Notebook, .jp-MarkdownViewer").first.wait_for(timeout=60_000)
    screenshot(page, "62-pods-lab")
    page.close()
