"""Ports of this installation's own processes. Light: the supervisor needs them without JupyterHub."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genesis_workbench.core.errors import Conflict
from genesis_workbench.core.site import HubSection, Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import write_whole


@dataclass(frozen=True)
class Ports:
    """Ports that only the workbench's own processes and people's servers use: on the site's private address."""

    proxy_api: int
    hub: int
    service: int

    def service_beside(self, site: Site) -> str:
        """Return where the proxy reaches the service: where only TLS is spoken with servers, by loopback.

        A browser's Host header may be any, and node would look for it in the service's certificate.
        """
        address = "127.0.0.1" if site.internal_tls else site.hub.private_address
        return f"http://{address}:{self.service}"

    def write(self, path: Path) -> None:
        """Keep them: servers that outlive a restart know the hub by its port."""
        write_whole(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Ports:
        """Read what :meth:`write` kept.

        Raises
        ------
        FileNotFoundError, ValueError
            If it is not there, or not whole.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except TypeError as error:
            raise ValueError(str(error)) from error


def chosen(address: str, port: int) -> int:
    """Return the port; where it is 0, a free one."""
    return port or free(address, 1)[0]


def claim(address: str, port: int) -> None:
    """Refuse a port at which others can be reached already; Conflict."""
    if why := _taken(address, port):
        raise Conflict(
            f"Port {port} on {address} cannot be used ({why}). Stop what uses it, or choose another: "
            "`workbench up --port N` or `make up PORT=N`."
        )


def kept(state: State, hub: HubSection) -> Ports:
    """Return the ports of our own processes: those that the site names, else free ones that are kept."""
    file, before = state.run / "ports.json", None
    with suppress(FileNotFoundError, ValueError):
        before = Ports.read(file)
    found = before or Ports(*free(hub.private_address, 3))
    found = replace(found, hub=hub.hub_port or found.hub, service=hub.service_port or found.service)
    if found != before:
        found.write(file)
    return found


def settle(site: Site, state: State) -> None:
    """Look that the ports of our own processes are free; where nobody else knows them, take others instead.

    Raises
    ------
    Conflict
        If one is taken by which servers that run know the hub, or which the site names.
    """
    hub, ports = site.hub, kept(state, site.hub)
    wanted = [
        ("127.0.0.1", ports.proxy_api, 0),
        (hub.private_address, ports.hub, hub.hub_port),
        (hub.private_address, ports.service, hub.service_port),
    ]
    taken = [each for each in wanted if _taken(each[0], each[1])]
    if not taken:
        return
    address, port, named = taken[0]
    if named or site.servers.spawner != "local":
        raise Conflict(
            f"Port {port} on {address} is taken, by which the workbench's own processes find each other"
            f"{', as the site file says' if named else ', and servers that run know it'}. Stop what uses it."
        )
    (state.run / "ports.json").unlink()
    kept(state, hub)


def _taken(address: str, port: int) -> str:
    """Return why nobody can listen there now; empty where one can."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def free(address: str, count: int) -> list[int]:
    """Return ports at which nobody listens now, each another one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
