"""What the machines of a cluster have and what of it is free: queues, and refusals before anything is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from genesis_workbench.compute.job import Queue, Resources
from genesis_workbench.compute.kubernetes.api import Kubernetes, Object
from genesis_workbench.compute.kubernetes.pods import NAME, quantity, queue_named
from genesis_workbench.compute.slurm import refuse_unsatisfiable
from genesis_workbench.core.errors import InvalidInput, PermissionRefused
from genesis_workbench.core.site import ComputeSection, KubernetesQueueSection


@dataclass(frozen=True)
class Node:
    """One machine.

    Attributes
    ----------
    cores, free_cores : float
        What pods may have, and what no pod has asked for.
    memory_bytes, free_memory_bytes, gpus, free_gpus : int
        Likewise.
    ready : bool
        Whether new pods may come.
    """

    name: str
    labels: dict[str, str]
    taints: tuple[dict[str, str], ...]
    cores: float
    free_cores: float
    memory_bytes: int
    free_memory_bytes: int
    gpus: int
    free_gpus: int
    ready: bool


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
        wanted = queue.node_selector.items()
        return [
            node
            for node in nodes
            if wanted <= node.labels.items() and _tolerated(node.taints, queue.tolerations)
        ]

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
        by_node: dict[str, list[Object]] = {}
        for pod in pods:
            if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                by_node.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
        gpu = self._site.kubernetes.gpu_resource
        return [_node(node, by_node.get(node["metadata"]["name"], []), gpu) for node in nodes]

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


def _node(node: Object, pods: Iterable[Object], gpu: str) -> Node:
    spec, there = node["spec"], node["status"].get("allocatable", {})
    used = {name: sum(_asked(pod, name) for pod in pods) for name in ("cpu", "memory", gpu)}
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
    cores, memory, gpus = (quantity(there.get(name)) for name in ("cpu", "memory", gpu))
    return Node(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels", {}),
        taints=tuple(spec.get("taints", [])),
        cores=cores,
        free_cores=max(0.0, cores - used["cpu"]),
        memory_bytes=int(memory),
        free_memory_bytes=max(0, int(memory - used["memory"])),
        gpus=int(gpus),
        free_gpus=max(0, int(gpus - used[gpu])),
        ready=conditions.get("Ready") == "True" and not spec.get("unschedulable"),
    )


def _asked(pod: Object, name: str) -> float:
    """Sum of what its containers ask for; of those that run first, the largest counts."""

    def of(containers: list[Object], together: Callable[[list[float]], float]) -> float:
        return together(
            [quantity(each.get("resources", {}).get("requests", {}).get(name)) for each in containers]
        )

    spec = pod["spec"]
    return max(
        of(spec["containers"], sum), of(spec.get("initContainers", []), lambda found: max(found, default=0))
    )


def _tolerated(taints: Iterable[dict[str, str]], tolerations: list[dict[str, str]]) -> bool:
    """Whether pods with these tolerations may come to a machine with these taints.

    Taints that come and go by themselves (a machine that is not ready) do not count for what could ever run.
    """
    for taint in taints:
        if taint["key"].startswith("node.kubernetes.io/") or taint.get("effect") == "PreferNoSchedule":
            continue
        if not any(_accepts(each, taint) for each in tolerations):
            return False
    return True


def _accepts(toleration: dict[str, Any], taint: dict[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
