"""Trials as training runs: what is searched are fields of a recipe's configuration, what is observed is its validation loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.compute.job import JobSpec, Resources
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import GenesisError, PermissionRefused
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.plugins import names
from genesis_workbench.core.service import me
from genesis_workbench.experiments.executors._base import (
    Failure,
    Outcome,
    Place,
    Request,
    Signature,
    Standing,
    Unknown,
    ended_job,
    job_standing,
    submit_jobs,
)
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record
from genesis_workbench.training.launching import configured, job
from genesis_workbench.training.recipe import Code, Recipe, find
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.request import Request as Told

_OUTCOMES = {"validation_loss": ""}
_NOBODY = Person("")


class TrainingArguments(Record):
    """What every trial trains.

    Attributes
    ----------
    recipe : str
        Name of an installed recipe; in a bare notebook also the folder of one.
    data : tuple of str
        Identifiers of catalog datasets. The service trains on public ones only: it acts for many people.
    configuration : dict
        What stays the same over all trials: fields of the recipe's configuration.
    resources : Resources
        Of each run.
    walltime_s : float
        Seconds after which a run is ended.
    """

    recipe: str = Field(min_length=1, max_length=1000)
    data: tuple[str, ...] = Field((), max_length=100)
    configuration: dict[str, Any] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    walltime_s: float = Field(24 * 3600, gt=0)
    queue: str = ""
    account: str = ""
    image: str = ""


class TrainingExecutor:
    """Trains a recipe for each trial, as a job that goes on where it was killed; the trial's key is the job's."""

    name: ClassVar[str] = "training"
    settings: ClassVar[type[Record]] = TrainingArguments

    def __init__(self, place: Place) -> None:
        self._place = place

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse recipes, data and configurations that no trial could train with. See :class:`Executor`."""
        self._spec(Request("check", {}, arguments))

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return the fields of the recipe's configuration that are free. See :class:`Executor`."""
        given = self._read(arguments)
        found, _ = self._recipe(given)
        free = {name: "" for name in found.Config.model_fields if name not in given.configuration}
        return Signature(free, _OUTCOMES, frozenset(free), simulated=True)

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Submit one run. See :class:`Executor`."""
        self._place.scheduler.submit(self._spec(Request(key, parameters, arguments)))

    def submit_all(self, requests: Sequence[Request]) -> dict[str, str | None]:
        """Submit many. See :class:`Executor`."""
        return submit_jobs(self._place.scheduler, requests, self._spec)

    def observe(self, key: str) -> Outcome | None:
        """Read the best validation loss, and the node-hours of all starts. See :class:`Executor`."""
        scheduler = self._place.scheduler
        status = scheduler.status(key)
        if status is None or not status.state.final:
            return None if status is not None else Failure("Its job is gone from the scheduler's folder.")
        try:
            nodes = json.loads(scheduler.output(key, "arguments.json").read_bytes())["nodes"]
        except GenesisError as error:
            return Failure(error.message)
        found = ended_job(scheduler, key, _OUTCOMES, nodes=nodes)
        try:
            # The job's times are those of its last start; the run has counted the earlier ones, too.
            trained = scheduler.result(key)["progress"]["node_hours"]
        except GenesisError:
            return found  # it has left none; `found` says why it failed
        if found is None or isinstance(found, Unknown):
            return found
        hours = max(trained, found.cost.get("node_hours", 0.0))
        return replace(found, cost={**found.cost, "node_hours": hours})

    def standing(self, key: str) -> Standing:
        """Return where its job stands. See :class:`Executor`."""
        return job_standing(self._place.scheduler, key)

    def cancel(self, key: str) -> None:
        """End the run, with a checkpoint. See :class:`Executor`."""
        self._place.scheduler.cancel(key)

    def _read(self, arguments: Mapping[str, Any]) -> TrainingArguments:
        return read(TrainingArguments, self.name, arguments)

    def _recipe(self, given: TrainingArguments) -> tuple[type[Recipe], Code]:
        if self._place.service and given.recipe not in names("recipes"):
            raise PermissionRefused(
                f"The service trains installed recipes only ({', '.join(names('recipes'))}), not {given.recipe[:100]!r}: another "
                "folder's code would run with the service's rights. Ask the operator to install it."
            )
        return find(given.recipe)

    def _spec(self, request: Request) -> JobSpec:
        given = self._read(request.arguments)
        recipe, code = self._recipe(given)
        told = Told(
            run=f"trn_{digest_json([request.key])[7:33]}",
            recipe=code.name,
            files=code.files,
            code=code.digest,
            configuration=configured(recipe, {**given.configuration, **request.parameters}),
            datasets=tuple(self._dataset(each) for each in given.data),
            options=({},) * len(given.data),
            nodes=given.resources.nodes,
            processes_per_node=given.resources.processes_per_node,
            threads=given.resources.cpu_cores,
        )
        place = {"queue": given.queue, "account": given.account, "image": given.image}
        kept = RunRecord(
            run=told.run, name=code.name, place=place, walltime_s=given.walltime_s, resources=given.resources, request=told,
        )  # fmt: skip
        return job(kept, code, {}, self._place.scheduler.name, key=request.key)

    def _dataset(self, identifier: str) -> dict[str, Any]:
        """Return a dataset's record: of a public one in the service, which acts for many, or of one that this person may see."""
        person = _NOBODY if self._place.service else me()
        return self._place.catalog.get(identifier, person).model_dump(mode="json")
