"""The certificate of this process, by which hub, service and people's servers know each other across machines.

JUPYTERHUB_SSL_KEYFILE, JUPYTERHUB_SSL_CERTFILE and JUPYTERHUB_SSL_CLIENT_CA name the files, as JupyterHub has it. Where they
are not set, everything is on one machine, or its network encrypts.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

KEY, CERTIFICATE, TRUSTED = "JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA"


def calling() -> ssl.SSLContext | bool:
    """Return what httpx takes as `verify` for a call to the hub or the service."""
    return _context(ssl.Purpose.SERVER_AUTH, os.environ[TRUSTED]) if os.environ.get(KEY) else True


def listening(callers: str = "") -> ssl.SSLContext | None:
    """Return with what this process listens; None where it is not encrypted.

    Parameters
    ----------
    callers : str
        File of the authorities of those who are answered; of those who are trusted where empty.
    """
    return _context(ssl.Purpose.CLIENT_AUTH, callers or os.environ[TRUSTED]) if os.environ.get(KEY) else None


def shared(client: Any) -> None:
    """Give JupyterHub's client of the hub one context for all that it asks.

    It makes one for each question otherwise (6.1, HubAuth), with the system's authorities, which takes some 50 ms of a
    server's only thread.

    Parameters
    ----------
    client : module
        `jupyterhub.services.auth`, which this package does not import.
    """
    if os.environ.get(KEY):
        context = calling()
        client.make_ssl_context = lambda *_, **__: context


def _context(purpose: ssl.Purpose, trusted: str) -> ssl.SSLContext:
    # With `cafile` the authorities of the system, who vouch for half the world, do not count.
    context = ssl.create_default_context(purpose, cafile=trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(os.environ[CERTIFICATE], os.environ[KEY])
    return context
