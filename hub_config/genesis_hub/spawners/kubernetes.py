"""Servers as pods, by KubeSpawner: the same profiles, the same image, the same home and the same words as everywhere.

What confines a container on one machine confines the pod: an ordinary user, a read-only system, no capabilities, no way to gain
any, no token of the cluster, limits that are always set. A network policy of the site keeps servers apart; see
docs/how-to/kubernetes.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from kubespawner import KubeSpawner
from traitlets import Any as AnyTrait
from traitlets import List, Unicode

from genesis_hub.names import safe_name
from genesis_hub.spawners._base import DASHBOARD_VARIABLE, WorkbenchSpawner, refused
from genesis_hub.spawners._confinement import USER, pinned
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import KubernetesQueueSection, KubernetesServersSection, ProfileSection

_HOME, _PORT = "/home/user", 8888
_SCRATCH = "/tmp"  # noqa: S108 - of the pod alone
_WORDS = {
    "Scheduled": "A machine is yours.",
    "Pulling": "The machine fetches your server's image, which takes a while the first time.",
    "Pulled": "The image is there.",
    "Created": "Your container is made.",
    "Started": "Your container runs; JupyterLab is starting in it.",
    "FailedScheduling": "No machine has room for your server now. It starts as soon as one has.",
    "FailedMount": "Your home cannot be attached yet.",
    "FailedAttachVolume": "Your home is still attached to another machine.",
    "Failed": "Your container cannot be started. Tell an administrator:",
    "BackOff": "Your container cannot be started and is tried again. Tell an administrator:",
    "Evicted": "The machine ran out of room and put your server out. Choose a smaller profile, or try again:",
}
_SAY_ALL = ("FailedScheduling", "FailedMount", "FailedAttachVolume", "Failed", "BackOff", "Evicted")


class KubernetesSpawner(WorkbenchSpawner, KubeSpawner):
    """A pod of a person's own, with their home on a claim of their own."""

    servers: Any = AnyTrait(help="The site file's section.").tag(config=True)
    queues: Any = List(help="Kinds of machines.").tag(config=True)
    site = Unicode(help="Name of the site: tells its pods from others'.").tag(config=True)

    async def load_user_options(self) -> None:
        """Set the pod up as the profile says; KubeSpawner calls this first of all at each start."""
        profile = self.profile()
        try:
            self.image = pinned(profile.image or self.section.image)
            queue = self._queue(profile)
        except InvalidInput as error:
            raise refused("profile", error) from error
        self.mem_limit = self.mem_guarantee = profile.memory_bytes or self.section.memory_bytes
        self.cpu_limit = float(profile.cpu_cores or self.section.cpu_cores)
        self.cpu_guarantee = self.cpu_limit
        if profile.accelerator_count:
            self.extra_resource_limits = {self.section.accelerator_resource: str(profile.accelerator_count)}
        if queue:
            self.node_selector, self.tolerations = dict(queue.node_selector), list(queue.tolerations)
            self.priority_class_name = queue.priority_class
        self.cmd = self._words()
        self._confine()
        self._attach()

    def get_env(self) -> dict[str, Any]:
        """Return the server's variables: none of the hub's own machine."""
        variables: dict[str, Any] = super().get_env()
        variables |= {"HOME": _HOME, "USER": self.user.name, "JUPYTER_RUNTIME_DIR": f"{_SCRATCH}/runtime"}
        variables |= self.rescue_variables(f"{_SCRATCH}/rescue")
        if self.dashboard:
            variables[DASHBOARD_VARIABLE] = self.dashboard
        return variables

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Say on the waiting page what the cluster says, in words for a person."""
        async for event in KubeSpawner.progress(self):
            raw = event.get("raw_event")
            yield {"progress": event.get("progress", 10), "message": words(raw) if raw else event["message"]}

    @property
    def section(self) -> KubernetesServersSection:
        """What the site file says of servers in pods."""
        found: KubernetesServersSection = self.servers
        return found

    def _queue(self, profile: ProfileSection) -> KubernetesQueueSection | None:
        if not profile.queue:
            return self.queues[0] if self.queues else None
        for queue in self.queues:
            if queue.name == profile.queue:
                return queue
        there = ", ".join(each.name for each in self.queues) or "none"
        raise InvalidInput(
            f"The profile {profile.name} names the queue {profile.queue!r}, which compute.kubernetes.queues does not have. "
            f"There is: {there}. Tell an administrator."
        )

    def _words(self) -> list[str]:
        if self.dashboard:
            return self.command("python")
        return ["python", "-m", "genesis_hub.inside", "jupyterhub.singleuser", *self.rescue_options()]

    def _confine(self) -> None:
        self.uid = self.gid = self.fs_gid = USER
        self.allow_privilege_escalation = False
        self.automount_service_account_token = False
        self.container_security_context = {
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        self.common_labels = {
            "app.kubernetes.io/name": "genesis-workbench",
            "app.kubernetes.io/instance": safe_name(self.site),
        }
        self.extra_pod_config = {"enableServiceLinks": False}

    def _attach(self) -> None:
        """Give the home, the site's data for reading, and room for what is thrown away."""
        section = self.section
        self.storage_pvc_ensure = True
        self.storage_capacity = str(self.home_bytes or section.home_bytes)
        self.storage_class = section.storage_class or None
        self.storage_access_modes = list(section.access_modes)
        volumes: list[dict[str, Any]] = [
            {"name": "home", "persistentVolumeClaim": {"claimName": self.pvc_name}},
            {"name": "scratch", "emptyDir": {"sizeLimit": str(self.mem_limit)}},
        ]
        mounts: list[dict[str, Any]] = [
            {"name": "home", "mountPath": _HOME, "readOnly": bool(self.dashboard)},
            {"name": "scratch", "mountPath": _SCRATCH},
        ]
        for number, shared in enumerate(section.volumes):
            volumes.append({"name": f"shared-{number}", "persistentVolumeClaim": {"claimName": shared.claim}})
            mount = {"name": f"shared-{number}", "mountPath": shared.path, "readOnly": shared.read_only}
            mounts.append({**mount, **({"subPath": shared.sub_path} if shared.sub_path else {})})
        self.volumes, self.volume_mounts, self.working_dir = volumes, mounts, _HOME


def words(event: dict[str, Any]) -> str:
    """Return what an event of the cluster means to the person who waits."""
    reason, message = str(event.get("reason", "")), str(event.get("message", "")).strip()
    known = _WORDS.get(reason)
    if known is None:
        return message or reason
    return f"{known} ({message})" if reason in _SAY_ALL and message else known
