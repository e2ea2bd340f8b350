"""The contract of a scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from genesis_workbench.compute.job import Job, JobSpec, Queue
from genesis_workbench.core.site import ComputeSection


class Scheduler(Protocol):
    """Something that runs jobs, each key once.

    All methods may be called by any process of the same account, at any time, after any of them was killed.

    Parameters
    ----------
    folder : Path
        Where it keeps a folder for each job.
    site : ComputeSection
        What the site says of compute.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, site: ComputeSection) -> None: ...

    def submit(self, spec: JobSpec) -> Job:
        """Run `spec` unless a job with its key is there already; return what is known of it.

        Raises
        ------
        Conflict
            If the key belongs to a job with another specification.
        InvalidInput
            If no machine of the site could ever run it, with the nearest that would do; or with the scheduler's own
            words where it refuses. Nothing is queued then.
        QueueFull
            If there is no room for it now.
        """
        ...

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit many, in as few requests as the scheduler allows.

        Where it takes some only, for now, the others are returned as new, without a `native_id`; submit them again later.

        Raises
        ------
        Unavailable
            If it takes none now.
        """
        ...

    def status(self, key: str) -> Job | None:
        """Return the job with this key, or None where none was ever submitted."""
        ...

    def cancel(self, key: str) -> None:
        """End the job; nothing where it has ended or was never there."""
        ...

    def result(self, key: str) -> Any:
        """Return the JSON that a completed job wrote; NotFound where it wrote none."""
        ...

    def output(self, key: str, name: str) -> Path:
        """Return a local path of a file that the job wrote; NotFound where it is not there."""
        ...

    def render(self, spec: JobSpec) -> str:
        """Return what :meth:`submit` would run, without running it."""
        ...

    def queues(self) -> list[Queue]:
        """Return what the site has now."""
        ...
