"""Trials as jobs of the site's scheduler: any command, with files by their hash, arguments in and a result out as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from genesis_workbench.compute.job import JobSpec, Resources
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.experiments.executors._base import (
    Failure,
    Outcome,
    Place,
    Request,
    Signature,
    Standing,
    allow_own_code,
    cancel_all,
    ended_job,
    job_standing,
    submit_jobs,
)
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit


class JobArguments(Record):
    """What a trial runs.

    Attributes
    ----------
    command : tuple of str
        Program and arguments; no shell reads them. It runs in a folder of its own with ``arguments.json`` (``parameters`` and
        ``arguments``) and writes ``result.json``: for each outcome a number, or ``{"value": ..., "uncertainty": ...}``.
    outcomes : dict
        Name to unit of what it writes.
    parameters : dict, optional
        Name to unit of what it takes; all of the space where left out.
    files : dict
        Name in the job's folder to the hash of a file, as ``gw.experiments.keep`` gives it.
    arguments : dict
        What stays the same over all trials and is passed on.
    simulated : bool
        Whether what it gives comes from a simulator.
    """

    command: tuple[str, ...] = Field(min_length=1, max_length=100)
    outcomes: dict[str, Unit] = Field(min_length=1)
    parameters: dict[str, Unit] | None = None
    files: dict[str, str] = Field(default_factory=dict, max_length=100)
    arguments: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    walltime_s: float = Field(3600, gt=0)
    queue: str = ""
    account: str = ""
    image: str = ""
    simulated: bool = True


class JobExecutor:
    """Submits trials together, in as few requests as the scheduler allows, and looks at all of them together."""

    name: ClassVar[str] = "job"
    settings: ClassVar[type[Record]] = JobArguments

    def __init__(self, place: Place) -> None:
        self._place = place

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse commands where the site does not allow them, and files that are not here. See :class:`Executor`."""
        allow_own_code(self._place, self.name)
        given = _read(arguments)
        self._spec(given, Request("check", {}, arguments))

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        given = _read(arguments)
        return Signature(given.parameters, given.outcomes, simulated=given.simulated)

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Submit one job. See :class:`Executor`."""
        request = Request(key, parameters, arguments)
        self._place.scheduler.submit(self._spec(_read(arguments), request))

    def submit_all(self, requests: Sequence[Request]) -> dict[str, str | None]:
        """Submit many. See :class:`Executor`."""
        return submit_jobs(
            self._place.scheduler, requests, lambda each: self._spec(_read(each.arguments), each)
        )

    def observe(self, key: str) -> Outcome | None:
        """Read the job's outcome. See :class:`Executor`."""
        scheduler = self._place.scheduler
        job = scheduler.status(key)
        if job is None or not job.state.final:
            return None if job is not None else Failure("Its job is gone from the scheduler's folder.")
        try:
            # What it was given is in its folder: the units of what it gives, and how many machines it had.
            given = json.loads(scheduler.output(key, "arguments.json").read_bytes())
        except GenesisError as error:
            return Failure(error.message)
        return ended_job(scheduler, key, given["outcomes"], nodes=int(given["nodes"]))

    def standing(self, key: str) -> Standing:
        """Return where its job stands. See :class:`Executor`."""
        return job_standing(self._place.scheduler, key)

    def cancel(self, key: str) -> None:
        """Cancel the job. See :class:`Executor`."""
        self._place.scheduler.cancel(key)

    def cancel_all(self, keys: Sequence[str]) -> None:
        """Cancel many. See :class:`Executor`."""
        cancel_all(self._place.scheduler, keys)

    def _spec(self, given: JobArguments, request: Request) -> JobSpec:
        blobs = self._place.blobs
        try:
            return self._described(
                given, request, {name: str(blobs.path(digest)) for name, digest in given.files.items()}
            )
        except ValidationError as error:
            raise InvalidInput(f"The executor 'job' cannot run this: {error.errors()[0]['msg']}.") from error

    @staticmethod
    def _described(given: JobArguments, request: Request, files: dict[str, str]) -> JobSpec:
        return JobSpec(
            name=f"trial: {given.command[0]}"[:200],
            command=given.command,
            arguments={
                "parameters": dict(request.parameters),
                "arguments": given.arguments,
                "outcomes": given.outcomes,
                "nodes": given.resources.nodes,
            },
            environment=given.environment,
            resources=given.resources,
            walltime_s=given.walltime_s,
            queue=given.queue,
            account=given.account,
            image=given.image,
            stage_in=files,
            key=request.key,
        )


def _read(arguments: Mapping[str, Any]) -> JobArguments:
    return read(JobArguments, "job", arguments)
