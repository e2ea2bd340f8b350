"""What a hub asks a Kubernetes cluster beside KubeSpawner: which machines there are, what is free on them, and who waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException, CoreV1Api

from genesis_hub.availability import Free, Machine, Places
from genesis_workbench.core.errors import GenesisError, InvalidInput, PermissionRefused, Unavailable
from genesis_workbench.core.nodes import Node, Object, counted, of_queue
from genesis_workbench.core.site import KubernetesQueueSection, ProfileSection

_PAGE, _ANSWER_S = 500, 20
EVERYWHERE = KubernetesQueueSection(name="")
"""The queue of a site that names none: every machine that takes any pod."""
SILENT = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
"""What is raised where the cluster's API does not answer."""


class Cluster:
    """The machines of a cluster and the pods on them, as they are now.

    Parameters
    ----------
    api : CoreV1Api
        The hub's client.
    accelerator : str
        What the cluster calls an accelerator.
    """

    def __init__(self, api: CoreV1Api, accelerator: str) -> None:
        self._api, self._accelerator = api, accelerator

    async def nodes(self) -> list[Node]:
        """Return the machines as if they were empty: what runs on them is not asked for.

        Raises
        ------
        PermissionRefused
            If the hub may not see machines.
        Unavailable
            If the cluster does not answer.
        """
        return counted(await self._list("nodes"), [], self._accelerator)

    async def free(self, queues: Sequence[KubernetesQueueSection], default: str) -> Places:
        """Return what is free by queue; the default has the empty name, too.

        Raises
        ------
        PermissionRefused
            If the hub may not see machines, or the pods of all namespaces: what is free would be guessed.
        Unavailable
            If the cluster does not answer.
        """
        nodes, pods = await asyncio.gather(self._list("nodes"), self._list("pods"))
        there = counted(nodes, pods, self._accelerator)
        waiting = [pod["spec"].get("nodeSelector") or {} for pod in pods if not pod["spec"].get("nodeName")]
        found = {}
        for queue in queues or [EVERYWHERE]:
            its = of_queue(there, queue)
            machines = [
                Machine(node.free_cores, node.free_memory_bytes, node.free_gpus) for node in its if node.ready
            ]
            waits = sum(each == queue.node_selector for each in waiting)
            found[queue.name] = Free.on(machines, waits, _empty(its))
        return {"": found[default], **found}

    async def _list(self, kind: str) -> list[Object]:
        listing: Callable[..., Awaitable[Any]] = self._api.list_node
        options: dict[str, str] = {}
        if kind == "pods":
            listing = self._api.list_pod_for_all_namespaces
            options = {"field_selector": "status.phase!=Succeeded,status.phase!=Failed"}
        found: list[Object] = []
        while True:
            page = await _page(listing, limit=_PAGE, **options)
            found += page["items"]
            if not (further := page["metadata"].get("continue")):
                return found
            options["_continue"] = further


async def _page(listing: Callable[..., Awaitable[Any]], **options: Any) -> Object:
    """Ask once, for JSON: the client's models of a cluster's pods take seconds to make."""
    try:
        answer = await listing(_preload_content=False, _request_timeout=_ANSWER_S, **options)
        content = json.loads(await answer.read())
    except ApiException as error:
        raise refusal(error) from error
    except SILENT as error:
        raise silent(error) from error
    if answer.status >= 300:
        raise refusal(ApiException(status=answer.status, reason=str(content.get("message", ""))))
    found: Object = content
    return found


def refuse_what_never_fits(profile: ProfileSection, nodes: Sequence[Node]) -> None:
    """Refuse a server that no machine of its queue could hold were it empty.

    Parameters
    ----------
    profile : ProfileSection
        With its size.
    nodes : sequence of Node
        Of its queue. Where there are none, nothing is refused: a cluster that grows makes one.

    Raises
    ------
    InvalidInput
        What was asked for, and the nearest that there is.
    """
    whole = _empty(nodes)
    if not whole or any(each.holds(profile) for each in whole):
        return
    largest = max(whole, key=lambda each: (each.memory_bytes, each.cpu_cores))
    raise InvalidInput(
        f"No machine can ever hold this server: it asks for {_size(profile.cpu_cores, profile.memory_bytes, profile.accelerator_count)}, "
        f"and the largest machine has {_size(int(largest.cpu_cores), largest.memory_bytes, largest.accelerators)} for servers. "
        "Choose a smaller one."
    )


def _empty(nodes: Sequence[Node]) -> list[Machine]:
    return [Machine(node.cores, node.memory_bytes, node.gpus) for node in nodes]


def refusal(error: ApiException) -> GenesisError:
    """Return what the cluster's refusal means to a person, with its own words as the detail."""
    said = _message(error)
    if "exceeded quota" in said:
        return Unavailable(
            "The servers of this site have used up what the cluster gives them. Stop a server that you no longer need, or try "
            "again when others have ended.",
            detail=said,
        )
    if error.status in (401, 403) and ("cannot" in said or not said):
        return PermissionRefused(
            f"The cluster does not let the hub do this: {said or error.status}. Tell the operator: docs/how-to/kubernetes.md "
            "lists the rights that it needs.",
            detail=said,
        )
    if error.status in (429, 500, 502, 503, 504):
        return Unavailable("The cluster cannot answer just now. Try again in a minute.", detail=said)
    return InvalidInput(
        f"The cluster refuses your server: {said or error.status}. Tell the operator.", detail=said
    )


def silent(error: BaseException) -> Unavailable:
    """Return what it means that the cluster's API does not answer."""
    return Unavailable(
        "The cluster does not answer just now. Your files are kept. Try again in a minute, and tell the operator if it stays so.",
        detail=repr(error),
    )


def _message(error: ApiException) -> str:
    """Return the sentence of an answer: it is in a body of JSON, or it is the status line."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or "")


def _size(cores: float, memory_bytes: int, accelerators: int) -> str:
    also = f" and {accelerators} accelerator{'' if accelerators == 1 else 's'}" if accelerators else ""
    return f"{cores:g} core{'' if cores == 1 else 's'}, {memory_bytes / 2**30:,.1f} GiB of memory{also}"
