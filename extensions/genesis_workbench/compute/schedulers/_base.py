"""The contract of a scheduler."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from genesis_workbench.compute.job import Job, JobSpec


class Scheduler(Protocol):
    """Something that runs jobs, each key once.

    All methods may be called by any process of the same account, at any time, after any of them was killed.
    """

    name: ClassVar[str]

    def submit(self, spec: JobSpec) -> Job:
        """Run `spec` unless a job with its key is there already; return what is known of it.

        Raises
        ------
        Conflict
            If the key belongs to a job with another specification.
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

    def render(self, spec: JobSpec) -> str:
        """Return what :meth:`submit` would run, without running it."""
        ...
