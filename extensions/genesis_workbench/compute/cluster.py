"""`gw.cluster`: a Dask cluster on what this place has. On a laptop: processes that fit its memory."""

from __future__ import annotations

import html
from types import TracebackType
from typing import Any

from genesis_workbench.core.errors import InvalidInput

_SHARE_OF_MEMORY = 0.6
"""Part of the memory that is free now which all workers together may use; the rest is for other work."""


class GenesisCluster:
    """A Dask cluster with its client, which is the default of this notebook until :meth:`close`.

    Everything listens on 127.0.0.1. Use it in a ``with`` statement or close it; it ends with the process too.

    Attributes
    ----------
    client : distributed.Client
        What sends work there.
    cluster : distributed.LocalCluster
        Dask's own object.
    """

    def __init__(self, workers: int, threads: int, memory_bytes: int) -> None:
        from distributed import Client, LocalCluster

        self.workers, self.memory_bytes = workers, memory_bytes
        self.cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            memory_limit=memory_bytes,
            host="127.0.0.1",
            # Without an address each worker's status page opens on all interfaces.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        )
        self.client = Client(self.cluster)

    def close(self) -> None:
        """End workers and scheduler."""
        self.client.close()
        self.cluster.close()

    def __enter__(self) -> GenesisCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = str(self.cluster.status.name)
        return f"GenesisCluster({self.workers} workers on this machine, {self.memory_bytes / 2**30:.1f} GiB each, {state})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"


def cluster(
    workers: int = 2, *, threads: int = 1, memory_per_worker_bytes: int | None = None, **unknown: Any
) -> GenesisCluster:
    """Start a Dask cluster and make it the default of this notebook.

    Parameters
    ----------
    workers : int
        Worker processes.
    threads : int
        Threads of each.
    memory_per_worker_bytes : int, optional
        Memory at which a worker is paused and restarted; as much as fits the machine where not given.

    Raises
    ------
    InvalidInput
        If the machine cannot hold it.
    """
    import psutil

    if unknown:
        raise InvalidInput(
            f"A cluster knows no option {sorted(unknown)[0]!r}. Use workers, threads and memory_per_worker_bytes."
        )
    if workers < 1 or threads < 1:
        raise InvalidInput(
            f"A cluster needs at least one worker and one thread, not {workers} and {threads}."
        )
    free = int(psutil.virtual_memory().available * _SHARE_OF_MEMORY)
    each = memory_per_worker_bytes or free // workers
    if each * workers > free or each < 128 * 2**20:
        raise InvalidInput(
            f"{workers} workers of {each / 2**30:.2f} GiB do not fit the {free / 2**30:.1f} GiB that this machine can "
            "spare now. Ask for fewer workers or less memory for each."
        )
    return GenesisCluster(workers, threads, each)
