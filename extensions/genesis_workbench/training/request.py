"""What the job of a run is told, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RECIPE_FOLDER, PARENT_FILE, CHECKPOINTS = "recipe", "parent.safetensors", "checkpoints"
PRODUCT_FILE, ARTIFACT_FILE = "product.json", "artifact.bin"


class Frozen(BaseModel):
    """A record that does not change; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ParentModel(Frozen):
    """The model that training goes on from."""

    reference: str
    artifact: str = Field(description="Digest of its artifact.")


class Request(Frozen):
    """The arguments of a training job."""

    run: str = Field(description="Identifier of the run.")
    attempt: int = Field(1, description="Counts up with each resumption by a person.")
    previous: tuple[str, ...] = Field(
        (),
        description="Keys of attempts before, newest first, where their checkpoints lie beside this job's folder.",
    )
    recipe: str = Field(description="Name of the recipe.")
    files: dict[str, str] = Field(description="The recipe's files: path to hash.")
    code: str = Field(description="Hash of all of them.")
    configuration: dict[str, Any] = Field(description="What the recipe was told, with its defaults.")
    datasets: tuple[dict[str, Any], ...] = Field(
        (), description="Records of the catalog, in the order given."
    )
    options: tuple[dict[str, Any], ...] = Field((), description="Options with which each is opened.")
    parent: ParentModel | None = None
    nodes: int = 1
    processes_per_node: int = 1
    threads: int = Field(1, description="Threads of each process.")
