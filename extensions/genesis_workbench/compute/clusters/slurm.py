"""Workers as Slurm jobs, through dask-jobqueue, with what it leaves open mended."""

from __future__ import annotations

import asyncio
import math
import secrets
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from genesis_workbench.compute.clusters._keeper import Seen
from genesis_workbench.compute.job import Resources
from genesis_workbench.compute.slurm import Slurm, Waiting, directives
from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.site import ComputeSection

if TYPE_CHECKING:
    SpecCluster = Any  # Dask's types know less than what is there
    from distributed.security import Security

_ALIVE = ("PENDING", "CONFIGURING", "RUNNING")
_AT_ONCE = 4  # submissions under way at one time
_log = structlog.get_logger()


class WorkerJob(SLURMJob):
    """One worker as one job.

    dask-jobqueue rounds memory up to whole GiB, submits with the notebook's whole environment, tokens included, and
    loses sbatch's words. Here the script's directives are ours and it goes through :class:`Slurm`. Each job has a name that
    no other has: where Slurm's answer was lost, its name is `unwanted`, and whoever looks at the queue ends what has it.
    """

    def __init__(
        self,
        *arguments: Any,
        slurm: Slurm,
        header: Callable[[str], list[str]],
        unwanted: set[str],
        gate: asyncio.Semaphore,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._slurm, self._unwanted, self._gate = slurm, unwanted, gate
        self.job_name += f"-{secrets.token_hex(4)}"
        self.job_header = "\n".join(header(self.job_name))

    @property
    def worker_process_memory(self) -> str:
        """Memory limit of the worker, in bytes."""
        return f"{self.worker_memory // self.worker_processes}"

    async def start(self) -> None:
        """Submit the job; raises with sbatch's words where it is refused."""
        script = self.job_script()  # type: ignore[no-untyped-call]
        try:
            async with self._gate:
                self.job_id = await asyncio.to_thread(self._slurm.submit, script, self.job_name)
        except BaseException as error:
            if not isinstance(error, InvalidInput):  # Slurm may have it, and nobody knows its number
                self._unwanted.add(self.job_name)
            self.status = Status.failed
            raise
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """End the job, whether it waits or runs."""
        job, self.job_id = self.job_id, None
        if job:
            try:
                await asyncio.to_thread(self._slurm.cancel, job)
            except (
                RuntimeError
            ):  # the interpreter ends: threads can no longer be started, the job must still go
                self._slurm.cancel(job)
            except (Unavailable, DeadlineExceeded) as error:
                self._unwanted.add(self.job_name)
                _log.warning("a worker is ended when Slurm answers", job=job, error=error.message)
        await ProcessInterface.close(self)


class WorkerJobs(SLURMCluster):
    """dask-jobqueue's cluster over :class:`WorkerJob`."""

    job_cls: Any = WorkerJob


class SlurmWorkers:
    """Workers of one size on one partition.

    Parameters
    ----------
    site : ComputeSection
        Queue, account, interface and the ``[compute.slurm]`` table.
    workers, threads : int
        Most workers, and threads (cores) of each.
    memory_bytes : int or None
        Memory of each; the site's where None.
    walltime_s : float or None
        Walltime of each job; the site's where None. The cluster itself goes on: its workers are renewed.
    queue, account : str
        The site's where empty.

    Raises
    ------
    InvalidInput
        If no machine of the partition can hold a worker, with the nearest that would do.
    """

    def __init__(
        self,
        site: ComputeSection,
        workers: int,
        threads: int,
        memory_bytes: int | None,
        walltime_s: float | None = None,
        queue: str = "",
        account: str = "",
    ) -> None:
        if not site.interface:
            raise InvalidInput(
                "This site does not say on which network interface a Dask cluster listens. Ask the operator to set "
                "compute.interface, such as 'ib0', in the site file."
            )
        self._site, self._slurm = site, Slurm(site.slurm)
        self.poll_s = site.slurm.poll_s
        self.walltime_s = walltime_s or site.walltime_s
        self.memory_bytes, self._threads = memory_bytes or site.worker_memory_bytes, threads
        self._queue, self._account = queue or site.queue, account or site.account
        self._unwanted: set[str] = set()  # names of jobs that there should not be
        resources = Resources(cpu_cores=threads, memory_bytes=self.memory_bytes)
        self._slurm.check("A worker", self._queue, resources, self.walltime_s)

    def open(self, name: str, folder: Path, security: Security | None) -> SpecCluster:
        """Start the scheduler in this process, without workers."""
        site = self._site
        header = partial(
            directives,
            resources=Resources(cpu_cores=self._threads, memory_bytes=self.memory_bytes),
            walltime_s=math.ceil(self.walltime_s),
            queue=self._queue,
            account=self._account,
            output=str(folder / "worker-%j.log"),
            options=[*site.slurm.options, "--no-requeue"],  # the keeper replaces it, under another name
        )
        job_name = f"gw-{name}"[:60]
        header(job_name)  # refuses what sbatch would not understand before anything is begun
        return WorkerJobs(
            name=name,
            cores=self._threads,
            processes=1,
            # Slurm ends the job at its limit; Dask pauses and spills well before.
            memory=str(int(self.memory_bytes * 0.95)),
            interface=site.interface,
            python=site.python or sys.executable,
            security=security,
            protocol="tls://" if security else "tcp://",
            shared_temp_directory=str(folder),
            local_directory=site.scratch,
            job_script_prologue=list(site.slurm.prologue),
            worker_extra_args=["--dashboard-address", "127.0.0.1:0"],
            death_timeout=60,
            shebang="#!/bin/sh",
            scheduler_options={"interface": site.interface, "dashboard_address": "127.0.0.1:0"},
            job_name=job_name,
            slurm=self._slurm,
            header=header,
            unwanted=self._unwanted,
            gate=asyncio.Semaphore(_AT_ONCE),
        )

    def script(self, cluster: SpecCluster) -> str:
        """Return the batch script of one worker."""
        return str(cluster.job_script())

    async def look(self, cluster: SpecCluster, names: Iterable[Any]) -> dict[Any, Seen]:
        """Ask the queue for the jobs of these workers, and end those that nobody knows to be there."""
        jobs = await asyncio.to_thread(self._slurm.mine)
        strays = [
            number for number, job in jobs.items() if job.name in self._unwanted and job.state in _ALIVE
        ]
        await asyncio.to_thread(self._slurm.cancel, *strays)
        found: dict[Any, Seen] = {}
        for name in names:
            worker = cluster.workers.get(name)
            job = jobs.get(worker.job_id) if worker is not None else None
            if job is None or job.state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                continue
            if job.state == "PENDING":
                reason, place = await asyncio.to_thread(self._why, job)
                found[name] = Seen(running=False, reason=reason, position=place)
            else:
                started = datetime.fromisoformat(job.start).timestamp() if job.start else None
                found[name] = Seen(running=True, reason="It is starting.", started_s=started)
        return found

    def _why(self, job: Waiting) -> tuple[str, int | None]:
        return self._slurm.explain(job), self._slurm.position(job)
