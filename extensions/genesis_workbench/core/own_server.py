"""The server that this process belongs to, as the hub knows it."""

from __future__ import annotations

import os

import httpx

from genesis_workbench.core import certificates
from genesis_workbench.core.errors import Unavailable


def end() -> None:
    """Ask the hub to end it, by its own token, which may end this one server.

    Raises
    ------
    Unavailable
        If the hub does not do it now.
    """
    name = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
    server = f"servers/{name}" if name else "server"
    url = f"{os.environ['JUPYTERHUB_API_URL']}/users/{os.environ['JUPYTERHUB_USER']}/{server}"
    headers = {"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"}
    try:
        # The token must not travel through a proxy of the environment.
        with httpx.Client(trust_env=False, timeout=30, verify=certificates.calling()) as hub:
            hub.delete(url, headers=headers).raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable("The hub does not end this server now.", detail=str(error)) from error
