"""Health for probes, metrics for Prometheus."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from genesis_services import metrics
from genesis_services.identity import person_with
from genesis_services.runner import HEARTBEAT
from genesis_workbench import __version__
from genesis_workbench.core.access import Person
from genesis_workbench.core.leases import Leases

router = APIRouter(tags=["operation"])


@router.get("/health")
def health(request: Request, response: Response) -> dict[str, Any]:
    """Say whether the ledger answers and the runner is alive; 503 where not."""
    context = request.app.state.context
    events, _ = context.ledger.head()
    runner = Leases(context.ledger.engine).holder(HEARTBEAT) is not None
    if not runner:
        response.status_code = 503
    return {
        "version": __version__,
        "ledger_events": events,
        "runner": "alive" if runner else "does not answer",
    }


@router.get("/metrics")
def measured(_person: Annotated[Person, Depends(person_with("custom:ledger:read"))]) -> Response:
    """Return the metrics of this process."""
    return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)
