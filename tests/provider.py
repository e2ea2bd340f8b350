"""A real OpenID Connect provider for tests."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from authority import Authority
from harness import free_ports

SERVE = """
import sys, uvicorn
from oidc_provider_mock import app
address, port, certificate, key = sys.argv[1:]
uvicorn.run(app(), interface="wsgi", host=address, port=int(port), ssl_certfile=certificate, ssl_keyfile=key,
            timeout_graceful_shutdown=1)
"""


class Provider:
    """A provider in a process of its own, by TLS with a certificate of its organisation; its people can be changed.

    Attributes
    ----------
    trusted : ssl.SSLContext
        What its certificate is checked against.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.authority = Authority(folder)
        self.authority.sign(address)
        self.trusted = ssl.create_default_context(cafile=self.authority.file)
        self._http = httpx.Client(trust_env=False, verify=self.trusted)
        (self.port,) = free_ports(1, address)
        self.url, self._address = f"https://{address}:{self.port}", address
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            sys.executable,
            "-c",
            SERVE,
            self._address,
            str(self.port),
            str(self.authority.certificate),
            str(self.authority.key),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self._http.get(self.url)
                return
            except httpx.TransportError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        assert self.process
        self.process.terminate()
        self.process.wait(timeout=10)

    def put(self, subject: str, **claims: Any) -> None:
        """Say what it knows of somebody."""
        self._http.put(f"{self.url}/users/{subject}", json=claims).raise_for_status()

    def revoke(self, subject: str) -> None:
        """Take back what it gave to somebody."""
        self._http.post(f"{self.url}/users/{subject}/revoke-tokens").raise_for_status()
