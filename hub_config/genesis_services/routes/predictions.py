"""Predict over REST, for tools that are no notebook."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from genesis_services.identity import person_with
from genesis_services.predicting import MOST_BYTES, Predictions, Question
from genesis_services.routes.models import read_body
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput

router = APIRouter(prefix="/models", tags=["models"])
Reader = Annotated[Person, Depends(person_with("custom:models:read"))]

_BODY = {"required": True, "content": {"application/json": {"schema": Question.model_json_schema()}}}


@router.post("/{name}/{version}/predict", openapi_extra={"requestBody": _BODY})
async def predict(request: Request, person: Reader, name: str, version: str) -> dict[str, Any]:
    """Predict with one version, by number or alias; ``latest`` is the newest. Questions that arrive together run together."""
    data = await read_body(request, MOST_BYTES)
    predictions: Predictions = request.app.state.context.predictions
    reference = name if version == "latest" else f"{name}@{version}"
    entry = await run_in_threadpool(request.app.state.context.zoo.entry, reference, person)
    question = await run_in_threadpool(_question, data)
    return await predictions.ask(entry, question, person)


def _question(data: bytes) -> Question:
    try:
        return Question.model_validate_json(data)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()[:5]
        ]
        raise InvalidInput(f"The question cannot be used: {'; '.join(faults)[:500]}.") from error
