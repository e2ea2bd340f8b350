"""JobSpec and Job, in the shape of PSI/J and of the IRI Facility API."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from genesis_workbench.core.errors import Unavailable
from genesis_workbench.core.identifiers import check_slug, idempotency_key, new_id

RESERVED = frozenset(
    {
        "spec.json", "arguments.json", "submitted.json", "started.json", "ended.json", "lock",
        "native.json", "canceled.json", "submission.lock", "stdout", "stderr", "result.json",
        "asked.json", "fetched.json", "claimed",
    }
)  # fmt: skip
"""Names in a job's folder that the workbench writes itself."""


class Record(BaseModel):
    """A value that does not change; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resources(Record):
    """What a job needs of the machines it runs on."""

    nodes: int = Field(1, gt=0, le=10_000, description="Machines.")
    processes_per_node: int = Field(1, gt=0, le=1024, description="Processes on each machine.")
    cpu_cores: int = Field(1, gt=0, le=1024, description="Processor cores of each process.")
    gpus: int = Field(0, ge=0, le=64, description="Accelerators of each process.")
    memory_bytes: int = Field(0, ge=0, description="Most memory on each machine; 0 for the queue's default.")
    exclusive: bool = Field(False, description="Whether nobody else's job may share the machines.")


class JobSpec(Record):
    """What to run.

    The command runs in a folder of its own, which holds ``arguments.json`` and the files of `stage_in`; what it
    writes to ``result.json`` there is its result.
    """

    name: str = Field(max_length=200, description="What people read in a list of jobs.")
    command: tuple[str, ...] = Field(min_length=1, description="Program and arguments; no shell reads them.")
    arguments: Any = Field(None, description="JSON, written to arguments.json in the job's folder.")
    environment: dict[str, str] = Field(
        default_factory=dict, description="Variables added to the environment."
    )
    resources: Resources = Field(default_factory=Resources)
    walltime_s: float = Field(3600, gt=0, description="Seconds after which it is ended.")
    queue: str = Field("", max_length=100, description="Queue or partition; the site's where empty.")
    account: str = Field(
        "", max_length=100, description="Whom the use is charged to; the site's where empty."
    )
    image: str = Field("", max_length=500, description="Container image by digest; the site's where empty.")
    stage_in: dict[str, str] = Field(
        default_factory=dict, description="Name in the job's folder to the local file that is copied there."
    )
    stage_out: tuple[str, ...] = Field(
        (), description="Names of files that it writes and that are brought back beside result.json."
    )
    requeue: bool = Field(
        False,
        description="Whether it is started again after preemption or the loss of a machine. Only for commands that go "
        "on from what they wrote; without it a job starts once at most.",
    )
    warning_s: float = Field(
        0, ge=0, description="Seconds before the end of its walltime at which it is sent SIGTERM; 0 for none."
    )
    key: str = Field(
        default_factory=lambda: idempotency_key(new_id("job")),
        description="Idempotency key: the same key submitted twice runs once.",
    )

    @field_validator("key")
    @classmethod
    def _key_is_a_name(cls, key: str) -> str:
        return check_slug(key, "job")

    @field_validator("stage_in", "stage_out")
    @classmethod
    def _names_stay_in_the_folder(cls, names: Any) -> Any:
        for name in names:
            path = PurePosixPath(name)
            if (
                name in RESERVED
                or path.is_absolute()
                or ".." in path.parts
                or str(path) != name
                or name == "."
            ):
                raise ValueError(
                    f"{name!r} cannot be a file of a job: use a relative name such as 'data/input.nc', and none of "
                    f"{', '.join(sorted(RESERVED))}"
                )
        return names


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
    native_id: str = Field("", description="What the scheduler itself calls it, such as '4711' or '4711_3'.")
    queue: str = Field("", description="Queue or partition that it is in.")
    position: int | None = Field(
        None, description="Place in the queue, 1 for the next; None where not waiting."
    )
    estimated_start: str | None = Field(
        None, description="When the scheduler expects to start it, if it says."
    )
    restarts: int = Field(0, description="How often it was started again after preemption or a lost machine.")


class QueueFull(Unavailable):
    """There is no room for more jobs of this person now: what was asked for is in no queue, and can be asked for again."""


class Queue(Record):
    """A queue of the site, as it is now."""

    name: str
    default: bool = False
    max_walltime_s: float | None = Field(None, description="Longest walltime; None for no limit.")
    nodes: int = Field(0, description="Machines, those included that are down now.")
    cores_per_node: int = 0
    memory_per_node_bytes: int = 0
    gpus_per_node: int = 0
    free_cores: int = Field(0, description="Cores that nobody uses now.")
    waiting_jobs: int = 0
