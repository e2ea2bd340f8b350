"""`gw.submit`: run a job on the scheduler that this place has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import DeadlineExceeded, NotFound, Unavailable
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import this_site
from genesis_workbench.core.state import State

if TYPE_CHECKING:
    from genesis_workbench.compute.job import Job, JobSpec, Queue
    from genesis_workbench.compute.schedulers._base import Scheduler
    from genesis_workbench.core.site import ComputeSection


def scheduler(facility: str = "") -> Scheduler:
    """Return the scheduler of this place, as its site file names it; on a laptop, processes of this machine.

    Parameters
    ----------
    facility : str
        Name of one of the site's facilities, for jobs there.

    Raises
    ------
    NotFound
        If the site has no such facility.
    """
    site, jobs = this_site().compute, State(local_state()).jobs
    if facility:
        chosen = _facility(site, facility)
        if chosen is not site:  # jobs of another place are kept in a folder of their own
            site, jobs = chosen, jobs.with_name(f"jobs-{check_slug(facility.lower(), 'facility')}")
    made: Scheduler = plugins.load("schedulers", site.scheduler)(jobs, site)
    return made


def _facility(site: ComputeSection, name: str) -> ComputeSection:
    """Return what the site says of compute, with one of its facilities as the place for jobs."""
    if name == site.iri.name:
        return site if site.scheduler == "iri" else site.model_copy(update={"scheduler": "iri"})
    for each in site.facilities:
        if each.name == name:
            others = {"account": "", "queue": "", "image": ""}  # the site's are not valid there
            return site.model_copy(update={"scheduler": "iri", "iri": each, **others})
    known = sorted(each.name for each in (site.iri, *site.facilities) if each.name)
    raise NotFound(
        f"This site has no facility {name!r}. It has {', '.join(known) or 'none with a name'}; see "
        "gw.compute.facilities()."
    )


def submit(spec: JobSpec, facility: str = "") -> Job:
    """Submit `spec`; ask :func:`scheduler` for its state later, or :func:`wait`. The same key runs once.

    Parameters
    ----------
    spec : JobSpec
        What to run.
    facility : str
        Name of one of the site's facilities; where the site's jobs go if left out.
    """
    return scheduler(facility).submit(spec)


_AWAY_S = 2.0
T = TypeVar("T")


def patiently(look: Callable[[], T], deadline: float) -> T:
    """Return what a look at a job gives, asked again while its scheduler is away: that says nothing of the job, which goes on.

    Parameters
    ----------
    deadline : float
        Until when, as :func:`time.monotonic` counts.
    """
    while True:
        try:
            return look()
        except (Unavailable, DeadlineExceeded) as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"{error.message} It goes on; wait again.", detail=error.detail) from error
            time.sleep(_AWAY_S)


def wait(job: Job, timeout_s: float = 3600, facility: str = "") -> Job:
    """Wait until a job has ended, and return it as it ended.

    Raises
    ------
    DeadlineExceeded
        If it has not ended within `timeout_s` seconds; it goes on.
    Unavailable
        If its scheduler does not answer, and has not for the rest of that time.
    """
    here, deadline, pause_s = scheduler(facility), time.monotonic() + timeout_s, 0.05
    while True:
        now = patiently(lambda: here.status(job.key), deadline)
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


def queues(facility: str = "") -> list[Queue]:
    """Return the queues of this place, or of one of its facilities, as they are now."""
    return scheduler(facility).queues()
