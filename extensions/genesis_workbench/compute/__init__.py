"""Where work runs: jobs on a scheduler, and Dask clusters on the same.

A job is a command, JSON arguments and what it needs; what runs is never a pickled Python object. Nothing about
datasets, models or experiments may be known here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.compute.cluster import GenesisCluster, cluster, cluster_names
    from genesis_workbench.compute.iri.table import facilities
    from genesis_workbench.compute.job import Job, JobSpec, Queue, Resources
    from genesis_workbench.compute.submission import queues, scheduler, submit, wait

_WHERE = {
    "GenesisCluster": "cluster",
    "cluster": "cluster",
    "cluster_names": "cluster",
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
    module = importlib.import_module(f"{__name__}.{_WHERE[name]}")
    # All of them at once: the import has bound `cluster` to the module of that name, and it is the function.
    globals().update({each: getattr(module, each) for each, where in _WHERE.items() if where == _WHERE[name]})
    return globals()[name]
