"""`workbench doctor`: what breaks in the field, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import websockets
from websockets.asyncio.client import connect

from genesis_hub.front import Front
from genesis_hub.ports import Ports
from genesis_hub.roles import SERVICE
from genesis_hub.spawners._about import GUIDE, About
from genesis_hub.spawners._engine import Engine
from genesis_hub.supervisor import internal_tls, proxy_command
from genesis_workbench import __version__
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.site import NodeSection, Site
from genesis_workbench.core.state import State

_LEAST_DISK, _LEAST_MEMORY = 2 * 2**30, 2**30
_OLDEST_NODE = 20
_RENEW_DAYS = 14


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    state : str
        ``ok``, ``note`` (worth knowing) or ``fail``.
    advice : str
        What to do; empty where all is well.
    """

    name: str
    state: str
    found: str
    advice: str = ""


def examine(site: Site, state: State) -> list[Check]:
    """Look at everything; a check that itself fails is a failed check."""
    checks: list[Check] = []
    looks: tuple[Callable[[Site, State], Iterator[Check]], ...] = (
        _machine,
        _folder,
        _proxy,
        _certificate,
        _versions,
        _engines,
        _running,
    )
    for look in looks:
        try:
            checks += look(site, state)
        except (OSError, ValueError, subprocess.SubprocessError, httpx.HTTPError) as error:
            name = look.__name__.strip("_")
            checks.append(
                Check(name, "fail", f"could not be looked at: {error}", "Ask for help with this line.")
            )
    return checks


def _machine(site: Site, state: State) -> Iterator[Check]:
    free = psutil.virtual_memory().available
    yield _enough("memory", free, _LEAST_MEMORY, "Close programs, or take a larger machine.")


def _folder(site: Site, state: State) -> Iterator[Check]:
    folder = next(each for each in (state.folder, *state.folder.parents) if each.exists())
    probe = folder / ".doctor"
    try:
        probe.touch()
        probe.unlink()
        yield Check("state folder", "ok", f"{state.folder} can be written")
    except OSError as error:
        yield Check("state folder", "fail", f"{folder}: {error.strerror}", "Name another one with --state.")
    free = shutil.disk_usage(folder).free
    yield _enough("disk", free, _LEAST_DISK, f"Make room on the disk that holds {folder}.")


def _proxy(site: Site, state: State) -> Iterator[Check]:
    try:
        node, script = proxy_command()
    except GenesisError as error:
        yield Check("proxy", "fail", error.message, "Run `make setup`.")
        return
    text = subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
    package = json.loads((Path(script).parent.parent / "package.json").read_text())
    found = f"configurable-http-proxy {package['version']} on node {text}"
    if int(text.lstrip("v").split(".")[0]) < _OLDEST_NODE:
        yield Check(
            "proxy",
            "fail",
            found,
            f"Install node {_OLDEST_NODE} or newer, or run `make setup` without it on the path.",
        )
    else:
        yield Check("proxy", "ok", found)


def _certificate(site: Site, state: State) -> Iterator[Check]:
    """The certificate that the proxy shows to browsers."""
    front = Front(site)
    try:
        front.check()
    except GenesisError as error:
        yield Check("certificate", "fail", error.message, "The proxy starts with another one only.")
        return
    if (left := front.left()) is not None:
        found = f"{site.hub.certificate_file} holds for {left.days} more days"
        soon = left.days < _RENEW_DAYS
        yield Check(
            "certificate", "note" if soon else "ok", found, "Renew it; the proxy takes it up." if soon else ""
        )


def _public(site: Site) -> Check:
    """Whether a proxy that speaks TLS before ours leads here, asked from this machine."""
    try:
        answer = httpx.get(f"{site.public_url}/hub/api/", trust_env=False, timeout=10)
        if answer.is_success and "version" in answer.json():
            return Check("public address", "ok", f"{site.public_url} leads here")
        found = f"{site.public_url} answers {answer.status_code}, which is not the hub"
    except (httpx.HTTPError, ValueError) as error:
        found = f"{site.public_url} cannot be asked from this machine: {error}"
    return Check("public address", "note", found, "If people cannot reach it either: docs/how-to/tls.md.")


def _versions(site: Site, state: State) -> Iterator[Check]:
    """Hub and servers must be of one version; on this site they share an environment."""
    program = Path(sys.executable).parent / "jupyterhub-singleuser"
    if not program.exists():
        yield Check("versions", "fail", "jupyterhub-singleuser is missing", "Run `make setup`.")
        return
    answer = subprocess.run(
        [str(program), "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    user, hub = answer.stdout.strip(), installed("jupyterhub")
    found = f"workbench {__version__}, hub {hub}, servers {user}, Python {sys.version.split()[0]}"
    if user != hub:
        yield Check(
            "versions", "fail", found, "Install the same JupyterHub for hub and servers: run `make setup`."
        )
    else:
        yield Check("versions", "ok", found)


def _engines(site: Site, state: State) -> Iterator[Check]:
    """The engines of a site whose servers are containers: whether they confine a server as the guide says."""
    if site.servers.spawner != "container":
        return
    for node in site.servers.containers.nodes:
        try:
            about = asyncio.run(_asked(node))
        except GenesisError as error:
            yield Check(node.name, "fail", error.message, f"Who may open it, and does it run? See {GUIDE}.")
            continue
        found = f"{about.name}, {about.memory_bytes / 2**30:.1f} GiB"
        grave = [about.refusal] if about.refusal else list(about.faults())
        notes = [] if about.refusal else list(about.notes(node))
        for remark in grave:
            yield Check(node.name, "fail", found, remark)
        for remark in notes:
            yield Check(node.name, "note", found, remark)
        if not grave and not notes:
            yield Check(node.name, "ok", found)


async def _asked(node: NodeSection) -> About:
    engine = Engine(node.socket)
    try:
        return await engine.about()
    finally:
        await engine.close()


def _running(site: Site, state: State) -> Iterator[Check]:
    """What runs now, if anything."""
    if not (state.run / "port").exists():
        yield from _port_is_free(site)
        return
    site = site.at_port(int((state.run / "port").read_text()))
    ports = Ports.read(state.run / "ports.json")
    hub = Front(site).get("/hub/api/")
    if hub is None:
        yield Check("workbench", "note", "it does not run on this state folder")
        yield from _port_is_free(site)
        return
    yield Check("hub", "ok", f"JupyterHub {hub.json().get('version')} answers at {site.public_url}")
    if site.encrypted and not site.hub.certificate_file:
        yield _public(site)
    tls = internal_tls(site, state)
    inside = f"{'https' if tls else 'http'}://{site.hub.private_address}:{ports.service}"
    health = _get(f"{inside}/services/{SERVICE}/health", verify=tls.calling_hub() if tls else True)
    if health is None:
        yield Check(
            "service", "fail", "the API does not answer to servers", f"Read {state.logs / 'api.log'}."
        )
    elif health.json().get("runner") != "alive":
        yield Check(
            "runner",
            "fail",
            "the runner does not answer: experiments stand still",
            f"Read {state.logs / 'runner.log'}.",
        )
    else:
        yield Check(
            "service", "ok", f"API and runner answer; {health.json()['ledger_events']} events in the ledger"
        )
    if site.hub.origin_domain:
        yield asyncio.run(_websocket(site))


async def _websocket(site: Site) -> Check:
    """Open a websocket through the proxy to the gate, which must refuse it: a proxy that fails answers otherwise."""
    front, origin = Front(site), urlsplit(site.origin(f"dsh-{0:016x}", "dash"))
    scheme = "wss" if front.encrypts else "ws"
    try:
        async with connect(
            f"{scheme}://{origin.netloc}/ws",
            host=front.address,
            port=site.hub.port,
            ssl=front.context(),
            proxy=None,
            open_timeout=10,
        ):
            return Check("websocket", "fail", "somebody else answers", "Which program listens on this port?")
    except websockets.InvalidStatus as error:
        if error.response.status_code == httpx.codes.FORBIDDEN:
            return Check("websocket", "ok", "websockets pass the proxy to the gate of dashboards")
        found = f"the proxy answered {error.response.status_code}"
    except (OSError, websockets.WebSocketException, TimeoutError) as error:
        found = f"{type(error).__name__}: {error}"
    return Check("websocket", "fail", found, "Something between here and the proxy does not pass websockets.")


def _port_is_free(site: Site) -> Iterator[Check]:
    address, port = site.hub.address, site.hub.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            yield Check("port", "ok", f"{address}:{port} is free")
        except OSError as error:
            advice = "Stop what uses it, or start with `workbench up --port N`."
            yield Check("port", "fail", f"{address}:{port}: {error.strerror}", advice)


def _get(url: str, verify: ssl.SSLContext | bool = True) -> httpx.Response | None:
    try:
        return httpx.get(url, trust_env=False, timeout=10, verify=verify)
    except httpx.TransportError:
        return None


def _enough(name: str, free: int, least: int, advice: str) -> Check:
    found = f"{free / 2**30:.1f} GiB free"
    return Check(name, "ok", found) if free >= least else Check(name, "fail", found, advice)
