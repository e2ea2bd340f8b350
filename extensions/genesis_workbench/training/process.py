"""One process of a training job: reads what it was told, trains, and leaves the model for the zoo.

It runs in the job's folder. It has no token and asks no service: what it may read was decided when the run was started.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.core.errors import NotFound, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.storage import write_whole
from genesis_workbench.training.checkpoint import Checkpoints
from genesis_workbench.training.environment import environment
from genesis_workbench.training.loop import EARLY, FINISHED, TOLD, Outcome, Signals, Training
from genesis_workbench.training.metrics import FILE, MetricsLog
from genesis_workbench.training.recipe import Data, Parent, Product, Recipe, load_code
from genesis_workbench.training.request import (
    ARTIFACT_FILE,
    CHECKPOINTS,
    PARENT_FILE,
    PRODUCT_FILE,
    RECIPE_FOLDER,
    Request,
)
from genesis_workbench.training.workers import Workers, join, leave

TERMINATED = 143  # as a shell says that SIGTERM ended something: the wrapper around the job knows it


def main(folder: Path) -> int:
    """Run this process's part of the job in `folder`, and return its exit status."""
    signals = Signals()  # first: a signal that comes while torch is set up is kept
    told = Request.model_validate_json((folder / "arguments.json").read_bytes())
    workers = join(folder, told.threads, told.processes_per_node)
    try:
        outcome = _train(folder, told, workers, signals)
    finally:
        leave(workers)
    return TERMINATED if outcome.ended == TOLD else 0


def _train(folder: Path, told: Request, workers: Workers, signals: Signals) -> Outcome:
    recipe = load_code(folder / RECIPE_FOLDER, told.files)()
    config = recipe.Config.model_validate(told.configuration)
    checkpoints, log = Checkpoints(folder / CHECKPOINTS), None
    if workers.first:
        checkpoints.claim()
        _take_over(folder, told)
        log = MetricsLog(folder / FILE)
    opened = [
        open_dataset(Dataset.model_validate(record), **options)
        for record, options in zip(told.datasets, told.options, strict=True)
    ]
    data, parent = recipe.data(config, opened, folder), _parent(folder, told)
    torch.manual_seed(config.seed)  # the weights that the model starts from
    model = recipe.model(config, data, parent)
    training = Training(recipe, config, data, workers, checkpoints, log, signals, told.nodes)
    try:
        outcome = training.run(model)
    finally:
        checkpoints.close()
        if log is not None:
            log.close()
    if workers.first:
        _leave_results(folder, told, recipe, config, data, outcome)
    return outcome


def _take_over(folder: Path, told: Request) -> None:
    """Copy the checkpoint of an attempt before, where it could not be brought here with the job.

    Raises
    ------
    NotFound
        If it is gone: to begin anew is nothing that happens by itself.
    """
    mine = folder / CHECKPOINTS
    if not told.previous or any(mine.glob("step-*.json")):
        return
    places = [folder.parent / key / CHECKPOINTS for key in told.previous]
    found = next((files for each in places if each.is_dir() and (files := Checkpoints(each).files())), None)
    if found is None:
        raise NotFound(
            f"No checkpoint of the attempts before is in {folder.parent}: it was deleted, or the container of this job does not "
            "see it. Start a new run."
        )
    for path in found:  # the manifest last: only with it the checkpoint is there
        write_whole(mine / path.name, path.read_bytes())


def _leave_results(
    folder: Path, told: Request, recipe: Recipe, config: Any, data: Data, outcome: Outcome
) -> None:
    if outcome.ended in (FINISHED, EARLY) and outcome.best is not None:
        torch.manual_seed(config.seed)
        model = recipe.model(config, data, None)
        model.load_state_dict(outcome.best)
        model.eval()
        with torch.no_grad():
            product = recipe.product(model, config, data)
        write_whole(folder / ARTIFACT_FILE, product.artifact)
        write_whole(folder / PRODUCT_FILE, json.dumps(_described(product, data)).encode())
    result = {
        "run": told.run,
        "ended": outcome.ended,
        "validation_loss": outcome.progress.best,
        "progress": outcome.progress.model_dump(mode="json"),
        "environment": environment(),
    }
    write_whole(folder / "result.json", json.dumps(result).encode())


def _described(product: Product, data: Data) -> dict[str, Any]:
    return {
        "format": product.format,
        "artifact": digest(product.artifact),
        "signature": product.signature.model_dump(mode="json"),
        "card": product.card.model_dump(mode="json"),
        "self_test": product.self_test.model_dump(mode="json"),
        "simulator": data.simulator,
    }


def _parent(folder: Path, told: Request) -> Parent | None:
    if told.parent is None:
        return None
    from safetensors.torch import load

    artifact = (folder / PARENT_FILE).read_bytes()
    if digest(artifact) != told.parent.artifact:
        raise VerificationFailed(f"The artifact of {told.parent.reference} is not what the run was given.")
    return Parent(told.parent.reference, load(artifact))


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    # So torchrun repeats why a process failed below its own words, which would else be the last.
    raise SystemExit(record(main)(Path(os.environ["GENESIS_JOB_FOLDER"])))
