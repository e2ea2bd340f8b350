"""Where work runs: jobs on a scheduler, and Dask clusters on the same.

A job is a command, JSON arguments and what it needs; what runs is never a pickled Python object. Nothing about
datasets, models or experiments may be known here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.compute.dask_cluster import GenesisCluster, cluster, cluster_names
    from genesis_workbench.compute.iri.table import facilities
    from genesis_workbench.compute.job import Job, JobSpec, Queue, Resources
    from genesis_workbench.compute.submission import queues, scheduler, submit, wait

_WHERE = {
    "GenesisCluster": "dask_cluster",
    "cluster": "dask_cluster",
    "cluster_names": "dask_cluster",
    "Job": "job",
    "JobSpec": "job",
    "Queue": "job",
    "Resources": "job",
    "facilities": "iri.table",
    "queues": "submission",
    "scheduler": "submission",
    "submit": "submission",
    "wait": "submission",
}

__all__ = [
    "GenesisCluster",
    "Job",
    "JobSpec",
    "Queue",
    "Resources",
    "cluster",
    "cluster_names",
    "facilities",
    "queues",
    "scheduler",
    "submit",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = found
    return found
