"""Forward HTTP and websockets to a dashboard's server, through the hub's proxy, without anything of the viewer's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from genesis_services import pages
from genesis_workbench.dashboards.serve import KEY_HEADER

log = logging.getLogger(__name__)

_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
# What says who the viewer is stays here. A page is told nothing of where it is forwarded from.
_KEPT_BACK = _HOP_BY_HOP | {
    "cookie",
    "authorization",
    "host",
    "content-length",
    "origin",
    "referer",
    KEY_HEADER.lower(),
}
_DROPPED = _HOP_BY_HOP | {"set-cookie", "server", "content-security-policy"}
_ADDED = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LARGEST_MESSAGE = 64 * 2**20
_LARGEST_BODY = 32 * 2**20


@dataclass(frozen=True)
class Target:
    """Where a dashboard's server is: the Host by which the proxy knows it, its prefix, and the gate's key."""

    host: str
    prefix: str
    key: str = field(repr=False)


class Forwarder:
    """Sends everything to the proxy at one address."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._http = httpx.AsyncClient(
            base_url=f"http://{address}:{port}", timeout=httpx.Timeout(60, connect=3), trust_env=False
        )

    async def http(self, request: Request, target: Target) -> Response:
        """Forward one request and stream the answer back."""
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            return pages.message("Too large", "A dashboard takes at most 32 MiB at once.", status=413)
        headers = [(name, value) for name, value in request.headers.items() if name not in _KEPT_BACK]
        headers += [("host", target.host), (KEY_HEADER, target.key)]
        path = target.prefix + request.scope["raw_path"].decode("latin-1").lstrip("/")
        query = request.scope["query_string"].decode("latin-1")
        outgoing = self._http.build_request(
            request.method,
            path + (f"?{query}" if query else ""),
            headers=headers,
            content=await request.body() if request.method == "POST" else None,
        )
        try:
            answer = await self._http.send(outgoing, stream=True)
        except httpx.TransportError as error:
            log.warning("The server behind %s did not answer: %r", target.host, error)
            return pages.message(
                "Not now", "The dashboard's server does not answer. Load the page again.", status=503
            )
        if answer.is_redirect or answer.headers.get("x-jupyterhub-version"):
            # The hub answered instead: the server ended a moment ago.
            await answer.aclose()
            return pages.waiting("The dashboard's server has ended", "It is started again.")
        kept = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _DROPPED]
        response = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in kept]
        response.headers.update(_ADDED)
        return response

    async def websocket(self, viewer: WebSocket, target: Target) -> None:
        """Forward one websocket until either side closes it."""
        path = target.prefix + viewer.scope["raw_path"].decode("latin-1").lstrip("/")
        query = viewer.scope["query_string"].decode("latin-1")
        async with connect(
            f"ws://{target.host}{path}" + (f"?{query}" if query else ""),
            host=self._address,
            port=self._port,
            origin=websockets.Origin(viewer.headers["origin"]),
            subprotocols=[websockets.Subprotocol(each) for each in viewer.scope.get("subprotocols", ())],
            additional_headers={KEY_HEADER: target.key},
            max_size=_LARGEST_MESSAGE,
            open_timeout=20,
            proxy=None,
        ) as server:
            await viewer.accept(subprotocol=server.subprotocol)
            tasks = [asyncio.create_task(_up(viewer, server)), asyncio.create_task(_down(viewer, server))]
            _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _up(viewer: WebSocket, server: ClientConnection) -> None:
    async for message in _messages(viewer):
        await server.send(message)


async def _down(viewer: WebSocket, server: ClientConnection) -> None:
    async for message in server:
        try:
            await (viewer.send_text(message) if isinstance(message, str) else viewer.send_bytes(message))
        except (RuntimeError, WebSocketDisconnect):
            return  # the viewer left meanwhile


async def _messages(viewer: WebSocket) -> AsyncIterator[Any]:
    while True:
        try:
            message = await viewer.receive()
        except (RuntimeError, WebSocketDisconnect):
            return
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        yield text if text is not None else message["bytes"]
