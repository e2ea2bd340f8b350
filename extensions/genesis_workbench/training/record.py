"""What is kept of a run on the person's side: where its jobs are, and what they were told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from genesis_workbench.compute.job import Resources
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.service import local_state
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import write_whole
from genesis_workbench.training.request import Frozen, Request


class RunRecord(Frozen):
    """A training run: one job for each attempt."""

    run: str = Field(description="Identifier of the run.")
    name: str = Field(description="What the zoo will call the model.")
    facility: str = ""
    place: dict[str, str] = Field(default_factory=dict, description="Queue, account and image.")
    walltime_s: float = 86400
    resources: Resources = Field(default_factory=Resources)
    request: Request
    jobs: tuple[str, ...] = Field((), description="Keys of its jobs, one for each attempt.")
    model: str = Field("", description="The model that it became, such as 'surrogate@1'.")

    def with_job(self, key: str) -> RunRecord:
        """Return it with one more attempt."""
        return self.model_copy(update={"jobs": (*self.jobs, key)})

    def keep(self) -> None:
        """Write it down."""
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(folder / f"{self.run}.json", self.model_dump_json().encode())


def load(run: str) -> RunRecord:
    """Return the record of a run; NotFound where there is none."""
    path = _folder() / f"{check_slug(run, 'run')}.json"
    if not path.is_file():
        raise NotFound(f"There is no training run {run!r} here. See gw.training.runs().")
    return RunRecord.model_validate_json(path.read_bytes())


def load_all() -> list[RunRecord]:
    """Return the records of all runs, newest first."""
    return [
        RunRecord.model_validate_json(path.read_bytes())
        for path in sorted(_folder().glob("trn_*.json"), reverse=True)
    ]


def _folder() -> Path:
    return State(local_state()).training


def summary(record: RunRecord) -> dict[str, Any]:
    """Return a line for a list of runs."""
    told = record.request
    return {
        "run": record.run,
        "name": record.name,
        "recipe": told.recipe,
        "data": [each["id"] for each in told.datasets],
        "attempts": len(record.jobs),
        "model": record.model,
    }
