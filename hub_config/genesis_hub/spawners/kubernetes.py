"""Servers as pods, by KubeSpawner: the same profiles, the same image, the same home and the same words as everywhere.

What confines a container on one machine confines the pod: an ordinary user, a read-only system, no capabilities, no way to gain
any, no token of the cluster, limits that are always set. A network policy of the site keeps servers apart; see
docs/how-to/kubernetes.md.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.client import ApiException, Configuration
from kubespawner import KubeSpawner
from kubespawner import spawner as upstream
from traitlets import Any as AnyTrait
from traitlets import Dict, List, Unicode

from genesis_hub import homes
from genesis_hub.availability import Places
from genesis_hub.names import safe_name
from genesis_hub.spawners import _pods
from genesis_hub.spawners._base import (
    DASHBOARD_VARIABLE,
    SERVER,
    WorkbenchSpawner,
    ended_at_once,
    first_answer,
    refused,
)
from genesis_hub.spawners._cluster import EVERYWHERE, SILENT, Cluster, refusal, refuse_what_never_fits, silent
from genesis_hub.spawners._confinement import USER, pinned, threads
from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, InvalidInput, PermissionRefused
from genesis_workbench.core.homes import Home
from genesis_workbench.core.nodes import Object, of_queue
from genesis_workbench.core.site import KubernetesQueueSection, KubernetesServersSection, ProfileSection

_HOME, _SITE = "/home/user", "/etc/genesis-workbench"
_SCRATCH = "/tmp"  # noqa: S108 - of the pod alone
_LOST = 1
_LOOK_S, _ANSWER_S = 0.5, 20
_LAST_LINES, _LAST_BYTES, _FIRST_BYTES = 20, 16384, 1024


class KubernetesSpawner(WorkbenchSpawner, KubeSpawner):
    """A pod of a person's own, with their home on a claim of their own."""

    servers: Any = AnyTrait(help="The site file's section.").tag(config=True)
    queues: Any = List(help="Kinds of machines.").tag(config=True)
    site = Unicode(help="Name of the site: tells its pods from others'.").tag(config=True)

    pod_id = Unicode(help="Identifier of the pod that answered; empty where there is none.")
    seen_home: Any = Dict(
        help="What the last start of this server found in the home; outlives the server, as the home does."
    )

    def __init__(self, **kwargs: Any) -> None:
        _find_the_cluster()
        super().__init__(**kwargs)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier hub started."""
        super().load_state(state)
        self.pod_id = state.get("pod_id", "")
        self.seen_home = state.get("home") or {}

    def get_state(self) -> dict[str, Any]:
        """Return what the next hub needs to find the server."""
        kept = {"pod_id": self.pod_id, "home": self.seen_home}
        return {**super().get_state(), **{name: value for name, value in kept.items() if value}}

    def clear_state(self) -> None:
        """Forget a server that has ended."""
        super().clear_state()
        self.pod_id = ""

    async def load_user_options(self) -> None:
        """Set the pod up as the profile says; KubeSpawner calls this first of all at each start."""
        profile = self.sized(self.profile())
        try:
            self.image = pinned(profile.image or self.section.image)
            queue = self._queue(profile.queue)
        except InvalidInput as error:
            raise refused("profile", error) from error
        self.mem_limit = self.mem_guarantee = profile.memory_bytes
        self.cpu_limit = self.cpu_guarantee = float(profile.cpu_cores)
        accelerators = str(profile.accelerator_count)
        self.extra_resource_limits = (
            {self.section.accelerator_resource: accelerators} if profile.accelerator_count else {}
        )
        self.node_selector, self.tolerations = dict(queue.node_selector), list(queue.tolerations)
        self.priority_class_name = queue.priority_class
        self.cmd = self._words()
        self._confine()
        self._attach()

    async def poll(self) -> int | None:
        """Return None while the pod waits or runs, else its exit status.

        A cluster that does not answer takes no server with it: its machines go on without their API.
        """
        try:
            await self._start_watching_pods()
            pod = self._pod
            said = await self._last_lines() if pod and _pods.ended(pod) else []
            known = self.pod_id  # `stop`, by which KubeSpawner clears an ended pod away, forgets it
            lost = pod is not None and _pods.lost(pod)
            status: int | None = _LOST if lost else await super().poll()
        except (ApiException, *SILENT) as error:
            self.log.warning("the cluster does not say how the server of %s is: %r", self.user.name, error)
            return None
        if status is not None and known:
            self.pod_id = ""
            if lost and pod:
                where = f"The machine {pod['spec']['nodeName']} that ran your server has not answered for a while, so your server"
                self.last_words = f"{where} counts as lost. Your files are kept: start again, and another machine will take you."
            elif pod and _pods.ended(pod):
                self.last_words = _pods.ending(pod, said)
            else:
                self.last_words = "Your server was removed from outside. Your files are kept."
            self.log.warning("server of %s ended: %s\n%s", self.user.name, self.last_words, "\n".join(said))
        return status

    async def stop(self, now: bool = False) -> None:
        """End the pod; the home stays."""
        self.pod_id = ""
        await super().stop(now)

    async def free(self) -> Places:
        """Return what is free on the machines of each queue, as the scheduler counts: by what pods have asked for."""
        return await self._cluster.free(self.queues, self._queue("").name)

    async def home(self) -> Home | None:
        """Return how full the home was when one of the person's servers last started; only servers see it."""
        states = [each.state or {} for each in self.user.orm_user._orm_spawners]
        seen = (Home(**each["home"]) for each in states if each.get("home"))
        return max(seen, key=lambda home: home.seen, default=None)

    def sized(self, profile: ProfileSection) -> ProfileSection:
        """Return the profile with the memory and cores of every server that asks for none: each has limits."""
        section = self.section
        size = {
            "memory_bytes": profile.memory_bytes or section.memory_bytes,
            "cpu_cores": profile.cpu_cores or section.cpu_cores,
        }
        return profile.model_copy(update=size)

    def get_env(self) -> dict[str, Any]:
        """Return the server's variables: none of the hub's own machine."""
        variables: dict[str, Any] = threads(self.cpu_limit) | super().get_env()
        variables |= {"HOME": _HOME, "USER": self.user.name, "JUPYTER_RUNTIME_DIR": f"{_SCRATCH}/runtime"}
        if self.section.site_config_map:
            variables["GENESIS_SITE"] = f"{_SITE}/site.toml"
        variables |= self.rescue_variables(f"{_SCRATCH}/rescue")
        if self.dashboard:
            variables[DASHBOARD_VARIABLE] = self.dashboard
        else:
            variables[homes.LIMIT_VARIABLE] = str(self._home_bytes)
        return variables

    @property
    def section(self) -> KubernetesServersSection:
        """What the site file says of servers in pods."""
        found: KubernetesServersSection = self.servers
        return found

    async def get_pod_manifest(self) -> Any:
        """Return the pod; one that has ended is not started again behind the person's back."""
        pod = await super().get_pod_manifest()
        pod.spec.restart_policy = "Never"
        return _told_by_name(pod)

    def get_secret_manifest(self, owner_reference: Any) -> Any:
        """Return the server's certificates."""
        return _told_by_name(super().get_secret_manifest(owner_reference))

    async def _start(self) -> str:
        """Make home and pod, and wait until the server answers or the cluster says that it never will."""
        self.last_words = ""
        # Before the hub's and KubeSpawner's own limits, which say nothing of the reason. They are a tenth more or less, by chance.
        until_s = time.monotonic() + 0.85 * self.start_timeout
        self.tell(10, "Looking for a machine with room for you.")
        tasks: list[asyncio.Future[Any]] = []
        try:
            await self._start_watching_pods()
            stale = self._pod["metadata"]["uid"] if self._pod else ""
            await self._refuse_what_never_fits()
            starting = asyncio.ensure_future(self._reachable())
            failing = asyncio.ensure_future(self._failure(stale, until_s))
            tasks = [starting, failing]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise failing.result()
            return starting.result()
        except GenesisError as error:
            self.log.warning("server of %s: %s %s", self.user.name, error.message, error.detail)
            raise refused("kubernetes", error) from error
        except ApiException as error:
            raise refused("kubernetes", refusal(error)) from error
        except SILENT as error:
            raise refused("kubernetes", silent(error)) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _reachable(self) -> str:
        url: str = await super()._start()
        where = urlsplit(url)
        await first_answer(str(where.hostname), where.port or self.port)
        self.pod_id = self._pod["metadata"]["uid"] if self._pod else ""
        if not self.dashboard:
            self._note_home(await self._log(limit_bytes=_FIRST_BYTES))
        return url

    def _note_home(self, log: str) -> Home | None:
        """Keep what the server's log tells of the home."""
        home = homes.reported(log)
        if home is not None:
            self.seen_home = asdict(home)
        return home

    async def _failure(self, stale: str, until_s: float) -> SpawnException:
        """Tell the waiting page how far the server is, until it is known that it will not start: return that.

        Parameters
        ----------
        stale : str
            Identifier of a pod that an earlier start left, which is on its way out.
        until_s : float
            When nobody waits any longer, in seconds of the monotonic clock.
        """
        while time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_S)
            pod = self._pod
            if pod is None or pod["metadata"]["uid"] == stale:
                continue
            if _pods.ended(pod):
                said = await self._last_lines()
                home = self._note_home("\n".join(said))
                if home is not None and home.full and not self.rescue:
                    return self.home_is_full(replace(home, seen=0.0))  # it is now
                why = f"Your server ended before it could be reached. {_pods.ending(pod, said)}"
                return ended_at_once("ended", why, said)
            mine = pod["metadata"]["uid"]
            events = [each for each in self.events if each["involvedObject"].get("uid") == mine]
            if why := _pods.hopeless(pod, events):
                return refused("kubernetes", InvalidInput(f"Your server cannot start. {why}"))
            self.tell(*_pods.stage(pod, events))
        late = DeadlineExceeded(
            f"Your server did not start within {self.start_timeout} s. The last that was heard: "
            f"{self._told[-1]['message']} Choose a smaller server, or try again later."
        )
        return refused("timeout", late)

    async def _refuse_what_never_fits(self) -> None:
        profile = self.sized(self.profile())
        try:
            nodes = await self._cluster.nodes()
        except PermissionRefused as error:
            self.log.info("not looked whether the server can ever fit: %s", error.detail)
            return
        refuse_what_never_fits(profile, of_queue(nodes, self._queue(profile.queue)))

    async def _start_reflector(self, kind: str, *what: Any, replace: bool = False, **how: Any) -> Any:
        """Watch pods or events. A watch that gave up, as KubeSpawner's does after half a minute without the API, begins anew."""
        key = self._get_reflector_key(kind)
        watch = self.reflectors[key].watch_task if key in self.reflectors else None
        over = watch is not None and watch.done()
        try:
            return await super()._start_reflector(kind, *what, replace=replace or over, **how)
        except BaseException:  # a start that is canceled as well
            # Left in its place, a watch that never began would say that there is nothing.
            self.reflectors.pop(key, None)
            raise

    async def _last_lines(self) -> list[str]:
        return (await self._log(tail_lines=_LAST_LINES, limit_bytes=_LAST_BYTES)).splitlines()

    async def _log(self, **which: int) -> str:
        """Return a part of the server's log; nothing where it cannot be read."""
        try:
            said = await self.api.read_namespaced_pod_log(
                self.pod_name,
                self.namespace,
                container=_pods.CONTAINER,
                _request_timeout=_ANSWER_S,
                **which,
            )
        except (ApiException, *SILENT) as error:
            self.log.warning("the log of %s cannot be read: %r", self.pod_name, error)
            return ""
        return str(said)

    @property
    def _home_bytes(self) -> int:
        """What a home may hold."""
        return self.home_bytes or self.section.home_bytes

    @property
    def _pod(self) -> Object | None:
        """The server's pod as it was last heard of."""
        if self.pod_reflector is None:
            return None
        found: Object | None = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}")
        return found

    @property
    def _cluster(self) -> Cluster:
        return Cluster(self.api, self.section.accelerator_resource)

    def _queue(self, name: str) -> KubernetesQueueSection:
        """Return the machines that a queue's name stands for; the default's where it is empty."""
        wanted = name or self.default_queue
        if not wanted:
            return self.queues[0] if self.queues else EVERYWHERE
        for queue in self.queues:
            if queue.name == wanted:
                return queue
        there = ", ".join(each.name for each in self.queues) or "none"
        raise InvalidInput(
            f"This server's profile names the queue {wanted!r}, which compute.kubernetes.queues does not have. "
            f"There is: {there}. Tell an administrator."
        )

    def _words(self) -> list[str]:
        if self.dashboard:
            return self.command("python")
        return ["python", "-m", "genesis_hub.inside", SERVER, *self.rescue_options()]

    def _confine(self) -> None:
        self.uid = self.gid = self.fs_gid = USER
        self.allow_privilege_escalation = False
        self.service_account = self.section.service_account or None
        self.automount_service_account_token = bool(self.section.service_account)
        self.container_security_context = {
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        self.common_labels = {  # not the hub's own, by which the chart's service finds it
            "app.kubernetes.io/name": "genesis-workbench-server",
            "app.kubernetes.io/instance": safe_name(self.site),
        }
        self.extra_pod_config = {"enableServiceLinks": False}

    def _attach(self) -> None:
        """Give the home, the site's file and data for reading, and room for what is thrown away."""
        section = self.section
        self.storage_pvc_ensure = True
        self.storage_capacity = str(self._home_bytes)
        self.storage_class = section.storage_class or None
        self.storage_access_modes = list(section.access_modes)
        home = {"persistentVolumeClaim": {"claimName": self.pvc_name}}
        shared_memory = {"emptyDir": {"medium": "Memory", "sizeLimit": str(self.mem_limit // 2)}}
        found: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"name": "home", **home}, {"mountPath": _HOME, "readOnly": bool(self.dashboard)}),
            ({"name": "scratch", "emptyDir": {"sizeLimit": str(self.mem_limit)}}, {"mountPath": _SCRATCH}),
            ({"name": "shared-memory", **shared_memory}, {"mountPath": "/dev/shm"}),  # noqa: S108 - likewise
        ]
        if section.site_config_map:
            site = {"name": "site", "configMap": {"name": section.site_config_map}}
            found.append((site, {"mountPath": _SITE, "readOnly": True}))
        for number, shared in enumerate(section.volumes):
            volume = {
                "name": f"shared-{number}",
                "persistentVolumeClaim": {"claimName": shared.claim},
            }
            within = {"subPath": shared.sub_path} if shared.sub_path else {}
            found.append((volume, {"mountPath": shared.path, "readOnly": shared.read_only, **within}))
        self.volumes = [volume for volume, _ in found]
        self.volume_mounts = [{"name": volume["name"], **mount} for volume, mount in found]
        if section.groups_claim and self.groups:
            claim = {"persistentVolumeClaim": {"claimName": section.groups_claim}}
            self.volumes.append({"name": "groups", **claim})
            # A folder of it for each of the person's groups: of the others' not even the names are seen.
            self.volume_mounts += [
                {
                    "name": "groups",
                    "mountPath": f"/groups/{safe_name(group)}",
                    "subPath": safe_name(group),
                    "readOnly": bool(self.dashboard),
                }
                for group in self.groups
            ]
        self.working_dir = _HOME


def _told_by_name(manifest: Any) -> Any:
    """Let KubeSpawner tell what a cluster refuses by its name: it writes the whole into the log, with the server's token and keys."""
    name = f"{manifest.kind} {manifest.metadata.name}"
    manifest.to_str = lambda: name
    return manifest


@cache
def _find_the_cluster() -> None:
    """Find the way to the cluster as KubeSpawner does, once and before it makes its client, and trust its authority.

    Authorities of many clusters lack the key usage that Python 3.13 began to insist on (kubernetes-client/python #2394). What is
    signed, by whom and for which name is checked as before.
    """
    upstream.load_config(host="", ssl_ca_cert="", verify_ssl=None)
    found = Configuration.get_default_copy()
    found.disable_strict_ssl_verification = True
    Configuration.set_default(found)
