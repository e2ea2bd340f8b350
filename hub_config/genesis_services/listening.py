"""Where the service listens: plainly on its address, or by TLS there and plainly on loopback, for the proxy beside it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp


def run(app: ASGIApp, address: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Serve until ended.

    Parameters
    ----------
    app : ASGI application
        What answers.
    address, port : str, int
        Where people's servers call.
    tls : ssl.SSLContext, optional
        With what they are answered there; the proxy is answered at the same port of 127.0.0.1.
    """
    config = uvicorn.Config(
        app,
        host="127.0.0.1" if tls else address,
        port=port,
        log_level="info",
        access_log=False,  # addresses carry one-time codes
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ws="websockets-sansio",
    )
    server = _Encrypted(config, address, tls) if tls else uvicorn.Server(config)
    server.run()


class _Encrypted(uvicorn.Server):
    """A server that listens at a second address, by TLS."""

    def __init__(self, config: uvicorn.Config, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(config)
        self._address, self._tls = address, tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        protocol: Callable[[], asyncio.Protocol] = partial(
            cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        listen = asyncio.get_running_loop().create_server
        self.servers.append(await listen(protocol, self._address, self.config.port, ssl=self._tls))
