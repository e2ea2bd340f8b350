"""One ASGI application: the API on the service's origin, the gate on each dashboard's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from genesis_services import metrics, problems
from genesis_services.context import Context
from genesis_services.gate import Gate
from genesis_services.hub import Hub
from genesis_services.identity import Identity
from genesis_services.limits import LimitedBodies
from genesis_services.routes import (
    budgets,
    catalog,
    dashboards,
    experiments,
    health,
    laboratories,
    language,
    ledger,
    me,
    models,
    predictions,
    training,
)
from genesis_services.sessions import Sessions
from genesis_services.signin import SignIn
from genesis_workbench import __version__
from genesis_workbench.core.site import Site


def application(context: Context | None = None) -> ASGIApp:
    """Make the application from the environment that the supervisor gives."""
    context = context or Context.from_environment()
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"].rstrip("/")
    identity, hub, sessions = Identity(), Hub.from_environment(), Sessions()
    signin = SignIn(identity, sessions, prefix)
    gate = Gate(
        context, identity, hub, sessions, service_url=context.site.origin("workbench", "service") + prefix
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        follower = context.catalog.follow()
        yield
        await run_in_threadpool(follower.stop)
        await run_in_threadpool(context.predictions.close)
        await context.language.close()
        await gate.close()
        await hub.close()
        context.ledger.close()

    app = FastAPI(
        title="Genesis Workbench",
        version=__version__,
        description="Catalog, models, experiments and dashboards of one workbench. Bearer tokens are JupyterHub's.",
        openapi_url=f"{prefix}/api/openapi.json",
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.context, app.state.identity, app.state.gate, app.state.prefix = context, identity, gate, prefix
    problems.install(app)
    metrics.install(app)
    app.add_middleware(LimitedBodies)
    api = APIRouter(prefix=f"{prefix}/api")
    for room in (
        me,
        catalog,
        models,
        predictions,
        language,
        training,
        experiments,
        laboratories,
        budgets,
        dashboards,
        ledger,
    ):
        api.include_router(room.router)
    app.include_router(api)
    app.include_router(health.router, prefix=prefix)
    app.include_router(signin.router(), prefix=prefix)
    app.include_router(gate.door(signin), prefix=prefix)
    return Front(app, gate, context.site)


class Front:
    """Chooses by the Host header: dashboards have origins of their own; other unknown hosts are sent home."""

    def __init__(self, app: FastAPI, gate: Gate, site: Site) -> None:
        self._app, self._gate, self._home = app, gate, site.public_url
        self._service_host = urlsplit(site.origin("workbench", "service")).netloc
        # Notebooks reach the service past the proxy, at its own address.
        self._inside = {"127.0.0.1", site.hub.private_address, site.hub.private_name.lower()} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = _host(scope)
        dashboard = self._gate.dashboard_at(host)
        if dashboard:
            await self._gate(dashboard, scope, receive, send)
        elif host == self._service_host or host.rpartition(":")[0] in self._inside:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await RedirectResponse(self._home + "/")(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 4404})


def _host(scope: Scope) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1").lower() for name, value in headers if name == b"host"), "")
