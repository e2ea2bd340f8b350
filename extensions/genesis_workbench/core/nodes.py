"""The machines of a Kubernetes cluster and what of them no pod has asked for: arithmetic over what its API answers.

Nothing here asks the cluster: notebooks (compute/kubernetes) and the hub (spawners/kubernetes.py) each do so in their own way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from genesis_workbench.core.site import KubernetesQueueSection

Object = dict[str, Any]
"""A Kubernetes object, as JSON."""
_SUFFIXES: dict[str, Decimal | int] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": 10**3, "M": 10**6, "G": 10**9,
    "T": 10**12, "P": 10**15, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


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


def counted(nodes: Iterable[Object], pods: Iterable[Object], accelerator: str) -> list[Node]:
    """Return the machines, with what the pods on them have asked for taken off.

    Parameters
    ----------
    nodes, pods : iterable of dict
        As the API lists them.
    accelerator : str
        What the cluster calls an accelerator, such as ``nvidia.com/gpu``.
    """
    by_node: dict[str, list[Object]] = {}
    for pod in pods:
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            by_node.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
    return [_node(node, by_node.get(node["metadata"]["name"], []), accelerator) for node in nodes]


def of_queue(nodes: Iterable[Node], queue: KubernetesQueueSection) -> list[Node]:
    """Return the machines of a queue: those with its labels, whose taints its pods accept."""
    wanted = queue.node_selector.items()
    return [
        node for node in nodes if wanted <= node.labels.items() and _tolerated(node.taints, queue.tolerations)
    ]


def quantity(text: str | int | float | None) -> float:
    """Read a number as Kubernetes writes it; 0 where it cannot be read.

    Examples
    --------
    >>> quantity("500m"), quantity("2Gi"), quantity("1e3"), quantity(None)
    (0.5, 2147483648.0, 1000.0, 0.0)
    """
    match = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})", str(text or "0"))
    if not match or match[2] not in _SUFFIXES:
        return 0.0
    try:
        return float(Decimal(match[1]) * _SUFFIXES[match[2]])
    except InvalidOperation:
        return 0.0


def _node(node: Object, pods: Sequence[Object], gpu: str) -> Node:
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
