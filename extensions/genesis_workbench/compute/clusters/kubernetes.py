"""Workers as pods, made directly through the API and looked after by the keeper.

The scheduler is in the notebook's process, as on Slurm. One Secret carries the cluster's certificates and owns its
pods; where the notebook is a pod itself, that owns the Secret. So whatever ends, Kubernetes deletes what belonged to
it, and no operator has to be installed (docs/decisions/0006-dask-workers-as-pods.md).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import os
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from distributed import Scheduler
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster

from genesis_workbench.compute.clusters._keeper import Seen
from genesis_workbench.compute.job import Resources
from genesis_workbench.compute.kubernetes import pods, words
from genesis_workbench.compute.kubernetes.api import Kubernetes, Object
from genesis_workbench.compute.kubernetes.nodes import Nodes
from genesis_workbench.compute.kubernetes.volume import own_pod
from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.core.site import ComputeSection

if TYPE_CHECKING:
    from distributed.security import Security

_AT_ONCE = 8  # requests under way at one time
_CERTIFICATES = "/etc/genesis-cluster"
_DEATH_TIMEOUT_S = 60
_STOP_S = 10


class WorkerPod(ProcessInterface):
    """One worker as one pod.

    Parameters
    ----------
    scheduler : str
        Address that it connects to.
    name : str
        What scheduler and keeper call it.
    kubernetes : Kubernetes
        Where it is made.
    manifest : callable
        Returns its manifest from address and name.
    gate : asyncio.Semaphore
        Limits requests under way.
    """

    def __init__(
        self,
        scheduler: str,
        name: str,
        *,
        kubernetes: Kubernetes,
        manifest: Callable[[str, str], Object],
        gate: asyncio.Semaphore,
    ) -> None:
        ProcessInterface.__init__(self, scheduler=scheduler, name=name)
        self._kubernetes, self._gate = kubernetes, gate
        self._manifest = manifest(scheduler, name)
        self.job_id: str | None = None

    async def start(self) -> None:
        """Make the pod; raises with Kubernetes' words where it is refused."""
        try:
            async with self._gate:
                # One of that name, which is ours alone, is this one: the answer to a first request was lost.
                with contextlib.suppress(Conflict):
                    await asyncio.to_thread(self._kubernetes.create, "pods", self._manifest)
        except BaseException:
            self.status = Status.failed
            raise
        self.job_id = self._manifest["metadata"]["name"]
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """Delete the pod, whether it waits, runs or has ended."""
        name, self.job_id = self.job_id, None
        if name:
            await _even_at_the_end(self._kubernetes.delete, "pods", name)
        await ProcessInterface.close(self)


class WorkerPods(SpecCluster):
    """Dask's cluster over :class:`WorkerPod`.

    Parameters
    ----------
    forget : callable
        Deletes what the pods share.
    **options
        Those of ``SpecCluster``.
    """

    def __init__(self, *, forget: Callable[[], None], **options: Any) -> None:
        self._forget = forget
        SpecCluster.__init__(self, **options)

    def _new_worker_name(self, worker_number: int) -> str:
        return f"{self._name}-{worker_number}"

    async def _close(self) -> None:
        was_closed = self.status == Status.closed
        await SpecCluster._close(self)
        if not was_closed:
            await _even_at_the_end(self._forget)


class KubernetesWorkers:
    """Workers of one size.

    Parameters
    ----------
    site : ComputeSection
        Image, interface and the ``[compute.kubernetes]`` table.
    workers, threads : int
        Most workers, and threads (cores) of each.
    memory_bytes : int or None
        Memory of each; the site's where None.
    walltime_s : float or None
        After which its machine ends each pod; the site's where None. The cluster itself goes on: its workers are
        renewed.
    queue, account : str
        The site's where empty.

    Raises
    ------
    InvalidInput
        If no machine can hold a worker, with the nearest that would do.
    """

    def __init__(
        self,
        site: ComputeSection,
        workers: int,
        threads: int,
        memory_bytes: int | None,
        walltime_s: float | None = None,
        queue: str = "",
        account: str = "",
    ) -> None:
        if not site.interface:
            raise InvalidInput(
                "This site does not say on which network interface a Dask cluster listens. Ask the operator to set "
                "compute.interface, 'eth0' in most pods, in the site file."
            )
        pods.image_of(site)
        self._site, self._kubernetes = site, Kubernetes(site.kubernetes)
        self._nodes = Nodes(self._kubernetes, site)
        self.poll_s = site.kubernetes.poll_s
        self.walltime_s = walltime_s or site.walltime_s
        self.memory_bytes = memory_bytes or site.worker_memory_bytes
        self._size = Resources(cpu_cores=threads, memory_bytes=self.memory_bytes)
        self._queue, self._account = pods.queue_named(site, queue), account or site.account
        self._nodes.check(
            "A worker", self._queue.name if queue or site.queue else "", self._size, self.walltime_s
        )
        self._prefix = ""
        self._owner: Object = {}
        self._noted: Path | None = None

    def open(self, name: str, folder: Path, security: Security | None) -> SpecCluster:
        """Start the scheduler in this process, without workers."""
        self._sweep(folder.parent.parent / "kubernetes")
        readable = re.sub(r"[^a-z0-9]+", "-", name.removeprefix("cluster-"))[:20].strip("-")
        self._prefix = f"gw-{readable}-{os.urandom(4).hex()}"
        self._owner = self._make_secret(folder if security else None)
        self._note(folder.parent.parent / "kubernetes")
        try:
            return self._dask(name, security)
        except BaseException:
            self._forget()
            raise

    def script(self, cluster: SpecCluster) -> str:
        """Return the manifest of one worker."""
        return json.dumps(self._manifest(cluster.scheduler_address, f"{cluster.name}-0"), indent=2)

    async def look(self, cluster: SpecCluster, names: Iterable[Any]) -> dict[Any, Seen]:
        """Ask Kubernetes for the pods of these workers."""
        wanted = pods.selector(component="worker", owner=self._prefix)
        there = {
            pod["metadata"]["name"]: pod
            for pod in await asyncio.to_thread(self._kubernetes.list, "pods", wanted)
            if not pod["metadata"].get("deletionTimestamp")
        }
        found: dict[Any, Seen] = {}
        for name in names:
            worker = cluster.workers.get(name)
            pod = there.get(worker.job_id) if worker is not None else None
            phase = pod["status"].get("phase") if pod else None
            if pod and phase == "Pending":
                found[name] = Seen(running=False, reason=await asyncio.to_thread(self._why, pod))
            elif pod and phase == "Running":
                found[name] = Seen(running=True, reason="It is starting.", started_s=words.started_s(pod))
            elif pod and (end := words.ended(pod)).exit_code != 0:
                found[name] = Seen(running=False, lost=True, reason=end.reason)
        return found

    def _dask(self, name: str, security: Security | None) -> SpecCluster:
        options = {
            "protocol": "tls://" if security else "tcp://",
            "interface": self._site.interface,
            "dashboard_address": "127.0.0.1:0",
            "security": security,
        }
        worker = {
            "kubernetes": self._kubernetes,
            "manifest": self._manifest,
            "gate": asyncio.Semaphore(_AT_ONCE),
        }
        return WorkerPods(
            name=name,
            scheduler={"cls": Scheduler, "options": options},
            worker={"cls": WorkerPod, "options": worker},
            security=security,
            forget=self._forget,
        )

    def _forget(self) -> None:
        self._kubernetes.delete("secrets", self._prefix)
        if self._noted:
            self._noted.unlink(missing_ok=True)

    def _why(self, pod: Object) -> str:
        return words.waiting(
            pod,
            self._nodes.of(self._queue),
            partly=self._nodes.partly,
            gpu=self._site.kubernetes.gpu_resource,
            events=lambda uid: self._kubernetes.list("events", fields=f"involvedObject.uid={uid}"),
        )

    def _manifest(self, address: str, name: str) -> Object:
        """Return the pod of one worker: it listens on the pod's own address alone."""
        # fmt: off
        arguments = [
            self._site.python or "python", "-m", "distributed.cli.dask_worker", address,
            "--name", name, "--nthreads", str(self._size.cpu_cores),
            # The pod is ended at its limit; Dask pauses and spills well before. No nanny: the keeper is there.
            "--memory-limit", str(int(self.memory_bytes * 0.95)), "--no-nanny",
            "--host", "$(POD_IP)", "--dashboard-address", "127.0.0.1:0",
            "--death-timeout", str(_DEATH_TIMEOUT_S), "--local-directory", "/tmp",  # noqa: S108 - inside the pod
        ]
        if address.startswith("tls"):
            arguments += [
                "--protocol", "tls", "--tls-ca-file", f"{_CERTIFICATES}/certificate.pem",
                "--tls-cert", f"{_CERTIFICATES}/certificate.pem", "--tls-key", f"{_CERTIFICATES}/key.pem",
            ]
        # fmt: on
        secret = {"secret": {"secretName": self._prefix}}
        spec = pods.pod(
            self._site,
            self._queue,
            self._size,
            arguments,
            image="",
            walltime_s=math.ceil(self.walltime_s),
            mounts=[(secret, {"mountPath": _CERTIFICATES, "readOnly": True})],
            environment=[{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            stop_s=_STOP_S,
        )
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{self._prefix}-{name.rpartition('-')[2]}",
                "labels": pods.labels("worker", self._prefix, self._account),
                "ownerReferences": [_reference("Secret", self._owner)] if self._owner else [],
            },
            "spec": spec,
        }

    def _make_secret(self, folder: Path | None) -> Object:
        notebook = own_pod(self._kubernetes)
        files = sorted(folder.glob("*.pem")) if folder else []
        return self._kubernetes.create(
            "secrets",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {
                    "name": self._prefix,
                    "labels": pods.labels("cluster", self._prefix, self._account),
                    "ownerReferences": [_reference("Pod", notebook)] if notebook else [],
                },
                "data": {file.name: base64.b64encode(file.read_bytes()).decode() for file in files},
            },
        )

    def _note(self, notes: Path) -> None:
        """Write down which Secret this process has made, for :meth:`_sweep` after it was killed."""
        notes.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = {"pid": os.getpid(), "host": socket.gethostname()}
        self._noted = notes / f"{self._prefix}.json"
        draft = self._noted.with_suffix(".draft")
        draft.write_text(json.dumps(about))
        draft.replace(self._noted)

    def _sweep(self, notes: Path) -> None:
        """Delete what processes left that were killed on this machine; their pods go with their Secret."""
        for file in notes.glob("*.json"):
            about = json.loads(file.read_text())
            if about["host"] == socket.gethostname() and not psutil.pid_exists(about["pid"]):
                self._kubernetes.delete("secrets", file.stem)
                file.unlink()


def _reference(kind: str, owner: Object) -> Object:
    about = owner["metadata"]
    return {"apiVersion": "v1", "kind": kind, "name": about["name"], "uid": about["uid"]}


async def _even_at_the_end(delete: Callable[..., None], *arguments: Any) -> None:
    """Delete in a thread, or here where the interpreter ends and no thread can be started."""
    try:
        await asyncio.to_thread(delete, *arguments)
    except RuntimeError:
        delete(*arguments)
