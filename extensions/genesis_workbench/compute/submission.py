"""`gw.submit`: run a job on the scheduler that this place has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import DeadlineExceeded, NotFound
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import this_site
from genesis_workbench.core.state import State

if TYPE_CHECKING:
    from genesis_workbench.compute.job import Job, JobSpec, Queue
    from genesis_workbench.compute.schedulers._base import Scheduler


def scheduler() -> Scheduler:
    """Return the scheduler of this place, as its site file names it; on a laptop, processes of this machine."""
    site = this_site().compute
    made: Scheduler = plugins.load("schedulers", site.scheduler)(State(local_state()).jobs, site)
    return made


def submit(spec: JobSpec) -> Job:
    """Submit `spec`; ask :func:`scheduler` for its state later, or :func:`wait`. The same key runs once."""
    return scheduler().submit(spec)


def wait(job: Job, timeout_s: float = 3600) -> Job:
    """Wait until a job has ended, and return it as it ended.

    Raises
    ------
    DeadlineExceeded
        If it has not ended within `timeout_s` seconds; it goes on.
    """
    here, deadline, pause_s = scheduler(), time.monotonic() + timeout_s, 0.05
    while True:
        now = here.status(job.key)
        if now is None:
            raise NotFound(f"The job {job.key} was never submitted here.")
        if now.state.final:
            return now
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"The job {now.name!r} is still {now.state} after {timeout_s:g} s. {now.reason} It goes on; wait again."
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 2)


def queues() -> list[Queue]:
    """Return the queues of this place as they are now."""
    return scheduler().queues()
