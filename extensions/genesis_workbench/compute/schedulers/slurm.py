"""Jobs on a Slurm cluster, by Slurm's own programs and a folder that its machines share.

The script that Slurm runs is our small wrapper, which starts a job only if nobody has (see wrapper.py). So a
submission whose answer was lost can be repeated: either the queue still has a job of that name, or the second one
finds the first one's traces and ends at once.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.compute.job import Job, JobSpec, JobState, Queue, QueueFull
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.compute.schedulers._folder import (
    CANCELED,
    ENDED,
    STARTED,
    JobFolders,
    alone,
    missed_for,
    read,
    write,
)
from genesis_workbench.compute.schedulers._full import Full
from genesis_workbench.compute.slurm import Slurm, directives
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection

NATIVE = "native.json"
_VISIBLE_S = 60.0
"""As long as a client of NFS may go on not seeing a new file, by default."""
_ARRAY_SIZE = 1000  # below Slurm's default MaxArraySize of 1001

_STATES = {
    "OUT_OF_MEMORY": "It used more memory than it had asked for. Ask for more.",
    "TIMEOUT": "It ran longer than its walltime. Ask for a longer one.",
    "DEADLINE": "It could not end before its deadline.",
    "NODE_FAIL": "A machine that it ran on failed. Whether the work was done is not known.",
    "BOOT_FAIL": "A machine that it needed did not start.",
    "PREEMPTED": "A job of a higher priority took its machines.",
    "CANCELLED": "It was canceled, by an operator or with Slurm's own programs.",
}


class SlurmScheduler:
    """Runs each job, or each element of an array of jobs, as a batch job of the same account.

    Parameters
    ----------
    folder : Path
        Where the jobs' folders are kept, on a file system that all machines share.
    site : ComputeSection
        Queue, account, Python and the ``[compute.slurm]`` table.
    """

    name: ClassVar[str] = "slurm"

    def __init__(self, folder: Path, site: ComputeSection) -> None:
        self.folder = folder
        self._site = site
        self._jobs = JobFolders(folder)
        self._slurm = Slurm(site.slurm)
        self._arrays = folder / ".arrays"  # those that are being submitted
        self._full = Full()

    def submit(self, spec: JobSpec) -> Job:
        """Submit `spec` unless its key is known. See :class:`Scheduler`."""
        self._check(spec)
        target = self._jobs.publish(spec)
        with alone(target):
            if not self._known(target):
                name = _job_name([spec])
                # A submission whose answer was lost left a job of this name.
                numbers = self._slurm.named(name) or [self._slurm.submit(self._script(spec, name), name)]
                write(target / NATIVE, {"id": numbers[-1]})
        return self._job(spec.key)

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit many, those that ask for the same in arrays of up to 1,000. See :class:`Scheduler`."""
        self._full.check()
        if not specs:
            return []
        groups: dict[str, list[JobSpec]] = {}
        for spec in specs:
            groups.setdefault(_request(spec), []).append(spec)
        for group in groups.values():
            self._check(group[0])
        for spec in specs:
            self._jobs.publish(spec)
        full = None
        try:
            self._submit_groups(groups.values())
        except QueueFull as error:
            self._full.said(error)
            full = error
        jobs = [self._job(spec.key) for spec in specs]
        if full and not any(job.native_id for job in jobs):
            raise full
        return jobs

    def status(self, key: str) -> Job | None:
        """Return the job with this key. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists():
            return None
        spec = self._jobs.spec(key)
        number = self._number(folder)
        extra: dict[str, Any] = {"native_id": number or "", "queue": spec.queue or self._site.queue}
        # The queue is asked first: what ends meanwhile leaves its outcome below.
        job = self._slurm.mine().get(number) if number else None
        if ended := self._jobs.ended(key, spec):
            return ended.model_copy(update=extra)
        facts = self._jobs.facts(key, spec) | extra
        if number is None:
            return Job(state=JobState.NEW, reason="It has not been submitted yet.", **facts)
        if job is None:
            return self._gone(folder, number, facts)
        facts["queue"] = job.partition
        if job.state == "PENDING":
            return Job(
                state=JobState.QUEUED,
                reason=self._slurm.explain(job),
                position=self._slurm.position(job),
                estimated_start=job.start,
                **facts,
            )
        return Job(state=JobState.ACTIVE, **facts)

    def cancel(self, key: str) -> None:
        """End the job. See :class:`Scheduler`."""
        self.cancel_all([key])

    def cancel_all(self, keys: Sequence[str]) -> None:
        """End many jobs, in as few requests as Slurm allows."""
        numbers = [number for key in keys if (number := self._withdrawn(self._jobs.path(key)))]
        for first in range(0, len(numbers), _ARRAY_SIZE):
            self._slurm.cancel(*numbers[first : first + _ARRAY_SIZE])

    def result(self, key: str) -> Any:
        """Return what a completed job wrote. See :class:`Scheduler`."""
        return self._jobs.result(key)

    def output(self, key: str, name: str) -> Path:
        """Return a file that the job wrote. See :class:`Scheduler`."""
        return self._jobs.output(key, name)

    def render(self, spec: JobSpec) -> str:
        """Return the batch script. See :class:`Scheduler`."""
        return self._script(spec, _job_name([spec]))

    def queues(self) -> list[Queue]:
        """Return the partitions. See :class:`Scheduler`."""
        return self._slurm.queues()

    def _withdrawn(self, folder: Path) -> str:
        """Write down that a job is to end, and return its number; empty where it has ended or has none."""
        if not folder.exists() or (folder / ENDED).exists():
            return ""
        with alone(folder):
            write(folder / CANCELED, {})
            number = self._number(folder)
            if number is None:
                # It must not be started by a submission that is repeated later either.
                write(folder / NATIVE, {"id": ""})
        return number or ""

    def _check(self, spec: JobSpec) -> None:
        if spec.image and not self._site.slurm.container:
            raise InvalidInput(
                f"The job {spec.name!r} names an image, but this site does not say how its machines run images. Leave "
                "it out, or ask the operator to set compute.slurm.container."
            )
        queue = spec.queue or self._site.queue
        self._slurm.check(f"The job {spec.name!r}", queue, spec.resources, spec.walltime_s)

    def _submit_groups(self, groups: Iterable[list[JobSpec]]) -> None:
        self._arrays.mkdir(mode=0o700, exist_ok=True)
        with alone(self._arrays):
            self._settle()
            for group in groups:
                waiting = [spec for spec in group if not self._known(self._jobs.path(spec.key))]
                for first in range(0, len(waiting), _ARRAY_SIZE):
                    self._submit_array(waiting[first : first + _ARRAY_SIZE])

    def _submit_array(self, specs: list[JobSpec]) -> None:
        """Submit jobs as one array, or, where the queue has no room for it, as many of them as it has room for."""
        name, folders = _job_name(specs), [str(self._jobs.path(spec.key)) for spec in specs]
        listing, note = Path(min(folders)) / f"{name}.json", self._arrays / f"{name}.json"
        write(listing, {"folders": folders})
        write(note, {"folders": folders})  # kept where the answer does not come: see _settle
        try:
            number = self._slurm.submit(self._script(specs[0], name, array=listing, size=len(specs)), name)
        except (QueueFull, InvalidInput) as error:
            note.unlink()
            listing.unlink()
            half = len(specs) // 2
            if isinstance(error, InvalidInput) or not half:
                raise
            self._submit_array(specs[:half])
            self._submit_array(specs[half:])
            return
        self._write_numbers(folders, number)
        note.unlink()

    def _settle(self) -> None:
        """Write down the numbers of arrays that Slurm may have taken without an answer, or whose numbers were cut off."""
        for note in sorted(self._arrays.glob("*.json")):
            if numbers := self._slurm.named(note.stem):
                self._write_numbers((read(note) or {})["folders"], numbers[-1])
            note.unlink()

    def _write_numbers(self, folders: Sequence[str], number: str) -> None:
        for index, folder in enumerate(map(Path, folders)):
            if not self._known(folder):
                write(folder / NATIVE, {"id": f"{number}_{index}"})

    @staticmethod
    def _number(folder: Path) -> str | None:
        """Number of its job, and of the one that began it where two were submitted; None before it is submitted."""
        started, native = read(folder / STARTED), read(folder / NATIVE)
        if started and started["native_id"]:
            return str(started["native_id"])
        return str(native["id"]) if native else None

    @staticmethod
    def _known(target: Path) -> bool:
        return (target / NATIVE).exists() or (target / STARTED).exists()

    def _job(self, key: str) -> Job:
        job = self.status(key)
        assert job is not None  # noqa: S101 - its folder was written before
        return job

    def _gone(self, folder: Path, number: str, facts: dict[str, Any]) -> Job:
        """Say what became of a job that the queue no longer has and that left no outcome."""
        if (folder / CANCELED).exists():
            return Job(state=JobState.CANCELED, reason="It was canceled.", **facts)
        ended = self._slurm.ended(number)
        # It may have written its outcome since it was looked for.
        if written := self._jobs.ended(facts["key"], self._jobs.spec(facts["key"])):
            return written.model_copy(update={"native_id": number, "queue": facts["queue"]})
        if ended is None:
            words = (
                "Slurm no longer knows it, and it left no outcome; whether the work was done is not known."
            )
            return Job(state=JobState.FAILED, reason=words, **facts)
        if ended.state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"):
            return Job(state=JobState.ACTIVE if facts["started"] else JobState.QUEUED, **facts)
        if ended.state == "COMPLETED" and not missed_for(folder, _VISIBLE_S):
            # Another machine wrote it: a network's file system may show it here some time later.
            reason = "It has ended; its outcome is about to appear."
            return Job(state=JobState.ACTIVE, reason=reason, **facts)
        words = _STATES.get(ended.state, f"It ended as {ended.state} and left no outcome.")
        state = JobState.CANCELED if ended.state == "CANCELLED" else JobState.FAILED
        return Job(state=state, reason=words, exit_code=ended.exit_code, **facts)

    def _script(self, spec: JobSpec, name: str, array: Path | None = None, size: int = 0) -> str:
        slurm = self._site.slurm
        folder = array.parent if array else self._jobs.path(spec.key)
        options = [*slurm.options, "--requeue" if spec.requeue else "--no-requeue", "--open-mode=append"]
        if array:
            options.append(f"--array=0-{size - 1}")
        lines = directives(
            name,
            spec.resources,
            spec.walltime_s,  # the wrapper ends it in time; Slurm counts in whole minutes
            queue=spec.queue or self._site.queue,
            account=spec.account or self._site.account,
            output=str(folder / ("slurm-%a.log" if array else "slurm.log")),
            options=options,
        )
        command = [self._site.python or sys.executable, "-m", wrapper.__name__]
        command += ["--array", str(array)] if array else [str(folder)]
        launcher = self._launcher(spec)
        command += ["--", *launcher] if launcher else []
        return "\n".join(["#!/bin/sh", *lines, *slurm.prologue, f"exec {shlex.join(command)}", ""])

    def _launcher(self, spec: JobSpec) -> list[str]:
        """Words before the command: one process for each that was asked for, in the image that was asked for."""
        resources = spec.resources
        words = []
        if resources.nodes * resources.processes_per_node > 1:
            words += ["srun", "--kill-on-bad-exit=1"]
        if spec.image:
            words += [word.replace("{image}", spec.image) for word in self._site.slurm.container]
        return words


def _request(spec: JobSpec) -> str:
    """Return what of a job its Slurm job is made from: equal for those that can be one array."""
    wanted = spec.model_dump(
        mode="json", include={"resources", "walltime_s", "queue", "account", "image", "requeue"}
    )
    return json.dumps(wanted, sort_keys=True)


def _job_name(specs: Sequence[JobSpec]) -> str:
    """Return the name that Slurm shows: it tells the job apart, also after its number was lost."""
    keys = "\n".join(sorted(spec.key for spec in specs))
    return f"gw-{hashlib.sha256(keys.encode()).hexdigest()[:24]}"
