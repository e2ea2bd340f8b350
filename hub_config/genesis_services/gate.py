"""The gate of dashboards: each has an origin of its own, and only whom it is shared with comes in.

A browser that comes to a dashboard's origin without a session is sent to the service's origin, is signed in there by
the hub, and comes back with a one-time code for a cookie that is good at that dashboard only. Requests and websockets
are then forwarded to the owner's server without cookies and tokens. So a dashboard's script finds nothing in its origin
with which it could act as its viewer, and neither the hub's pages nor other people's are of that origin.

Rights are checked at every request, with the hub's answer at most half a minute old, and again and again while a
websocket is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from genesis_services import pages
from genesis_services.context import Context
from genesis_services.forwarding import Forwarder, Target
from genesis_services.hub import Hub
from genesis_services.identity import CACHE_S, Identity
from genesis_services.sessions import Session, Sessions
from genesis_services.signin import SignIn
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import GenesisError, NotFound, SignInRequired, Unavailable
from genesis_workbench.dashboards.record import DashboardRecord, is_dashboard_id

SCOPE = "custom:dashboards:read"
_COOKIE, _STATE, _ENTER = "genesis-dashboard", "genesis-state", "/.genesis/enter"
_GRACE_S = 300  # a hub that restarts does not close what its viewers could see a moment ago
_TARGET_S = 5
_START_S = 90
_REFUSED = 4403
log = logging.getLogger(__name__)


class Gate:
    """Lets viewers in and forwards what they ask."""

    def __init__(
        self, context: Context, identity: Identity, hub: Hub, sessions: Sessions, *, service_url: str
    ) -> None:
        self._context, self._identity, self._hub, self._sessions = context, identity, hub, sessions
        self._service_url = service_url
        self._forwarder = Forwarder("127.0.0.1", context.site.hub.port)
        self._secret = os.environ["JUPYTERHUB_API_TOKEN"].encode()
        origin = re.escape(urlsplit(context.site.origin("LABEL", "dash")).netloc).replace("LABEL", "(.+)")
        self._hosts = re.compile(origin) if context.site.hub.origin_domain else None
        self._seen: dict[tuple[str, str], float] = {}
        self._targets: dict[str, tuple[Target, float]] = {}
        self._started: dict[str, float] = {}

    def dashboard_at(self, host: str) -> str:
        """Return which dashboard's origin a host is; empty where it is none's."""
        found = self._hosts.fullmatch(host) if self._hosts else None
        return found[1] if found and is_dashboard_id(found[1]) else ""

    def key(self, dashboard: str) -> str:
        """Return the key by which the server of `dashboard` knows the gate."""
        return hmac.new(self._secret, f"gate {dashboard}".encode(), hashlib.sha256).hexdigest()

    async def __call__(self, dashboard: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or forward it."""
        if scope["type"] == "http":
            response = await self._http(dashboard, Request(scope, receive))
            await response(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(dashboard, WebSocket(scope, receive, send))

    async def stop(self, owner: str, dashboard: str) -> None:
        """End the server of a dashboard that was taken back."""
        self._targets.pop(dashboard, None)
        await self._hub.stop(owner, dashboard)

    async def close(self) -> None:
        """Close the connections."""
        await self._forwarder.close()

    def door(self, signin: SignIn) -> APIRouter:
        """Return the route of the service's origin at which viewers are checked and sent in."""
        router = APIRouter(include_in_schema=False)

        @router.get("/dashboards/{dashboard}/open")
        async def open_dashboard(request: Request, dashboard: str) -> Response:
            here = f"{request.url.path}?{request.url.query}"
            session = signin.session(request)
            if session is None:
                return signin.begin(here)
            try:
                refusal = await self._refusal(session, dashboard)
            except SignInRequired:
                return signin.begin(here)
            except NotFound as error:
                return pages.message("No such dashboard", error.message, status=404)
            except GenesisError as error:
                return pages.message("Not now", error.message, status=503)
            if refusal is not None:
                return refusal
            code = self._sessions.code(session.token, session.name, dashboard)
            query = {name: request.query_params.get(name, "") for name in ("state", "next")}
            origin = self._context.site.origin(dashboard, "dash")
            return RedirectResponse(f"{origin}{_ENTER}?{urlencode({'code': code, **query})}", 302)

        return router

    async def _refusal(self, session: Session, dashboard: str) -> Response | None:
        """Return the page for a person who cannot come in, or not yet; None where the way is free."""
        person = await self._identity.person(session.token)
        record = await run_in_threadpool(self._context.dashboards.find, dashboard)
        if not self._permits(record, person):
            await run_in_threadpool(self._record_refusal, record, person)
            return pages.message(
                "This dashboard is not shared with you",
                f"You are signed in as {person.name}. Ask {record.owner} to share it with a group of yours.",
                status=403,
            )
        return await self._waiting(record) if await self._target(record) is None else None

    async def _http(self, dashboard: str, request: Request) -> Response:
        if request.url.path == _ENTER:
            return self._enter(dashboard, request)
        session = self._sessions.get(request.cookies.get(_COOKIE), dashboard)
        if session is None:
            return self._to_the_door(dashboard, request)
        try:
            record = await self._checked(session, dashboard)
            target = await self._target(record) if record else None
        except (SignInRequired, NotFound):
            return self._to_the_door(dashboard, request)
        except GenesisError as error:
            return pages.message("Not now", error.message, status=503)
        if target is None or request.method not in ("GET", "HEAD", "POST"):
            return self._to_the_door(dashboard, request)
        return await self._forwarder.http(request, target)

    async def _websocket(self, dashboard: str, viewer: WebSocket) -> None:
        session = self._sessions.get(viewer.cookies.get(_COOKIE), dashboard)
        # A page of another origin can open a websocket here, cookie and all: only the dashboard's own may.
        own = viewer.headers.get("origin", "") == self._context.site.origin(dashboard, "dash")
        target = None
        if session is not None and own:
            with contextlib.suppress(GenesisError):
                record = await self._checked(session, dashboard)
                target = await self._target(record) if record else None
        if session is None or target is None:
            await viewer.close(_REFUSED)
            return
        forwarding = asyncio.create_task(self._forwarder.websocket(viewer, target))
        watching = asyncio.create_task(self._until_refused(session, dashboard))
        done, pending = await asyncio.wait({forwarding, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            if task.exception() is not None:
                log.info("A websocket of %s ended: %r", dashboard, task.exception())
        with contextlib.suppress(RuntimeError):  # it is closed already where the viewer left
            await viewer.close(_REFUSED if watching in done else 1000)

    async def _until_refused(self, session: Session, dashboard: str) -> None:
        """Return once the viewer may no longer look."""
        while True:
            await asyncio.sleep(CACHE_S / 3)
            try:
                if await self._checked(session, dashboard) is None:
                    return
            except (SignInRequired, NotFound):
                return
            except GenesisError:
                continue  # not known now; _checked has its own limit

    async def _checked(self, session: Session, dashboard: str) -> DashboardRecord | None:
        """Return the dashboard if the session's person may open it now."""
        record = await run_in_threadpool(self._context.dashboards.find, dashboard)
        seen = (session.name, dashboard)
        try:
            person = await self._identity.person(session.token)
        except Unavailable:
            if time.monotonic() - self._seen.get(seen, -_GRACE_S) < _GRACE_S:
                return record
            raise
        if not self._permits(record, person):
            self._seen.pop(seen, None)
            return None
        self._seen[seen] = time.monotonic()
        return record

    @staticmethod
    def _permits(record: DashboardRecord, person: Person) -> bool:
        return SCOPE in person.scopes and record.access.permits(person)

    def _record_refusal(self, record: DashboardRecord, person: Person) -> None:
        self._context.ledger.append(
            f"dashboard/{record.id}", "permission.refused", {"reason": "not shared"}, actor=person.name
        )

    async def _target(self, record: DashboardRecord) -> Target | None:
        """Return where the dashboard's server is, or None while it does not run."""
        known = self._targets.get(record.id)
        if known and time.monotonic() - known[1] < _TARGET_S:
            return known[0]
        try:
            server = await self._hub.server(record.owner, record.id)
        except Unavailable:
            if known and time.monotonic() - known[1] < _GRACE_S:
                return known[0]  # the proxy knows the way while the hub restarts
            raise
        if server is None or not server.get("ready"):
            self._targets.pop(record.id, None)
            return None
        host = urlsplit(self._context.site.origin(record.owner, "user")).netloc
        # With a domain for each person the hub gives the address with its host.
        target = Target(host, urlsplit(str(server["url"])).path, self.key(record.id))
        self._targets[record.id] = (target, time.monotonic())
        self._started.pop(record.id, None)
        return target

    async def _waiting(self, record: DashboardRecord) -> Response:
        begun = self._started.get(record.id)
        server = await self._hub.server(record.owner, record.id)
        if begun is None:
            self._started[record.id] = time.monotonic()
            await self._hub.start(record.owner, record.id, {"dashboard": record.id})
        elif time.monotonic() - begun > _START_S or (
            time.monotonic() - begun > 3 and (server is None or not server.get("pending"))
        ):
            self._started.pop(record.id, None)
            return pages.message(
                "The dashboard could not be started",
                f"Its server ended before it was ready. {record.owner} finds the reason in the hub's log; opening it again "
                "tries once more.",
                status=503,
            )
        return pages.waiting(
            f"Starting “{record.title}”", "Its server is being started. This takes a few seconds."
        )

    def _to_the_door(self, dashboard: str, request: Request) -> Response:
        if request.method != "GET" or request.headers.get("sec-fetch-dest", "document") != "document":
            return pages.message("Open the dashboard again", "Your session has ended.", status=401)
        state = secrets.token_urlsafe(16)
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = urlencode({"state": state, "next": back})
        answer = RedirectResponse(f"{self._service_url}/dashboards/{quote(dashboard)}/open?{query}", 302)
        answer.headers["Cache-Control"] = "no-store"
        self._set(answer, _STATE, state, max_age=600)
        return answer

    def _enter(self, dashboard: str, request: Request) -> Response:
        given = request.query_params.get("state", "")
        tied = bool(given) and secrets.compare_digest(request.cookies.get(_STATE, ""), given)
        opened = self._sessions.redeem(request.query_params.get("code", ""), dashboard) if tied else None
        if opened is None:
            return RedirectResponse("/", 302)
        onward = request.query_params.get("next", "/")
        if not onward.startswith("/") or onward.startswith(("//", "/\\", _ENTER)):
            onward = "/"
        answer = RedirectResponse(onward, 302)
        answer.headers["Cache-Control"] = "no-store"
        self._set(answer, _COOKIE, opened)
        answer.delete_cookie(_STATE)
        return answer

    def _set(self, answer: Response, name: str, value: str, **more: Any) -> None:
        secure = self._context.site.encrypted
        answer.set_cookie(name, value, path="/", httponly=True, samesite="lax", secure=secure, **more)
