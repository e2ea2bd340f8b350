"""What crosses the network of hub and machines is TLS, with certificates on both sides, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import ssl
import threading
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from genesis_workbench.core.service import Service
from harness import run_in_kernel
from system.containers.servers import own_port, published, ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TLS = "/etc/genesis-workbench/tls"
ETH_P_ALL = 3
NOTEBOOK = """
import os, genesis_workbench as gw
from genesis_workbench.core.service import service
print(service().url.partition(":")[0], gw.me().name, os.environ["JUPYTERHUB_API_URL"].partition(":")[0])
"""
DASHBOARD = """
import panel as pn

pn.extension()
pn.pane.Str("Sunspots").servable(title="Sunspots")
"""


class Tap:
    """Everything that passes the bridge between hub and machines."""

    def __init__(self, bridge: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((bridge, 0))
        self._socket.settimeout(0.2)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.heard = bytearray()

    def _read(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                self.heard += self._socket.recv(65536)

    def __enter__(self) -> Tap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._socket.close()


def variables(cluster, name):
    """Return the variables of somebody's server."""
    text = cluster.inside(name, "cat", "/proc/1/environ")
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)


def answer(url, **options):
    """Return what answers: a status, or why there is none."""
    try:
        return httpx.get(url, trust_env=False, timeout=10, **options).status_code
    except httpx.TransportError as error:
        return f"{type(error).__name__}: {error}"


def stranger():
    """Return the side of somebody who has no certificate, and believes everybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture
def doors(cluster, both):
    """Everything that listens on the network of hub and machines, by what it is."""
    hub = cluster.network.address(1)
    return {
        "server": published(cluster, "alice"),
        "hub": (hub, own_port(cluster, "hub")),
        "service": (hub, own_port(cluster, "service")),
    }


def test_nothing_that_is_said_between_the_machines_can_be_read(workbench, cluster, both):
    marker, token = "a-marker-that-nobody-else-says", variables(cluster, "alice")["JUPYTERHUB_API_TOKEN"]
    mine = both["alice"].make_token("alice")
    with Tap(cluster.network.name) as tap:
        lab = both["alice"].get(f"{workbench.user_origin('alice')}/user/alice/lab?{marker}")
        said = run_in_kernel(workbench, "alice", mine, NOTEBOOK + f"print({marker!r})")
    assert lab.status_code == 200
    assert said.split() == ["https", "alice", "https", marker]
    assert len(tap.heard) > 10_000
    for secret in (marker, token, mine, "genesis_workbench", "JupyterLab"):
        assert secret.encode() not in tap.heard


def test_plain_http_is_not_answered(doors):
    for name, (host, number) in doors.items():
        assert isinstance(answer(f"http://{host}:{number}/"), str), name


def test_who_has_no_certificate_of_this_installation_is_not_answered(doors):
    for name, (host, number) in doors.items():
        assert isinstance(answer(f"https://{host}:{number}/", verify=stranger()), str), name


def test_one_persons_server_is_neither_the_hub_nor_another_persons(workbench, cluster, both, doors, tmp_path):
    for name in ("key", "certificate"):
        (tmp_path / name).write_text(cluster.inside("bob", "cat", f"{TLS}/{name}.pem") + "\n")
    bob = stranger()
    bob.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    host, number = doors["server"]
    refused = str(answer(f"https://{host}:{number}/", verify=bob))
    assert re.search("UNKNOWN_CA|UNKNOWN CA|unknown ca", refused), refused
    host, number = doors["hub"]
    assert answer(f"https://{host}:{number}/hub/api/", verify=bob) == 200
    # Were Bob's server to sit where Alice's is expected, the proxy would not speak with it.
    secrets = json.loads((workbench.state / "secrets.json").read_text())
    api = f"http://127.0.0.1:{own_port(cluster, 'proxy_api')}/api/routes"
    who = {"Authorization": f"token {secrets['proxy_token']}"}
    route = "/alice--user.localhost/user/alice"
    before = httpx.get(api, headers=who, trust_env=False).json()[route]
    bobs = "https://{}:{}".format(*published(cluster, "bob"))
    page = f"{workbench.user_origin('alice')}/user/alice/api"
    assert both["alice"].get(page).status_code == 200
    moved = httpx.post(api + route, headers=who, json={**before, "target": bobs}, trust_env=False)
    assert moved.status_code == 201
    try:
        assert both["alice"].get(page).status_code == 503
    finally:
        httpx.post(api + route, headers=who, json=before, trust_env=False)
    assert both["alice"].get(page).status_code == 200


def test_a_key_is_in_its_container_alone_and_there_for_reading_only(cluster, both):
    key = cluster.inside("alice", "cat", f"{TLS}/key.pem")
    assert "PRIVATE KEY" in key
    assert key not in json.dumps(cluster.about("alice"))
    assert key.splitlines()[1] not in cluster.inside("alice", "cat", "/proc/1/environ", "/proc/1/cmdline")
    with pytest.raises(AssertionError, match="Read-only file system"):
        cluster.inside("alice", "touch", f"{TLS}/x")
    for path in (cluster.folder / "state").rglob("*"):
        if path.is_file() and path.stat().st_size < 2**20:
            assert key.splitlines()[1].encode() not in path.read_bytes(), path


async def test_a_dashboard_is_seen_by_its_group(workbench, cluster, both):
    service = Service(workbench.service_url, both["alice"].make_token("alice"))
    made = await asyncio.to_thread(
        service.post, "dashboards", {"title": "Sunspots", "source": DASHBOARD, "groups": ["solar"]}
    )
    try:
        page = await asyncio.to_thread(both["bob"].patient_get, made["url"])
        assert page.status_code == 200
        assert "Sunspots" in page.text
        there = urlsplit(made["url"])
        jar = [each for each in both["bob"].http.cookies.jar if each.domain.startswith(there.hostname)]
        async with connect(
            made["url"].replace("http", "ws", 1) + "ws",
            host="127.0.0.1",
            port=there.port,
            origin=made["url"].rstrip("/"),
            subprotocols=["bokeh", re.search(r'"token":"([^"]+)"', page.text)[1]],
            additional_headers={"Cookie": "; ".join(f"{each.name}={each.value}" for each in jar)},
            proxy=None,
        ) as websocket:
            assert "ACK" in await asyncio.wait_for(websocket.recv(), 30)
    finally:
        await asyncio.to_thread(service.delete, f"dashboards/{made['id']}")
        service.close()


def test_doctor_calls_as_servers_do(workbench, cluster, both):
    found = json.loads(workbench.run("doctor", "--json", "--site", str(cluster.site_file)))
    states = {each["name"]: each["state"] for each in found}
    assert states["hub"] == states["service"] == states["websocket"] == "ok"


def test_a_hub_that_begins_anew_ends_the_servers_that_it_cannot_reach_and_says_so(workbench, cluster, both):
    node, name = cluster.container("alice")
    port = workbench.port
    workbench.stop()
    shutil.rmtree(workbench.state / "internal-tls")
    workbench.start(port)
    for who, person in both.items():
        workbench.until(lambda: "" not in person.hub("GET", f"users/{who}").json()["servers"])  # noqa: B023 - at once
    assert name not in node.engine("ps", "--all", "--format={{.Names}}")
    page = both["alice"].get(f"{workbench.public_url}/hub/spawn").text
    assert "speak with each other in another way" in page
    both["alice"].hub("POST", "users/alice/server", json={"profile": "standard"})
    workbench.until(lambda: ready(both["alice"], "alice"), timeout_s=90)
    assert both["alice"].get(f"{workbench.user_origin('alice')}/user/alice/lab").status_code == 200


def test_a_server_that_has_ended_leaves_no_key(workbench, cluster, both):
    node, _ = cluster.container("bob")
    volume = next(each["Name"] for each in cluster.about("bob")["Mounts"] if each["Destination"] == TLS)
    assert volume in node.engine("volume", "ls", "--format={{.Name}}")
    both["bob"].hub("DELETE", "users/bob/server")
    workbench.until(lambda: "" not in both["bob"].hub("GET", "users/bob").json()["servers"])
    assert volume not in node.engine("volume", "ls", "--format={{.Name}}")
