"""What the machines of a cluster have and what of it is free: queues, and refusals before anything is made."""

from __future__ import annotations

import time

from genesis_workbench.compute.job import Queue, Resources
from genesis_workbench.compute.kubernetes.api import Kubernetes, Object
from genesis_workbench.compute.kubernetes.pods import NAME, queue_named
from genesis_workbench.compute.slurm import refuse_unsatisfiable
from genesis_workbench.core.errors import InvalidInput, PermissionRefused
from genesis_workbench.core.nodes import Node, counted, of_queue, quantity
from genesis_workbench.core.site import ComputeSection, KubernetesQueueSection


class Nodes:
    """The machines of a cluster, kept for a moment.

    Parameters
    ----------
    kubernetes : Kubernetes
        Where to ask.
    site : ComputeSection
        Queues and what an accelerator is called.

    Attributes
    ----------
    partly : bool
        Whether only pods of the own namespace could be counted: others may use what looks free.
    """

    def __init__(self, kubernetes: Kubernetes, site: ComputeSection) -> None:
        self._kubernetes, self._site = kubernetes, site
        self._kept: tuple[float, list[Node] | None] | None = None
        self.partly = False

    def all(self) -> list[Node] | None:
        """Return all machines, or None where this account may not see them."""
        if self._kept is None or time.monotonic() - self._kept[0] > self._site.kubernetes.poll_s:
            self._kept = (time.monotonic(), self._look())
        return self._kept[1]

    def of(self, queue: KubernetesQueueSection) -> list[Node] | None:
        """Return the machines of a queue, or None where this account may not see them."""
        nodes = self.all()
        if nodes is None:
            return None
        return of_queue(nodes, queue)

    def queues(self) -> list[Queue]:
        """Return the queues as they are now."""
        known = self._site.kubernetes.queues or [KubernetesQueueSection(name="all")]
        default = queue_named(self._site, "").name
        waiting = self._kubernetes.list("pods", f"{NAME}=genesis-workbench", "status.phase=Pending")
        return [self._queue(each, each.name == default, waiting) for each in known]

    def check(self, what: str, queue: str, resources: Resources, walltime_s: float) -> None:
        """Refuse what no machine of a queue could ever run, with the nearest that would do.

        Where this account may not see the machines nothing is refused: the pod waits, and says why.

        Raises
        ------
        InvalidInput
            What was asked for, what there is, and what to ask for instead.
        """
        chosen = queue_named(self._site, queue)
        if self.all() is not None:
            refuse_unsatisfiable(what, self.queues(), chosen.name, resources, walltime_s)
        self._check_quota(what, resources)

    def _queue(self, queue: KubernetesQueueSection, default: bool, waiting: list[Object]) -> Queue:
        nodes = self.of(queue) or []
        usable = [node for node in nodes if node.ready]
        pods = [pod for pod in waiting if pod["spec"].get("nodeSelector", {}) == queue.node_selector]
        return Queue(
            name=queue.name,
            default=default,
            max_walltime_s=queue.max_walltime_s,
            nodes=len(nodes),
            cores_per_node=max((int(node.cores) for node in nodes), default=0),
            memory_per_node_bytes=max((node.memory_bytes for node in nodes), default=0),
            gpus_per_node=max((node.gpus for node in nodes), default=0),
            free_cores=sum(int(node.free_cores) for node in usable),
            waiting_jobs=len(pods),
        )

    def _look(self) -> list[Node] | None:
        try:
            nodes = self._kubernetes.list("nodes")
        except PermissionRefused:
            return None
        try:
            pods = self._kubernetes.list("pods", everywhere=True)
        except PermissionRefused:
            self.partly, pods = True, self._kubernetes.list("pods")
        return counted(nodes, pods, self._site.kubernetes.gpu_resource)

    def _check_quota(self, what: str, resources: Resources) -> None:
        asked = {
            "cpu": float(resources.cpu_cores * resources.processes_per_node),
            "memory": float(resources.memory_bytes),
        }
        try:
            quotas = self._kubernetes.list("resourcequotas")
        except PermissionRefused:
            return
        for quota in quotas:
            for name, limit in quota.get("status", {}).get("hard", {}).items():
                kind = name.removeprefix("requests.").removeprefix("limits.")
                if kind in asked and asked[kind] > quantity(limit):
                    raise InvalidInput(
                        f"{what} can never run: the quota {quota['metadata']['name']!r} of the namespace "
                        f"{self._kubernetes.namespace!r} allows {limit} of {kind} altogether and you asked for "
                        f"{asked[kind]:g}. Ask for at most {quantity(limit):g}."
                    )
