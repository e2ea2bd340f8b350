"""`gw.train`: decide what may be read, put recipe and arguments into a job, and submit it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genesis_workbench.compute.job import JobSpec, Resources
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import check_slug, idempotency_key, new_id
from genesis_workbench.core.site import this_site
from genesis_workbench.training.recipe import Code, Recipe, find
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.request import (
    ARTIFACT_FILE,
    PARENT_FILE,
    PRODUCT_FILE,
    RECIPE_FOLDER,
    ParentModel,
    Request,
)

if TYPE_CHECKING:
    from genesis_workbench.training.run import TrainingRun


def train(
    recipe: str | Path,
    data: Sequence[str | tuple[str, Mapping[str, Any]]] = (),
    *,
    name: str = "",
    resources: Resources | None = None,
    parent: str = "",
    walltime_s: float = 24 * 3600,
    queue: str = "",
    account: str = "",
    image: str = "",
    facility: str = "",
    **configuration: Any,
) -> TrainingRun:
    """Train a model on the site's queue; :meth:`TrainingRun.wait` puts it into the zoo.

    Parameters
    ----------
    recipe : str or Path
        Name of an installed recipe (``gw.training.recipes()``), or the folder of one.
    data : sequence of str
        Identifiers of catalog datasets; ``(identifier, options)`` where one is opened with options.
    name : str
        What the zoo will call the model; the recipe's name where left out.
    resources : Resources, optional
        Machines, processes, cores and accelerators; one process with one core where left out.
    parent : str
        Model of the zoo to go on from, such as ``series@1``; its artifact must be safetensors.
    walltime_s : float
        Seconds after which the job is ended. A minute before, it is told to save.
    queue, account, image, facility : str
        Where it runs, as for :func:`genesis_workbench.submit`.
    **configuration
        For the recipe: its own fields, and what all have (``seed``, ``epochs``, ``patience``, ``budget_node_hours``, …).

    Returns
    -------
    TrainingRun
        Follow it with ``run.metrics()`` and ``run.plot()``; ``run.stop()``, ``run.resume()`` and ``run.wait()``.

    Raises
    ------
    NotFound
        If there is no such recipe, or a dataset or model that one may see.
    InvalidInput
        If the configuration cannot be used, with the field and what it takes.
    MissingDependency
        If torch is not installed here.
    """
    found, code = find(recipe)
    config = configured(found, configuration)
    resources, run = resources or Resources(), new_id("trn")
    records, options = _datasets(data)
    model, artifact = _parent(parent)
    told = Request(
        run=run,
        recipe=code.name,
        files=code.files,
        code=code.digest,
        configuration=config,
        datasets=records,
        options=options,
        parent=model,
        nodes=resources.nodes,
        processes_per_node=resources.processes_per_node,
        threads=resources.cpu_cores,
    )
    place = {"queue": queue, "account": account, "image": image}
    record = RunRecord(
        run=run, name=check_slug(name or code.name, "model"), facility=facility, place=place,
        walltime_s=walltime_s, resources=resources, request=told,
    )  # fmt: skip
    return submit(record, code, {PARENT_FILE: artifact} if artifact else {})


def submit(record: RunRecord, code: Code, files: Mapping[str, Path]) -> TrainingRun:
    """Submit the next attempt of a run, with `files` (name in the job's folder to file) beside the recipe's."""
    from genesis_workbench.compute.submission import scheduler
    from genesis_workbench.training import courier
    from genesis_workbench.training.run import TrainingRun

    where = scheduler(record.facility)
    spec = job(record, code, files, where.name)
    record = record.with_job(spec.key)
    record.keep()
    where.submit(spec)
    courier.start()
    return TrainingRun(record)


def job(
    record: RunRecord, code: Code, files: Mapping[str, Path], scheduler: str, *, key: str = ""
) -> JobSpec:
    """Return the job of a run's next attempt, for a scheduler of this name; nothing is submitted.

    Parameters
    ----------
    key : str
        Its key; made from run and attempt where left out.
    """
    told = record.request
    staged = {f"{RECIPE_FOLDER}/{name}": str(code.folder / name) for name in told.files}
    staged |= {name: str(path) for name, path in files.items()}
    return JobSpec(
        name=f"train {record.name}",
        command=(_python(scheduler), "-m", "genesis_workbench.training"),
        arguments=told.model_dump(mode="json"),
        environment={"OMP_NUM_THREADS": str(told.threads)},
        resources=record.resources,
        walltime_s=record.walltime_s,
        warning_s=min(60.0, record.walltime_s / 4),
        stage_in=staged,
        stage_out=("metrics.jsonl", PRODUCT_FILE, ARTIFACT_FILE),
        requeue=True,
        key=key or idempotency_key(told.run, told.attempt),
        **record.place,
    )


def _python(scheduler: str) -> str:
    """Return the Python of the machines where it runs: that of the site's own, unless it is a facility beside them."""
    site = this_site().compute
    if scheduler in ("local", "slurm"):
        return site.python or sys.executable
    return site.python if site.python and site.scheduler == scheduler else "python"


def configured(recipe: type[Recipe], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe is told, with its defaults; InvalidInput names what it cannot use."""
    try:
        return recipe.Config.model_validate(dict(given)).model_dump(mode="json")
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise InvalidInput(
            f"The recipe {recipe.name!r} cannot use {field}={fault.get('input')!r}: {fault['msg']}. It can be told: "
            f"{', '.join(recipe.Config.model_fields)}."
        ) from error


def _datasets(
    data: Sequence[str | tuple[str, Mapping[str, Any]]],
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Return the records of the datasets, as far as this person may see them, and the options of each."""
    from genesis_workbench import catalog

    asked = [(each, {}) if isinstance(each, str) else (each[0], dict(each[1])) for each in data]
    records = tuple(catalog.get(identifier).model_dump(mode="json") for identifier, _ in asked)
    return records, tuple(options for _, options in asked)


def _parent(reference: str) -> tuple[ParentModel | None, Path | None]:
    if not reference:
        return None, None
    from genesis_workbench.training.registration import fetch

    version, path = fetch(reference)
    if version.format != "safetensors":
        raise InvalidInput(
            f"{version.reference} is {version.format}; training goes on from safetensors only. Name a model that a recipe made."
        )
    return ParentModel(reference=version.reference, artifact=version.artifact), path
