"""HTTP around a gateway: JSON on loopback, a bearer token, errors as problem+json (RFC 9457)."""

from __future__ import annotations

import hmac
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genesis_workbench.core.errors import GenesisError, InvalidInput, SignInRequired, TooLarge, Unavailable
from genesis_workbench.experiments.instruments.emergency import tidied
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.experiments.instruments.plan import Plan

MOST_BYTES = 1 << 20
_STOPS_AT_ONCE = 20
log = logging.getLogger(__name__)

_Handler = Callable[[Request], Awaitable[Response]]


def application(gateway: Gateway, token: str) -> Starlette:
    """Make the ASGI application of one gateway."""

    def route(path: str, method: str, do: Callable[[dict[str, str], dict[str, Any]], Any]) -> Route:
        async def handler(request: Request) -> Response:
            _check(request, token)
            body = await _body(request) if method in ("POST", "PUT") else {}
            answer = await run_in_threadpool(do, dict(request.path_params), body)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return Route(path, handler, methods=[method])

    # All other requests share one set of threads, which may all be waiting for the journal.
    stops = anyio.CapacityLimiter(_STOPS_AT_ONCE)

    async def stop(request: Request) -> Response:
        _check(request, token)
        try:
            said = await _body(request)
        except (GenesisError, ClientDisconnect):
            said = {}  # a stop is never refused for its wording
        words = tidied(said.get("who"), "somebody"), tidied(said.get("why"))
        return JSONResponse(await anyio.to_thread.run_sync(gateway.stop, *words, limiter=stops))

    def reserve(at: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        until, why = _word(body, "until", needed=False), _word(body, "why", needed=False)
        gateway.reserve(at["device"], _word(body, "who"), until, why)
        return gateway.state()

    def reset(_at: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        gateway.reset(_word(body, "who"), _word(body, "why"))
        return gateway.state()

    def check(_at: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        plan = Plan.read(body)
        gateway.check(plan)
        return {"devices": sorted(plan.devices)}

    def settle(at: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        ran, values = body.get("ran"), body.get("values", {})
        if not isinstance(ran, bool) or not isinstance(values, dict):
            raise InvalidInput(
                "Say with `ran` whether it ran to its end, true or false, and give its `values`."
            )
        return gateway.settle(
            at["key"], ran=ran, values=values, who=_word(body, "who"), why=_word(body, "why")
        )

    routes = [
        route("/laboratory", "GET", lambda _at, _body: gateway.state()),
        route("/plans", "POST", lambda _at, body: gateway.submit(Plan.read(body))),
        route("/plans/check", "POST", check),
        route("/plans/{key}", "GET", lambda at, _body: gateway.plan(at["key"])),
        route("/plans/{key}/cancel", "POST", lambda at, body: gateway.cancel(at["key"], _word(body, "who"))),
        route("/plans/{key}/settle", "POST", settle),
        Route("/stop", stop, methods=["POST"]),
        route("/reset", "POST", reset),
        route("/reservations/{device}", "PUT", reserve),
        route(
            "/files/{digest}", "GET",
            lambda at, _body: Response(gateway.files.read(at["digest"]), media_type="application/octet-stream"),
        ),
    ]  # fmt: skip

    async def unwritten(request: Request, error: sqlite3.Error) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return await _known(request, Unavailable(gateway.journal.unwritten(error)))

    handlers: dict[Any, Any] = {
        GenesisError: _known, HTTPException: _http, sqlite3.Error: unwritten, Exception: _unknown,
    }  # fmt: skip
    return Starlette(routes=routes, exception_handlers=handlers)


def _check(request: Request, token: str) -> None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise SignInRequired("This laboratory needs its bearer token.")


async def _body(request: Request) -> dict[str, Any]:
    received = bytearray()
    async for piece in request.stream():
        received += piece
        if len(received) > MOST_BYTES:
            raise TooLarge(f"A request has at most {MOST_BYTES} bytes.")
    try:
        value = json.loads(received)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The request is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidInput("The request must be a JSON object.")
    return value


def _word(body: dict[str, Any], name: str, *, needed: bool = True) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or (needed and not value.strip()) or len(value) > 500:
        raise InvalidInput(f"Say {name}, in at most 500 characters.")
    return value.strip()


def _problem(status: int, code: str, detail: str) -> JSONResponse:
    body = {
        "type": f"about:blank#{code}",
        "title": code.replace("-", " "),
        "status": status,
        "code": code,
        "detail": detail,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


async def _known(_request: Request, error: GenesisError) -> JSONResponse:
    return _problem(error.status, error.code, error.message)


async def _http(_request: Request, error: HTTPException) -> JSONResponse:
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "error")
    return _problem(error.status_code, code, f"{error.detail}.")


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _problem(500, "error", "Something broke in the gateway that should not. Its log says what.")
