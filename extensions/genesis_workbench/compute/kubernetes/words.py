"""Why a pod waits and how it ended, in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from genesis_workbench.compute.kubernetes.api import Object
from genesis_workbench.core.nodes import Node, quantity

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
_SCHEDULER = re.compile(r"(?P<count>\d+) (?P<what>[^,.]+)")
_NOT_MADE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_TAKEN = ("Evicted", "Preempting", "NodeLost", "NodeAffinity", "NodeShutdown", "Shutdown", "Terminated")
_MOUNT = ("FailedMount", "FailedAttachVolume")

_WHY = {
    "node(s) had taint": "are kept for other work",
    "node(s) had untolerated taint": "are kept for other work",
    "node(s) didn't match node selector": "are of another kind",
    "node(s) didn't match Pod's node affinity": "are of another kind",
    "node(s) were unschedulable": "take no new work now",
    "node(s) had volume node affinity conflict": "cannot reach its volume",
}


@dataclass(frozen=True)
class End:
    """How a pod ended without its own word.

    Attributes
    ----------
    reason : str
        In plain words.
    exit_code : int or None
        Of its process.
    """

    reason: str
    exit_code: int | None = None


def waiting(
    pod: Object, nodes: list[Node] | None, *, partly: bool, gpu: str, events: Callable[[str], list[Object]]
) -> str:
    """Say why a pod does not run yet.

    Parameters
    ----------
    pod : dict
        In the phase Pending.
    nodes : list of Node or None
        Machines of its queue, where they may be seen.
    partly : bool
        Whether others may use what looks free.
    gpu : str
        What the site calls an accelerator.
    events : callable
        Returns the events of an object by its uid; asked only where the pod itself does not say enough.
    """
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        if scheduled.get("reason") == "Unschedulable":
            return _unschedulable(pod, nodes, str(scheduled.get("message", "")), partly=partly, gpu=gpu)
        return f"It waits: {_short(scheduled.get('message') or scheduled.get('reason', ''))}"
    if not pod["spec"].get("nodeName"):
        return "It has just been queued."
    return _on_its_machine(pod, events)


def _on_its_machine(pod: Object, events: Callable[[str], list[Object]]) -> str:
    state = _container(pod).get("state", {}).get("waiting", {})
    why, words = str(state.get("reason", "")), str(state.get("message", ""))
    if why in _IMAGE:
        return _image(pod, why, words)
    if why in _NOT_MADE:
        return f"Its container cannot be made: {_short(words or why)} Cancel it and tell the operators."
    failed = [each for each in events(pod["metadata"]["uid"]) if each.get("reason") in _MOUNT]
    if failed:
        return f"It waits for its volume: {_short(failed[-1].get('message', ''))}"
    return "Its machine fetches the image and starts it."


def ended(pod: Object) -> End:
    """Say how a pod ended that left no outcome of its own."""
    status, container = pod["status"], _container(pod)
    terminated = container.get("state", {}).get("terminated") or {}
    code, reason = terminated.get("exitCode"), terminated.get("reason", "")
    disrupted, words = _condition(pod, "DisruptionTarget"), _short(terminated.get("message", ""))
    if status.get("reason") == "DeadlineExceeded":
        told = _deadline(container)
    elif reason == "OOMKilled":
        limit = quantity(pod["spec"]["containers"][0]["resources"]["limits"]["memory"])
        told = f"It used more memory than the {limit / 2**30:.2f} GiB that it may. Ask for more."
    elif status.get("reason") in _TAKEN or disrupted:
        why = _short(status.get("message") or disrupted.get("message") or status.get("reason", ""))
        told = f"Kubernetes took it off its machine: {why} Whether the work was done is not known."
    elif reason in ("ContainerCannotRun", "StartError"):
        told = f"Its image cannot run it: {words}"
    elif code:
        told = f"It ended with exit status {code}. {words}".strip()
    else:
        told = "It ended and left no outcome; whether the work was done is not known."
    return End(told, code)


def _deadline(container: Object) -> str:
    state = container.get("state", {})
    if "terminated" in state or "running" in state:
        return "It ran longer than its walltime. Ask for a longer one."
    if state.get("waiting", {}).get("reason") in _IMAGE:
        return f"It never started: the image {container.get('image')!r} could not be fetched."
    return "It never started: its machine could not start it in time."


def not_made(messages: list[str], namespace: str) -> str:
    """Say why no pod was made of a job, from Kubernetes' own words; the newest last."""
    if not messages:
        return "It has just been queued."
    words = messages[-1].partition("is forbidden: ")[2] or messages[-1]
    if "exceeded quota" in words:
        return f"It waits: the quota of the namespace {namespace!r} is used up ({_quota(words)}). It starts when others have ended."
    return (
        f"It cannot start: Kubernetes refuses its pod: {_short(words)} Cancel it and ask for what is allowed."
    )


def _unschedulable(pod: Object, nodes: list[Node] | None, message: str, *, partly: bool, gpu: str) -> str:
    there = [node for node in nodes or [] if node.ready]
    if nodes and not there:
        return "It waits: none of the machines of its queue takes new work now."
    asked = pod["spec"]["containers"][0]["resources"]["requests"]
    wanted = (
        ("cores", quantity(asked.get("cpu")), [node.free_cores for node in there]),
        (
            "GiB of memory",
            quantity(asked.get("memory")) / 2**30,
            [node.free_memory_bytes / 2**30 for node in there],
        ),
        ("accelerators", quantity(asked.get(gpu)), [float(node.free_gpus) for node in there]),
    )
    for unit, need, free in wanted:
        if there and need > max(free):
            hidden = " Others may use more: only pods of this namespace can be seen." if partly else ""
            return f"It waits: no machine has {_number(need)} free {unit}; the largest has {_number(max(free))}.{hidden}"
    return _of_scheduler(message)


def _of_scheduler(message: str) -> str:
    """Put the scheduler's own sentence ("0/3 nodes are available: 2 Insufficient cpu, ...") into plain words."""
    told = message.partition(":")[2].partition("preemption:")[0]
    parts = []
    for match in _SCHEDULER.finditer(told):
        count, what = match["count"], match["what"].strip()
        if what.startswith("Insufficient "):
            parts.append(f"{count} have too little free {what.removeprefix('Insufficient ')}")
        else:
            plain = next((words for start, words in _WHY.items() if what.startswith(start)), f"say {what!r}")
            parts.append(f"{count} {plain}")
    if not parts:
        return f"It waits: {_short(message)}"
    return f"It waits for a machine: of those there are, {', '.join(parts)}."


def _image(pod: Object, why: str, words: str) -> str:
    image = pod["spec"]["containers"][0]["image"]
    if why == "InvalidImageName":
        return f"It can never start: {image!r} is not the name of an image. Cancel it."
    if why == "ErrImageNeverPull":
        return f"It can never start: the image {image!r} is not on its machine, and this site fetches none. Cancel it."
    return (
        f"It waits: the image {image!r} cannot be fetched. {_short(words)} It is tried again; cancel it if the name is wrong."
    ).replace("  ", " ")


def _quota(words: str) -> str:
    found = dict(
        part.partition(": ")[::2]
        for part in re.findall(r"(?:requested|used|limited): [^ ]+?(?=, \w+:|$)", words)
    )
    if {"requested", "used", "limited"} <= found.keys():
        return f"asked for {found['requested']}, used {found['used']} of {found['limited']}"
    return _short(words)


def started_s(pod: Object) -> float | None:
    """Return when a pod got to its machine, seconds since the epoch."""
    text = pod["status"].get("startTime")
    return datetime.fromisoformat(text).timestamp() if text else None


def finished_s(pod: Object) -> float:
    """Return when a pod's process ended, seconds since the epoch; 0 where it has not."""
    text = _container(pod).get("state", {}).get("terminated", {}).get("finishedAt")
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _condition(pod: Object, kind: str) -> dict[str, Any]:
    for each in pod["status"].get("conditions", []):
        if each["type"] == kind:
            return dict(each)
    return {}


def _container(pod: Object) -> Object:
    return dict(next(iter(pod["status"].get("containerStatuses", [])), {}))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _short(words: str) -> str:
    lines = str(words).strip().splitlines()
    text = (lines[-1] if lines else "")[:300].strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
