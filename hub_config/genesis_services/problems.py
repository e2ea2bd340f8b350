"""Errors as problem+json (RFC 9457) with a stable `code`."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from genesis_workbench.core.errors import GenesisError, PermissionRefused, SignInRequired

log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error in one form."""
    app.add_exception_handler(GenesisError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def problem(status: int, code: str, detail: str, **headers: str) -> JSONResponse:
    """Return one problem."""
    body = {
        "type": f"about:blank#{code}",
        "title": code.replace("-", " "),
        "status": status,
        "code": code,
        "detail": detail,
    }
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


async def _known(request: Request, error: Any) -> JSONResponse:
    if error.detail:
        log.warning("%s %s: %s (%s)", request.method, request.url.path, error.code, error.detail)
    if isinstance(error, PermissionRefused):
        await run_in_threadpool(_record_refusal, request, error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, SignInRequired) else {}
    return problem(error.status, error.code, error.message, **headers)


def _record_refusal(request: Request, error: PermissionRefused) -> None:
    person = getattr(request.state, "person", None)
    if person is not None:
        request.app.state.context.ledger.append(
            f"person/{person.name}",
            "permission.refused",
            {"method": request.method, "path": request.url.path[:200], "reason": error.message},
            actor=person.name,
        )


async def _invalid(_request: Request, error: Any) -> JSONResponse:
    faults = []
    for fault in error.errors()[:5]:
        where = ".".join(str(part) for part in fault["loc"] if part != "body")
        faults.append(f"{where or 'body'}: {fault['msg'].removeprefix('Value error, ')}")
    return problem(422, "invalid-input", f"The request cannot be used: {'; '.join(faults)}.")


async def _http(_request: Request, error: Any) -> JSONResponse:
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "error")
    return problem(error.status_code, code, f"{error.detail}.", **(error.headers or {}))


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        500, "error", "Something broke here that should not. The operator finds it in the service's log."
    )
