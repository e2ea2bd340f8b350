"""Counts and durations for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "genesis_requests_total", "Requests answered", ["method", "route", "status"], registry=REGISTRY
)
DURATION = Histogram("genesis_request_seconds", "Seconds to answer", ["route"], registry=REGISTRY)


def install(app: FastAPI) -> None:
    """Count every request by its route, never by its path: a path may hold what is nobody's business."""

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        response = await call_next(request)
        route = _route(request)
        REQUESTS.labels(request.method, route, response.status_code).inc()
        DURATION.labels(route).observe(time.perf_counter() - started)
        return response


def _route(request: Request) -> str:
    """Return the path with the names of its parameters instead of their values."""
    if request.scope.get("route") is None:
        return "unknown"
    path = request.url.path
    for name, value in request.path_params.items():
        path = path.replace(str(value), f"{{{name}}}")
    return path
