"""Jobs on Kubernetes: each one Job with one pod, and a folder on a volume that notebook and pod share.

Files go in and out by that volume and not through Kubernetes' own objects: a Secret or ConfigMap holds 1 MiB, a
result would have to come back through a log or a running container, and none of it would outlive the pod. The volume
is there wherever notebooks keep their homes. A pod sees its own job's folder of it and nothing else, so that
neither the notebook's secrets nor other jobs are in its reach.

A Job is named by its key: a second making is answered with AlreadyExists, also where the first answer was lost. What
runs in the pod is our small wrapper, which starts a job only if nobody has (see wrapper.py), since Kubernetes itself
promises only that a pod runs at least once.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.compute.job import Job, JobSpec, JobState, Queue, QueueFull, Resources
from genesis_workbench.compute.kubernetes import pods, words
from genesis_workbench.compute.kubernetes.api import Kubernetes, Object, QuotaFull
from genesis_workbench.compute.kubernetes.nodes import Nodes
from genesis_workbench.compute.kubernetes.volume import Shared, shared_folder
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._folder import (
    CANCELED,
    ENDED,
    STARTED,
    JobFolders,
    alone,
    read,
    write,
    write_once,
)
from genesis_workbench.compute.schedulers._full import Full
from genesis_workbench.core import clock
from genesis_workbench.core.errors import Conflict, InvalidInput, PermissionRefused
from genesis_workbench.core.site import ComputeSection

NATIVE = "native.json"
_WRAPPER_BYTES = 96 * 2**20
"""Memory that the wrapper itself takes, on top of what the job asks for."""
_START_S = 600
"""Seconds on a machine before the job begins: fetching a large image. The wrapper ends it at its walltime sooner."""
_RESTARTS = 6
_FORGOTTEN = "Kubernetes no longer knows it, and it left no outcome; whether the work was done is not known."
_VISIBLE_S = 60
"""Seconds after which what a pod wrote is seen here: network file systems keep what they knew of a folder."""


class KubernetesScheduler:
    """Runs each job as a Job of the notebook's namespace.

    Parameters
    ----------
    folder : Path
        Where the jobs' folders are kept, on a volume that pods can mount.
    site : ComputeSection
        Image, queue and the ``[compute.kubernetes]`` table.
    """

    name: ClassVar[str] = "kubernetes"

    def __init__(self, folder: Path, site: ComputeSection) -> None:
        self.folder = folder
        self._site = site
        self._jobs = JobFolders(folder)
        self._kubernetes = Kubernetes(site.kubernetes)
        self._nodes = Nodes(self._kubernetes, site)
        self._shared: Shared | None = None
        self._full = Full()
        self._seen: tuple[float, dict[str, Object], dict[str, list[Object]]] | None = None

    def submit(self, spec: JobSpec) -> Job:
        """Submit `spec` unless its key is known. See :class:`Scheduler`."""
        return self.submit_all([spec])[0]

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit one after the other, all checked before the first is made. See :class:`Scheduler`."""
        self._full.check()
        for spec in {_request(spec): spec for spec in specs}.values():
            self._check(spec)
        manifests = [self._manifest(spec) for spec in specs]
        folders = [self._jobs.publish(spec) for spec in specs]
        full = None
        try:
            for folder, manifest in zip(folders, manifests, strict=True):
                self._make(folder, manifest)
        except QuotaFull as error:
            words = f"{error.message}. Try again when others have ended."
            full = QueueFull(words)
            full.__cause__ = error
            self._full.said(full)
        self._seen = None
        jobs = [job for spec in specs if (job := self.status(spec.key)) is not None]  # its folder was written
        if full and not any(job.native_id for job in jobs):
            raise full
        return jobs

    def status(self, key: str) -> Job | None:
        """Return the job with this key. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists():
            return None
        spec, native = self._jobs.spec(key), read(folder / NATIVE)
        name = native["id"] if native else ""
        extra: dict[str, Any] = {"native_id": name, "queue": spec.queue or self._site.queue}
        # The pods are asked before the folder: what ends meanwhile leaves its outcome there.
        job, made = self._look(name) if name and not (folder / ENDED).exists() else (None, [])
        if ended := self._jobs.ended(key, spec):
            return ended.model_copy(update=extra)
        facts = self._jobs.facts(key, spec) | extra
        if native is None:
            return Job(state=JobState.NEW, reason="It has not been submitted yet.", **facts)
        if (folder / CANCELED).exists():
            return Job(state=JobState.CANCELED, reason="It was canceled.", **facts)
        if job is None:
            return Job(state=JobState.FAILED, reason=_FORGOTTEN, **facts)
        known = self._left_no_outcome if _finished(job) else self._under_way
        return known(spec, job, made, facts)

    def cancel(self, key: str) -> None:
        """End the job. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists() or self._jobs.ended(key, self._jobs.spec(key)):
            return
        with alone(folder):
            write(folder / CANCELED, {})
            native = read(folder / NATIVE)
            if native is None:
                # It must not be started by a submission that is repeated later either; one may have been made.
                native = {"id": self._job_name(self._jobs.spec(key))}
                write(folder / NATIVE, native)
            self._kubernetes.delete("jobs", native["id"])
            self._seen = None

    def result(self, key: str) -> Any:
        """Return what a completed job wrote. See :class:`Scheduler`."""
        return self._jobs.result(key)

    def output(self, key: str, name: str) -> Path:
        """Return a file that the job wrote. See :class:`Scheduler`."""
        return self._jobs.output(key, name)

    def render(self, spec: JobSpec) -> str:
        """Return the manifest. See :class:`Scheduler`."""
        return json.dumps(self._manifest(spec), indent=2)

    def queues(self) -> list[Queue]:
        """Return the kinds of machines. See :class:`Scheduler`."""
        return self._nodes.queues()

    # --- before it is made --------------------------------------------------------------------------------------

    def _check(self, spec: JobSpec) -> None:
        what = f"The job {spec.name!r}"
        if spec.resources.nodes > 1:
            raise InvalidInput(
                f"{what} asks for {spec.resources.nodes} machines; here a job is one pod on one machine. Ask for one, or "
                "spread the work with gw.cluster()."
            )
        if spec.resources.exclusive:
            raise InvalidInput(
                f"{what} asks for a machine of its own; here jobs share machines, each within its limits. Leave "
                "`exclusive` out and ask for the cores that it needs."
            )
        self._nodes.check(what, spec.queue, self._size(spec), spec.walltime_s)

    def _make(self, folder: Path, manifest: Object) -> None:
        with alone(folder):
            if not self._known(folder):
                # One of that name is this job, from a submission whose answer was lost.
                with contextlib.suppress(Conflict):
                    self._kubernetes.create("jobs", manifest)
                write(folder / NATIVE, {"id": manifest["metadata"]["name"]})

    def _size(self, spec: JobSpec) -> Resources:
        asked = spec.resources
        memory = (
            asked.memory_bytes + _WRAPPER_BYTES
            if asked.memory_bytes
            else self._site.kubernetes.job_memory_bytes
        )
        return asked.model_copy(update={"memory_bytes": memory})

    def _job_name(self, spec: JobSpec) -> str:
        return f"gw-{pods.short_hash(self._owner(), spec.key)}"

    def _owner(self) -> str:
        """Return what tells these jobs from those of other people in the same namespace."""
        if self._shared is None:
            self._shared = shared_folder(self._kubernetes, self._site.kubernetes, self.folder)
        return pods.short_hash(json.dumps(self._shared.volume, sort_keys=True), self._shared.sub_path)

    def _manifest(self, spec: JobSpec) -> Object:
        owner, folder = self._owner(), self._jobs.path(spec.key)
        assert self._shared is not None  # noqa: S101 - found for the owner
        names = pods.labels("job", owner, spec.account or self._site.account)
        template = pods.pod(
            self._site,
            pods.queue_named(self._site, spec.queue),
            self._size(spec),
            [self._site.python or "python", "-m", wrapper.__name__, str(folder)],
            image=spec.image,
            walltime_s=math.ceil(spec.walltime_s) + _START_S,
            mounts=[self._shared.mount(folder)],
            environment=[
                {"name": "GENESIS_NATIVE_ID", "value": self._job_name(spec)},
                {"name": "GENESIS_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
        )
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self._job_name(spec),
                "labels": names,
                "annotations": {"genesis-workbench/key": spec.key, "genesis-workbench/name": spec.name},
            },
            "spec": {
                "backoffLimit": _RESTARTS if spec.requeue else 0,
                "ttlSecondsAfterFinished": self._site.kubernetes.keep_finished_s,
                "template": {"metadata": {"labels": names}, "spec": template},
            },
        }

    # --- after it is made ---------------------------------------------------------------------------------------

    def _look(self, name: str) -> tuple[Object | None, list[Object]]:
        """Return a job and its pods, from one look at all of them every moment."""
        if self._seen is None or time.monotonic() - self._seen[0] > self._site.kubernetes.poll_s:
            wanted = pods.selector(component="job", owner=self._owner())
            jobs = {job["metadata"]["name"]: job for job in self._kubernetes.list("jobs", wanted)}
            made: dict[str, list[Object]] = {}
            for pod in self._kubernetes.list("pods", wanted):
                made.setdefault(pod["metadata"].get("labels", {}).get("job-name", ""), []).append(pod)
            self._seen = (time.monotonic(), jobs, made)
        _, jobs, made = self._seen
        return jobs.get(name), sorted(
            made.get(name, []), key=lambda pod: str(pod["metadata"]["creationTimestamp"])
        )

    def _under_way(self, spec: JobSpec, job: Object, made: list[Object], facts: dict[str, Any]) -> Job:
        pod = next(
            (each for each in reversed(made) if each["status"].get("phase") in ("Pending", "Running")), None
        )
        if pod is None:
            messages = [
                str(each.get("message", ""))
                for each in self._events(job["metadata"]["uid"])
                if each.get("reason") == "FailedCreate"
            ]
            reason = words.not_made([] if made else messages, self._kubernetes.namespace)
            return Job(state=JobState.QUEUED, reason=reason, **facts)
        if pod["status"]["phase"] == "Running":
            return Job(state=JobState.ACTIVE, **facts)
        reason = words.waiting(
            pod,
            self._nodes.of(pods.queue_named(self._site, spec.queue)),
            partly=self._nodes.partly,
            gpu=self._site.kubernetes.gpu_resource,
            events=self._events,
        )
        return Job(state=JobState.QUEUED, reason=reason, **facts)

    def _left_no_outcome(self, spec: JobSpec, job: Object, made: list[Object], facts: dict[str, Any]) -> Job:
        """Write down how a job ended that could not do so itself, before Kubernetes forgets it."""
        finished_s = max((words.finished_s(pod) for pod in made), default=0.0)
        if time.time() - finished_s < _VISIBLE_S and any(
            pod["status"].get("phase") == "Succeeded" for pod in made
        ):
            return Job(state=JobState.ACTIVE, reason="It has ended; its outcome is about to appear.", **facts)
        end = words.ended(made[-1]) if made else words.End(_condition_words(job))
        outcome = {"state": str(JobState.FAILED), "reason": end.reason, "exit_code": end.exit_code}
        write_once(self._jobs.path(spec.key) / ENDED, {"time": clock.now(), **outcome})
        found = self._jobs.ended(spec.key, spec)
        assert found is not None  # noqa: S101 - written above
        return found.model_copy(update={name: facts[name] for name in ("native_id", "queue")})

    def _events(self, uid: str) -> list[Object]:
        try:
            found = self._kubernetes.list("events", fields=f"involvedObject.uid={uid}")
        except PermissionRefused:
            return []
        return sorted(
            found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")
        )

    @staticmethod
    def _known(target: Path) -> bool:
        return (target / NATIVE).exists() or (target / STARTED).exists()


def _request(spec: JobSpec) -> str:
    """Return what of a job its check depends on."""
    return json.dumps(
        spec.model_dump(mode="json", include={"resources", "walltime_s", "queue"}), sort_keys=True
    )


def _finished(job: Object) -> bool:
    ends = ("Complete", "Failed")
    return any(
        each["type"] in ends and each["status"] == "True" for each in job["status"].get("conditions", [])
    )


def _condition_words(job: Object) -> str:
    told = "; ".join(str(each.get("message", "")) for each in job["status"].get("conditions", []))
    return (
        f"Its pod was deleted, and it left no outcome; whether the work was done is not known. {told}".strip()
    )
