"""What a server's pod says, in words for the person who waits for it: how far it is, why it can never start, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from genesis_workbench.core.nodes import Object, quantity

CONTAINER = "notebook"
"""What KubeSpawner calls the server's container."""
_NO_ROOM = "No machine has room for your server now. It starts as soon as one has."
_EVENTS = {
    "Pulling": "{node} fetches your server's image, which takes a while the first time.",
    "FailedMount": "Your home cannot be attached yet. ({message})",
    "FailedAttachVolume": "Your home is still attached to another machine. ({message})",
    "FailedCreatePodSandBox": "{node} cannot give your server a network yet. ({message})",
}
_NOT_MADE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_LOST_AFTER = timedelta(seconds=60)
_TELL = "Tell the operator, or choose another profile."


def stage(pod: Object | None, events: Sequence[Object]) -> tuple[int, str]:
    """Return how far a server is, in percent, and what its waiting page says.

    Parameters
    ----------
    pod : dict or None
        None where there is none yet.
    events : sequence of dict
        Of this pod, the newest last.
    """
    node = pod["spec"].get("nodeName", "") if pod else ""
    if pod is None or not node:
        return 10, _unplaced(pod) if pod else "Looking for a machine with room for you."
    if "running" in _state(pod):
        return 60, f"Your container runs on {node}; JupyterLab is starting in it."
    told = f"Preparing your container on {node}."
    for event in events:
        said = _EVENTS.get(str(event.get("reason", "")), "Preparing your container on {node}.")
        told = said.format(node=node, message=_line(event.get("message")))
    return 35, told


def hopeless(pod: Object, events: Sequence[Object]) -> str:
    """Return why a pod that has not begun never will, and what to do; empty where it may."""
    waiting = _state(pod).get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), _line(waiting.get("message"))
    image, node = pod["spec"]["containers"][0]["image"], pod["spec"].get("nodeName", "")
    if reason == "ErrImageNeverPull":
        return f"The machine {node} has no image {image}, and this site fetches none. {_TELL}"
    if reason == "InvalidImageName":
        return f"{image!r} is not the name of an image. {_TELL}"
    if reason in ("ImagePullBackOff", "ImageInspectError"):
        failed = [_line(each.get("message")) for each in events if each.get("reason") == "Failed"]
        why = next((each for each in reversed(failed) if image in each), message)
        return f"The machine {node} cannot fetch the image {image}: {why} {_TELL}"
    if reason in _NOT_MADE:
        return f"Your container cannot be made on {node}: {message or reason} {_TELL}"
    return ""


def ended(pod: Object) -> bool:
    """Tell whether the server has ended."""
    return "terminated" in _state(pod) or pod["status"].get("phase") in ("Succeeded", "Failed")


def lost(pod: Object) -> bool:
    """Tell whether the pod should long be gone: the cluster has taken it off a machine that does not answer."""
    until = pod["metadata"].get("deletionTimestamp")
    return bool(until) and datetime.now(UTC) - datetime.fromisoformat(until) > _LOST_AFTER


def ending(pod: Object, said: Sequence[str]) -> str:
    """Return why a server has ended.

    Parameters
    ----------
    pod : dict
        Of which :func:`ended` is true.
    said : sequence of str
        The server's last lines.
    """
    last = f" Its last words: {said[-1][:300]}" if said else ""
    status, done = pod["status"], _state(pod).get("terminated") or {}
    if done.get("reason") == "OOMKilled":
        limit = quantity(pod["spec"]["containers"][0]["resources"]["limits"]["memory"])
        return f"It was ended because it wanted more than its {limit / 2**30:.1f} GiB of memory.{last}"
    if not done or status.get("reason"):  # Evicted, NodeShutdown, OutOfcpu
        why = _line(status.get("message")) or str(status.get("reason") or "it does not say why.")
        return f"The cluster took it off its machine: {why}{last}"
    return f"It ended with status {done.get('exitCode')}.{last}"


def _unplaced(pod: Object) -> str:
    for each in pod["status"].get("conditions") or []:
        if each["type"] == "PodScheduled" and each.get("reason") == "Unschedulable":
            message = _line(each.get("message"))
            if "PersistentVolumeClaim" in message or "persistentvolumeclaim" in message:
                return f"Your home is not there yet. ({message})"
            return f"{_NO_ROOM} ({message})"
    return "Looking for a machine with room for you."


def _state(pod: Object) -> Object:
    for each in pod["status"].get("containerStatuses") or []:
        if each["name"] == CONTAINER:
            return dict(each["state"])
    return {}


def _line(text: Any) -> str:
    """Return a message of the cluster as one sentence of bearable length."""
    words = " ".join(str(text or "").split())[:400]
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."
