"""Jobs as processes of this machine.

A job is a folder. Its appearing, by one atomic rename, is the intent to run it; ``started.json``, made once by the
one process that holds the folder's lock, is the start; ``ended.json`` is the outcome. Whoever is killed in between
leaves a folder from which the next one goes on, and nothing starts twice.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import psutil

from genesis_workbench.compute.job import Job, JobSpec, JobState
from genesis_workbench.compute.schedulers import wrapper
from genesis_workbench.core import clock
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.identifiers import canonical_json, check_slug

_RESULT_LIMIT = 16 * 2**20
_watchers: list[subprocess.Popen[bytes]] = []  # of this process, so that those that ended are reaped


class LocalScheduler:
    """Runs each job below a small process of its own, which outlives whoever submitted it.

    Parameters
    ----------
    folder : Path
        Where the jobs' folders are kept.
    """

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def submit(self, spec: JobSpec) -> Job:
        """Run `spec` unless its key is known. See :class:`Scheduler`."""
        self._refuse_the_impossible(spec)
        target = self._folder(spec.key)
        if not target.exists():
            self._publish(spec, target)
        kept = JobSpec.model_validate_json((target / "spec.json").read_bytes())
        if kept != spec:
            raise Conflict(
                f"The key {spec.key} belongs to another job ({kept.name!r}). Use a key of its own for each job."
            )
        if not (target / wrapper.STARTED).exists():
            self._start(target)
        job = self.status(spec.key)
        assert job is not None  # noqa: S101 - its folder was written above
        return job

    def status(self, key: str) -> Job | None:
        """Return the job with this key. See :class:`Scheduler`."""
        folder = self._folder(key)
        if not folder.exists():
            return None
        spec = JobSpec.model_validate_json((folder / "spec.json").read_bytes())
        running = wrapper.locked(folder)  # asked first: what ends meanwhile leaves its outcome below
        started, ended = wrapper.read(folder / wrapper.STARTED), wrapper.read(folder / wrapper.ENDED)
        facts: dict[str, Any] = {
            "key": key,
            "name": spec.name,
            "submitted": json.loads((folder / "submitted.json").read_text())["time"],
            "started": started and started["time"],
            "folder": str(folder),
        }
        if ended:
            code = ended["exit_code"]
            state = JobState(ended["state"])
            return Job(state=state, reason=ended["reason"], exit_code=code, ended=ended["time"], **facts)
        if started is None:
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
        folder = self._folder(key)
        started = wrapper.read(folder / wrapper.STARTED)
        if started is None:
            # Not started: take its place, so that it never does.
            if folder.exists() and wrapper.claim(folder):
                wrapper.end(folder, JobState.CANCELED, "It was canceled before it started.", None)
            return
        if wrapper.locked(folder) and psutil.pid_exists(started["pid"]):
            os.kill(started["pid"], signal.SIGTERM)

    def result(self, key: str) -> Any:
        """Return what a completed job wrote. See :class:`Scheduler`."""
        file = self._folder(key) / "result.json"
        if not file.is_file():
            raise NotFound(f"The job {key} wrote no result.json.")
        if file.stat().st_size > _RESULT_LIMIT:
            raise InvalidInput(
                f"The result of the job {key} has {file.stat().st_size} bytes, more than {_RESULT_LIMIT}. Write large "
                "results to a file of their own and name it in result.json."
            )
        try:
            return json.loads(file.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"The result.json of the job {key} is not JSON: {error}.") from error

    def render(self, spec: JobSpec) -> str:
        """Return the command as a person would type it. See :class:`Scheduler`."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(spec.environment.items())]
        limit = [f"# memory: {spec.resources.memory_bytes} bytes"] if spec.resources.memory_bytes else []
        return "\n".join(
            [
                f"# {spec.name}: at most {spec.walltime_s:g} s, {spec.resources.cpu_cores} core(s)",
                *limit,
                f"cd {shlex.quote(str(self._folder(spec.key)))}",
                " ".join([*variables, shlex.join(spec.command)]),
            ]
        )

    def _folder(self, key: str) -> Path:
        return self.folder / check_slug(key, "job")

    def _publish(self, spec: JobSpec, target: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = Path(tempfile.mkdtemp(dir=self.folder, prefix=".draft-"))
        (draft / "spec.json").write_text(spec.model_dump_json())
        (draft / "arguments.json").write_bytes(canonical_json(spec.arguments))
        (draft / "submitted.json").write_text(json.dumps({"time": clock.now()}))
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)
            if not target.exists():
                raise

    def _start(self, target: Path) -> None:
        _watchers[:] = [watcher for watcher in _watchers if watcher.poll() is None]
        watcher = subprocess.Popen(
            [sys.executable, "-m", wrapper.__name__, str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _watchers.append(watcher)

    @staticmethod
    def _refuse_the_impossible(spec: JobSpec) -> None:
        cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
        if spec.resources.cpu_cores > cores:
            raise InvalidInput(
                f"The job {spec.name!r} asks for {spec.resources.cpu_cores} cores; this machine has {cores}. "
                f"Ask for at most {cores}."
            )
        if spec.resources.memory_bytes > memory:
            raise InvalidInput(
                f"The job {spec.name!r} asks for {spec.resources.memory_bytes} bytes of memory; this machine has "
                f"{memory}. Ask for less."
            )
