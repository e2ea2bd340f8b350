"""The site's language models in OpenAI's protocol; a client's base address is ``…/api/language/v1``, its key a JupyterHub token."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from genesis_services.identity import person_with
from genesis_services.language import LanguageModels, TooMany
from genesis_services.problems import problem
from genesis_services.routes.models import read_body
from genesis_workbench.core.access import Person

router = APIRouter(prefix="/language/v1", tags=["language"])
Asker = Annotated[Person, Depends(person_with("custom:language:ask"))]


def _language(request: Request) -> LanguageModels:
    language: LanguageModels = request.app.state.context.language
    return language


@router.get("/models")
async def models(request: Request, person: Asker) -> dict[str, Any]:
    """List the models that may be asked."""
    return await _language(request).models()


@router.post("/chat/completions")
async def ask(request: Request, person: Asker) -> Response:
    """Ask one. The body, and the answer, whole or as a stream, are those of OpenAI's chat completions."""
    language = _language(request)
    data = await read_body(request, language.most_bytes)
    try:
        kind, pieces = await language.ask(data, person)
    except TooMany as error:
        return problem(
            error.status, error.code, error.message, **{"Retry-After": str(max(1, round(error.wait_s)))}
        )

    async def end() -> None:
        with contextlib.suppress(RuntimeError):  # it runs no more
            await pieces.aclose()  # type: ignore[attr-defined]

    return StreamingResponse(
        pieces, media_type=kind, background=BackgroundTask(end), headers={"Cache-Control": "no-store"}
    )
