"""Manifests: a pod that runs as an ordinary user on a read-only file system, with limits and without a token.

Pure: nothing here asks the cluster.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from genesis_workbench.compute.job import Resources
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection, KubernetesQueueSection

NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
OWNER, ACCOUNT = "genesis-workbench/owner", "genesis-workbench/account"
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
STOP_S = 30
"""Seconds that a pod has to end itself once it is asked to."""


def labels(component: str, owner: str, account: str = "") -> dict[str, str]:
    """Return the labels by which what we made is found again."""
    if not _LABEL.fullmatch(account):
        raise InvalidInput(
            f"{account!r} cannot be an account on Kubernetes: use at most 63 letters, digits, '.', '_' and '-'."
        )
    found = {NAME: "genesis-workbench", COMPONENT: component, OWNER: owner}
    return found | ({ACCOUNT: account} if account else {})


def selector(**wanted: str) -> str:
    """Return a label selector for what we made: ``component``, ``owner`` or both."""
    keys = {"component": COMPONENT, "owner": OWNER}
    return ",".join([f"{NAME}=genesis-workbench", *(f"{keys[key]}={value}" for key, value in wanted.items())])


def short_hash(*parts: str) -> str:
    """Return 24 hex digits that stand for `parts`: the same for the same."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def queue_named(site: ComputeSection, name: str) -> KubernetesQueueSection:
    """Return the machines that a queue's name stands for; the first queue, or all machines, where it is empty."""
    known = site.kubernetes.queues or [KubernetesQueueSection(name="all")]
    wanted = name or site.queue
    for each in known:
        if each.name == wanted or not wanted:
            return each
    raise InvalidInput(
        f"There is no queue {wanted!r}. This site has {', '.join(each.name for each in known)}."
    )


def requests(site: ComputeSection, resources: Resources) -> dict[str, str]:
    """Return what one pod asks for, which is also its limit."""
    processes = resources.processes_per_node
    found = {"cpu": str(resources.cpu_cores * processes), "memory": str(resources.memory_bytes)}
    if resources.gpus:
        found[site.kubernetes.gpu_resource] = str(resources.gpus * processes)
    return found


def image_of(site: ComputeSection, image: str = "") -> str:
    """Return the image that is asked for, or the site's.

    Raises
    ------
    InvalidInput
        If there is neither.
    """
    if not (image or site.image):
        raise InvalidInput(
            "No image is named. Name one in the job, or ask the operator to set compute.image to the image of people's "
            "servers, by digest."
        )
    return image or site.image


def pod(
    site: ComputeSection,
    queue: KubernetesQueueSection,
    resources: Resources,
    arguments: Sequence[str],
    *,
    image: str,
    walltime_s: int,
    mounts: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (),
    environment: Sequence[dict[str, Any]] = (),
    stop_s: int = STOP_S,
) -> dict[str, Any]:
    """Return the specification of a pod with one container.

    Parameters
    ----------
    site : ComputeSection
        Image, secrets, accounts and further volumes.
    queue : KubernetesQueueSection
        Machines that it may run on.
    resources : Resources
        Requests and limits alike.
    arguments : sequence of str
        Program and arguments; the image's own entry point stays before them.
    image : str
        Image; the site's where empty.
    walltime_s : int
        Seconds after which the machine ends it, counted from when it got there.
    mounts : sequence of (dict, dict)
        Volume and mount, each in Kubernetes' own form but for their common name.
    environment : sequence of dict
        In Kubernetes' own form.
    stop_s : int
        Seconds between SIGTERM and SIGKILL.

    Raises
    ------
    InvalidInput
        If neither a job nor the site names an image.
    """
    kubernetes, size, image = site.kubernetes, requests(site, resources), image_of(site, image)
    further = [
        (
            {"persistentVolumeClaim": {"claimName": each.claim, "readOnly": each.read_only}},
            {"mountPath": each.path, "readOnly": each.read_only}
            | ({"subPath": each.sub_path} if each.sub_path else {}),
        )
        for each in kubernetes.volumes
    ]
    everything = [({"emptyDir": {}}, {"mountPath": "/tmp"}), *mounts, *further]  # noqa: S108 - inside the pod
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": kubernetes.image_pull_policy,
        "args": list(arguments),
        # Read-only but for /tmp: libraries keep their caches below HOME.
        "env": [{"name": "HOME", "value": "/tmp"}, *environment],  # noqa: S108 - inside the pod
        "resources": {"requests": size, "limits": size},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": f"v{number}", **mount} for number, (_, mount) in enumerate(everything)],
    }
    found: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": stop_s,
        "activeDeadlineSeconds": walltime_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": kubernetes.user_id,
            "runAsGroup": kubernetes.group_id,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": f"v{number}", **volume} for number, (volume, _) in enumerate(everything)],
    }
    optional = {
        "serviceAccountName": kubernetes.service_account,
        "imagePullSecrets": [{"name": name} for name in kubernetes.image_pull_secrets],
        "nodeSelector": queue.node_selector,
        "tolerations": queue.tolerations,
        "priorityClassName": queue.priority_class,
    }
    return found | {key: value for key, value in optional.items() if value}
