"""Jobs as processes of this machine.

A job is a folder. Its appearing, by one atomic rename, is the intent to run it; ``started.json``, made once by the
one process that holds the folder's lock, is the start; ``ended.json`` is the outcome. Whoever is killed in between
leaves a folder from which the next one goes on, and nothing starts twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import psutil

from genesis_workbench.compute.job import Job, JobSpec, JobState, Queue, QueueFull
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._folder import ENDED, STARTED, JobFolders, read
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection

_WAKE_S = 10.0  # a watcher that has not begun its job after so long is dead, or this machine is very busy
_PLACES_A_CORE, _LEAST_PLACES = 4, 16  # more at once are slower for everybody, and thousands end the machine
_watchers: list[subprocess.Popen[bytes]] = []  # of this process, so that those that ended are reaped


class LocalScheduler:
    """Runs each job below a small process of its own, which outlives whoever submitted it; a few at once for each core.

    Parameters
    ----------
    folder : Path
        Where the jobs' folders are kept.
    site : ComputeSection, optional
        Nothing in it concerns this machine.
    """

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path, site: ComputeSection | None = None) -> None:
        self.folder = folder
        self._jobs = JobFolders(folder)
        self._woken: dict[Path, float] = {}

    def submit(self, spec: JobSpec) -> Job:
        """Run `spec` unless its key is known. See :class:`Scheduler`."""
        self._refuse_the_impossible(spec)
        if (self._jobs.path(spec.key) / STARTED).exists():
            self._jobs.publish(spec)
        else:
            with self._room(spec) as held:
                self._start(self._jobs.publish(spec), held)
        job = self.status(spec.key)
        assert job is not None  # noqa: S101 - its folder was written above
        return job

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit one after the other, as many as there is room for. See :class:`Scheduler`."""
        jobs: list[Job] = []
        for spec in specs:
            try:
                jobs.append(self.submit(spec))
            except QueueFull as error:
                if not jobs:
                    raise
                later = specs[len(jobs) :]
                jobs += [
                    Job(key=one.key, name=one.name, state=JobState.NEW, reason=error.message) for one in later
                ]
                break
        return jobs

    def status(self, key: str) -> Job | None:
        """Return the job with this key. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists():
            return None
        spec = self._jobs.spec(key)
        # In this order: what starts after the first look is not there yet, what ends after the second left its outcome.
        facts = self._jobs.facts(key, spec)
        running = wrapper.locked(folder)
        if ended := self._jobs.ended(key, spec):
            return ended
        if facts["started"] is None:
            self._wake(folder, facts["submitted"])
            return Job(state=JobState.QUEUED, reason="It is about to start.", **facts)
        if running:
            return Job(state=JobState.ACTIVE, **facts)
        return Job(
            state=JobState.FAILED,
            reason="The process that watched it was killed; whether the work was done is not known.",
            **facts,
        )

    def cancel(self, key: str) -> None:
        """End the job. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if (folder / ENDED).exists():
            return
        started = read(folder / STARTED)
        if started is None:
            # Not started: take its place, so that it never does.
            if folder.exists() and wrapper.claim(folder):
                try:
                    wrapper.end(folder, JobState.CANCELED, "It was canceled before it started.", None)
                finally:
                    wrapper.release(folder)
            return
        # Who is canceling it at this moment, in another thread, is no watcher of it.
        watched = wrapper.locked(folder) and started["pid"] != os.getpid()
        if watched and psutil.pid_exists(started["pid"]):
            os.kill(started["pid"], signal.SIGTERM)

    def result(self, key: str) -> Any:
        """Return what a completed job wrote. See :class:`Scheduler`."""
        return self._jobs.result(key)

    def output(self, key: str, name: str) -> Path:
        """Return a file that the job wrote. See :class:`Scheduler`."""
        return self._jobs.output(key, name)

    def queues(self) -> list[Queue]:
        """Return this machine as the one queue. See :class:`Scheduler`."""
        cores, busy = os.cpu_count() or 1, psutil.getloadavg()[0]
        return [
            Queue(
                name="this machine",
                default=True,
                nodes=1,
                cores_per_node=cores,
                memory_per_node_bytes=psutil.virtual_memory().total,
                free_cores=max(0, cores - round(busy)),
            )
        ]

    def render(self, spec: JobSpec) -> str:
        """Return the command as a person would type it. See :class:`Scheduler`."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(spec.environment.items())]
        limit = [f"# memory: {spec.resources.memory_bytes} bytes"] if spec.resources.memory_bytes else []
        return "\n".join(
            [
                f"# {spec.name}: at most {spec.walltime_s:g} s, {spec.resources.cpu_cores} core(s)",
                *limit,
                f"cd {shlex.quote(str(self._jobs.path(spec.key)))}",
                " ".join([*variables, shlex.join(spec.command)]),
            ]
        )

    def _wake(self, target: Path, submitted: str) -> None:
        """Start a job whose watcher must have died before it began: only one of two watchers ever starts it."""
        last = max(self._woken.get(target, 0.0), datetime.fromisoformat(submitted).timestamp())
        if time.time() - last > _WAKE_S:
            self._woken[target] = time.time()
            with contextlib.suppress(QueueFull), self._room(self._jobs.spec(target.name)) as held:
                self._start(target, held)

    @contextlib.contextmanager
    def _room(self, spec: JobSpec) -> Iterator[list[int]]:
        """Hold as many places of this machine as a job asks for cores; as locks, so that a watcher that is killed lets go."""
        wanted, there = _cores(spec), max(_LEAST_PLACES, _PLACES_A_CORE * (os.cpu_count() or 1))
        places = self.folder / ".places"
        held: list[int] = []
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.mkdir(exist_ok=True, mode=0o700)
        try:
            for number in range(there):
                if len(held) == wanted:
                    break
                file = os.open(places / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                held.append(file)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(held.pop())
            if len(held) < wanted:
                raise QueueFull(
                    f"Jobs for {there - len(held)} cores run here, as many as may: this machine has {os.cpu_count()}. Wait "
                    "until some have ended, then submit it again."
                )
            yield held
        finally:
            for file in held:
                os.close(file)  # the watcher has them too

    def _start(self, target: Path, held: Sequence[int]) -> None:
        _watchers[:] = [watcher for watcher in _watchers if watcher.poll() is None]
        watcher = subprocess.Popen(
            [sys.executable, "-m", wrapper.__name__, str(target)],
            pass_fds=held,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _watchers.append(watcher)

    @staticmethod
    def _refuse_the_impossible(spec: JobSpec) -> None:
        cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
        wanted = _cores(spec)
        if spec.resources.nodes > 1 or spec.resources.gpus or spec.queue or spec.image:
            raise InvalidInput(
                f"The job {spec.name!r} asks for several machines, an accelerator, a queue or an image; here jobs are "
                "processes of this one machine. Leave those out, or run it on a site that has them."
            )
        if wanted > cores:
            raise InvalidInput(
                f"The job {spec.name!r} asks for {wanted} cores; this machine has {cores}. Ask for at most {cores}."
            )
        if spec.resources.memory_bytes > memory:
            raise InvalidInput(
                f"The job {spec.name!r} asks for {spec.resources.memory_bytes} bytes of memory; this machine has "
                f"{memory}. Ask for less."
            )


def _cores(spec: JobSpec) -> int:
    return spec.resources.cpu_cores * spec.resources.processes_per_node
