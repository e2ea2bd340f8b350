"""Workers as processes of this machine, which fit its memory together with other work."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.compute.clusters import _quiet
from genesis_workbench.compute.clusters._keeper import Seen
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection

if TYPE_CHECKING:
    SpecCluster = Any  # Dask's types know less than what is there
    from distributed.security import Security

_SHARE_OF_MEMORY = 0.6
"""Part of the memory that is free now which all workers together may use; the rest is for other work."""


class LocalWorkers:
    """Dask's own ``LocalCluster``, on loopback only.

    Parameters
    ----------
    site : ComputeSection
        Nothing in it concerns this machine but its limits.
    workers, threads : int
        Most worker processes, and threads of each.
    memory_bytes : int or None
        Memory at which a worker is paused and restarted; as much as fits where None.

    Raises
    ------
    InvalidInput
        If the machine cannot hold them.
    """

    walltime_s: float | None = None
    poll_s = 1.0

    def __init__(
        self, site: ComputeSection, workers: int, threads: int, memory_bytes: int | None, **unknown: Any
    ) -> None:
        import psutil

        for name, value in unknown.items():
            # The same notebook runs on a queue, where they matter: a walltime without end keeps its promise.
            if name not in ("walltime_s", "queue", "account") or (name != "walltime_s" and value):
                raise InvalidInput(
                    f"Workers of this machine have no {name}. Leave it out, or run the notebook on a site with a queue."
                )
        free = int(psutil.virtual_memory().available * _SHARE_OF_MEMORY)
        each = memory_bytes or free // max(workers, 1)
        if each * workers > free or (each < 128 * 2**20 and workers):
            raise InvalidInput(
                f"{workers} workers of {each / 2**30:.2f} GiB do not fit the {free / 2**30:.1f} GiB that this machine "
                "can spare now. Ask for fewer workers or less memory for each."
            )
        self.memory_bytes, self._threads = each, threads

    def open(self, name: str, folder: Path, security: Security | None) -> SpecCluster:
        """Start the scheduler, without workers."""
        from distributed import LocalCluster

        return LocalCluster(
            name=name,
            n_workers=0,
            threads_per_worker=self._threads,
            processes=True,
            memory_limit=self.memory_bytes,
            host="127.0.0.1",
            protocol="tls://" if security else "tcp://",
            security=security,
            silence_logs=logging.ERROR,
            preload=[_quiet.__name__],
            # Without an address each worker's status page opens on all interfaces.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        )

    def script(self, cluster: SpecCluster) -> str:
        """Return how one worker is started."""
        return f"# {self._threads} thread(s), {self.memory_bytes} bytes\npython -m distributed.cli.dask_worker {cluster.scheduler_address}\n"

    async def look(self, cluster: SpecCluster, names: Iterable[Any]) -> dict[Any, Seen]:
        """Return every worker whose nanny lives: nannies start their workers again themselves."""
        from distributed.core import Status

        living = (Status.running, Status.created, Status.starting, Status.init)
        return {
            name: Seen(running=True)
            for name in names
            if name in cluster.workers and cluster.workers[name].status in living
        }
