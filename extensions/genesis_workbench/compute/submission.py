"""`gw.submit`: run a job on the scheduler that this place has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis_workbench.core import plugins
from genesis_workbench.core.service import local_state
from genesis_workbench.core.state import State

if TYPE_CHECKING:
    from genesis_workbench.compute.job import Job, JobSpec
    from genesis_workbench.compute.schedulers._base import Scheduler


def scheduler() -> Scheduler:
    """Return the scheduler of this place: on a laptop, processes of this machine."""
    made: Scheduler = plugins.load("schedulers", "local")(State(local_state()).jobs)
    return made


def submit(spec: JobSpec) -> Job:
    """Submit `spec`; ask :func:`scheduler` for its state later. The same key runs once."""
    return scheduler().submit(spec)
