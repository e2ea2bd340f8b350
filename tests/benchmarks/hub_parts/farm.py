"""Light stand-ins for people's servers, all in one process: what a hub sees of a server, and nothing else.

Each signs people in by the hub's OAuth, believes an answer of the hub as long as real ones do, reports activity as often
as it was told to, and holds websockets open. ``python farm.py PORT`` serves; a spawner registers servers at ``/register``.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from aiohttp import ClientSession, TCPConnector, WSMsgType, web


@dataclass
class Server:
    """One stand-in."""

    prefix: str
    api: str
    token: str
    client_id: str
    callback: str
    authorize: str
    activity_url: str
    name: str
    activity_interval_s: float
    believe_s: float
    sessions: dict[str, str] = field(default_factory=dict)
    believed: dict[str, float] = field(default_factory=dict)
    active: float = 0.0
    reporting: asyncio.Task[None] | None = None


class Farm:
    """All stand-ins of one hub."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self.failed = 0
        self.http: ClientSession | None = None

    async def register(self, request: web.Request) -> web.Response:
        """Start a stand-in."""
        server = Server(**await request.json())
        self.end(server.prefix)
        server.active = time.time()
        self.servers[server.prefix] = server
        server.reporting = asyncio.create_task(self.report(server))
        return web.json_response({})

    async def forget(self, request: web.Request) -> web.Response:
        """End a stand-in."""
        self.end((await request.json())["prefix"])
        return web.json_response({})

    def end(self, prefix: str) -> None:
        """Forget a stand-in."""
        if (old := self.servers.pop(prefix, None)) and old.reporting:
            old.reporting.cancel()

    async def report(self, server: Server) -> None:
        """Tell the hub of activity, as a server does when it starts and then ever again."""
        while True:
            now = datetime.fromtimestamp(server.active, UTC).isoformat()
            told = {"servers": {server.name: {"last_activity": now}}, "last_activity": now}
            await self.ask(server, "POST", server.activity_url, json=told)
            await asyncio.sleep(server.activity_interval_s * (0.9 + 0.2 * secrets.randbelow(1000) / 1000))

    async def ask(self, server: Server, method: str, url: str, token: str = "", **body) -> dict:
        """Ask the hub."""
        assert self.http
        headers = {"Authorization": f"token {token or server.token}"}
        try:
            async with self.http.request(method, url, headers=headers, **body) as answer:
                if answer.status >= 400:
                    self.failed += 1
                    return {}
                return await answer.json() if answer.content_type == "application/json" else {}
        except OSError:
            self.failed += 1
            return {}

    async def status(self, _: web.Request) -> web.Response:
        """Say how many requests of stand-ins to the hub have failed."""
        return web.json_response({"failed": self.failed, "servers": len(self.servers)})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as a person's server does."""
        prefix = "/".join(request.path.split("/", 3)[:3]) + "/"
        server = self.servers.get(prefix)
        if server is None:
            # The hub looks whether a server is up: it is not.
            return web.Response(status=503)
        if request.path.endswith("/oauth_callback"):
            return await self.callback(server, request)
        token = server.sessions.get(request.cookies.get("session", ""))
        if request.path == f"{prefix}api":
            return web.json_response({"version": "stand-in"})
        if token is None:
            query = urlencode(
                {"client_id": server.client_id, "redirect_uri": server.callback, "response_type": "code"}
            )
            raise web.HTTPFound(f"{server.authorize}?{query}")
        server.active = time.time()
        if time.monotonic() - server.believed.get(token, -1e9) > server.believe_s:
            if not await self.ask(server, "GET", f"{server.api}/user", token):
                return web.Response(status=403)
            server.believed[token] = time.monotonic()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await echo(request)
        return web.json_response({"path": request.path})

    async def callback(self, server: Server, request: web.Request) -> web.Response:
        """Change the code for a token, and make a session."""
        form = {
            "client_id": server.client_id,
            "client_secret": server.token,
            "grant_type": "authorization_code",
            "code": request.query["code"],
            "redirect_uri": server.callback,
        }
        told = await self.ask(server, "POST", f"{server.api}/oauth2/token", data=form)
        if not told:
            return web.Response(status=500)
        session = secrets.token_hex(16)
        server.sessions[session] = told["access_token"]
        answer = web.Response(status=302, headers={"Location": f"{server.prefix}lab"})
        answer.set_cookie("session", session, path=server.prefix, httponly=True)
        return answer


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Give back what comes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            with contextlib.suppress(ConnectionError):
                await socket.send_str(message.data)
    return socket


async def main(port: int) -> None:
    """Serve until ended."""
    farm = Farm()
    application = web.Application()
    application.router.add_post("/register", farm.register)
    application.router.add_post("/forget", farm.forget)
    application.router.add_get("/status", farm.status)
    application.router.add_route("*", "/{path:.*}", farm.serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    async with ClientSession(connector=TCPConnector(limit=50)) as farm.http:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
