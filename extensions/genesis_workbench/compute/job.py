"""JobSpec and Job, in the shape of PSI/J and of the IRI Facility API."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from genesis_workbench.core.identifiers import check_slug, idempotency_key, new_id


class Record(BaseModel):
    """A value that does not change; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resources(Record):
    """What a job needs of a machine."""

    cpu_cores: int = Field(1, gt=0, le=1024, description="Processor cores.")
    memory_bytes: int = Field(0, ge=0, description="Most memory that it may use; 0 for no limit.")


class JobSpec(Record):
    """What to run.

    The command runs in a folder of its own, which holds ``arguments.json``; what it writes to ``result.json``
    there is its result.
    """

    name: str = Field(max_length=200, description="What people read in a list of jobs.")
    command: tuple[str, ...] = Field(min_length=1, description="Program and arguments; no shell reads them.")
    arguments: Any = Field(None, description="JSON, written to arguments.json in the job's folder.")
    environment: dict[str, str] = Field(
        default_factory=dict, description="Variables added to the environment."
    )
    resources: Resources = Field(default_factory=Resources)
    walltime_s: float = Field(3600, gt=0, description="Seconds after which it is ended.")
    key: str = Field(
        default_factory=lambda: idempotency_key(new_id("job")),
        description="Idempotency key: the same key submitted twice runs once.",
    )

    @field_validator("key")
    @classmethod
    def _key_is_a_name(cls, key: str) -> str:
        return check_slug(key, "job")


class JobState(StrEnum):
    """Where a job is on its way."""

    NEW = "new"
    QUEUED = "queued"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELED)


class Job(Record):
    """What is known of a job now."""

    key: str
    name: str
    state: JobState
    reason: str = Field("", description="Why it is in this state, in plain words.")
    exit_code: int | None = None
    submitted: str = ""
    started: str | None = None
    ended: str | None = None
    folder: str = Field("", description="Where its files lie.")
