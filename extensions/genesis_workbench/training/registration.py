"""The way into the zoo and out of it: a finished run becomes a model with its lineage and the strictest label of its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.access import Label, strictest
from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature
from genesis_workbench.training.request import ARTIFACT_FILE, PRODUCT_FILE

if TYPE_CHECKING:
    from genesis_workbench.compute.job import Job
    from genesis_workbench.compute.schedulers._base import Scheduler
    from genesis_workbench.models.record import ModelVersion
    from genesis_workbench.training.record import RunRecord


def register(record: RunRecord, scheduler: Scheduler, job: Job) -> ModelVersion:
    """Register what a completed job left; the version there is, where it was registered before.

    Raises
    ------
    VerificationFailed
        If the artifact is not what the job says it left, or does not do in the zoo what it did there.
    """
    from genesis_workbench import models
    from genesis_workbench.core.service import me

    product = json.loads(scheduler.output(job.key, PRODUCT_FILE).read_bytes())
    artifact = scheduler.output(job.key, ARTIFACT_FILE).read_bytes()
    if digest(artifact) != product["artifact"]:
        raise VerificationFailed(
            f"The artifact of the run {record.run} is not the one that it described: its folder was changed. Train again."
        )
    zoo: Any = models._zoo()
    if not hasattr(zoo, "register"):
        raise InvalidInput(
            "The zoo of this hub takes no models from notebooks yet. The model lies in the job's folder: "
            f"{scheduler.output(job.key, ARTIFACT_FILE)}."
        )
    version: ModelVersion = zoo.register(
        record.name,
        product["format"],
        artifact,
        Signature.model_validate(product["signature"]),
        _labelled(ModelCard.model_validate(product["card"]), record),
        SelfTest.model_validate(product["self_test"]),
        actor=me().name,
        lineage=lineage(record, job, scheduler.result(job.key), product["simulator"]),
        reuse=True,
    )
    return version


def lineage(record: RunRecord, job: Job, result: dict[str, Any], simulator: str) -> dict[str, Any]:
    """Return from what a model came: datasets by what they held, recipe by its hash, job, seeds, environment and parent."""
    told = record.request
    return {
        "datasets": [_dataset(each) for each in told.datasets],
        "simulator": simulator,
        "recipe": {"name": told.recipe, "code": told.code, "configuration": told.configuration},
        "job": {
            "run": told.run,
            "attempts": list(record.jobs),
            "native_id": job.native_id,
            "restarts": job.restarts,
        },
        "parent": told.parent.model_dump() if told.parent else None,
        "ended": result["ended"],
        "steps": result["progress"]["step"],
        "node_hours": result["progress"]["node_hours"],
        "environment": result["environment"],
    }


def fetch(reference: str) -> tuple[ModelVersion, Path]:
    """Return a model of the zoo and a file with its artifact, for a job to go on from."""
    from genesis_workbench import models
    from genesis_workbench.core.service import local_state
    from genesis_workbench.core.state import State
    from genesis_workbench.core.storage import BlobStore

    zoo, person = models._zoo(), models._person()
    version = zoo.get(reference, person)
    blobs = BlobStore(State(local_state()).blobs)
    return version, blobs.path(blobs.put(zoo.artifact(version.artifact, person)))


def _dataset(record: dict[str, Any]) -> dict[str, Any]:
    sums = [each["checksum"] for each in record["distributions"] if each["checksum"]]
    return {
        "id": record["id"],
        "title": record["title"],
        "modified": record["modified"],
        "record": record["native_digest"],
        "checksums": sums,
        "label": record["label"],
    }


def _labelled(card: ModelCard, record: RunRecord) -> ModelCard:
    """Return the card with the strictest label of model and data, and only the groups that may see all of them."""
    things = [card.model_dump(), *record.request.datasets]
    parent = _parent_card(record)
    things += [parent.model_dump()] if parent else []
    label = strictest(Label.parse(each["label"]) for each in things)
    closed = [frozenset(each["groups"]) for each in things if Label.parse(each["label"]) is not Label.PUBLIC]
    groups = frozenset.intersection(*closed) if closed else frozenset()
    return card.model_copy(update={"label": str(label), "groups": tuple(sorted(groups))})


def _parent_card(record: RunRecord) -> ModelCard | None:
    if record.request.parent is None:
        return None
    from genesis_workbench import models

    return models.get(record.request.parent.reference).card
