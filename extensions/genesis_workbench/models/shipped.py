"""The models that come with the workbench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from genesis_workbench.core.errors import MissingDependency
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature

if TYPE_CHECKING:
    from genesis_workbench.models.zoo import LocalZoo

OWNER = "service:workbench"
_FOLDER = Path(__file__).parent / "builtin"


def install_builtin(zoo: LocalZoo) -> list[ModelVersion]:
    """Register the models that come with the workbench; those that are registered already stay as they are.

    A model whose format needs a package that is not installed is left out.
    """
    installed = []
    for path in sorted(_FOLDER.glob("*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        artifact = (path.parent / record["file"]).read_bytes()
        try:
            version = zoo.register(
                record["name"],
                record["format"],
                artifact,
                Signature.model_validate(record["signature"]),
                ModelCard.model_validate(record["card"]),
                SelfTest.model_validate(record["self_test"]),
                actor=OWNER,
                lineage=record["lineage"],
                reuse=True,
            )
        except MissingDependency:
            continue
        installed.append(version)
    return installed
