"""Ports of this installation's own processes. Light: the supervisor needs them without JupyterHub."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from genesis_workbench.core.site import Site
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
