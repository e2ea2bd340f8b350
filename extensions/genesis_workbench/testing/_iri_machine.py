"""The machines behind the facility in iri.py: jobs as processes, a file system in one folder, tasks on it."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 5_242_880
_FINAL = ("completed", "failed", "canceled")


@dataclass
class RunningJob:
    """A job that was taken."""

    spec: dict[str, Any]
    number: int
    id: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:12]}")
    state: str = "queued"
    message: str = ""
    exit_code: int | None = None
    time: float = field(default_factory=time.time)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    cancel: bool = False

    def described(self, *, spec: bool) -> dict[str, Any]:
        """Return it as the API does."""
        status = {
            "state": self.state,
            "time": self.time,
            "message": self.message,
            "exit_code": self.exit_code,
        }
        return {"id": self.id, "status": status, **({"job_spec": self.spec} if spec else {})}


class Machine:
    """Runs jobs one after the other in `slots`, and keeps files below `folder`.

    Parameters
    ----------
    folder : Path
        The only folder that jobs and file operations may use.
    slots : int
        Jobs that run at once.

    Attributes
    ----------
    hold : bool
        While it is set, nothing starts.
    """

    def __init__(self, folder: Path, slots: int = 4) -> None:
        self.folder = folder.resolve()
        self.hold = False
        self.jobs: dict[str, RunningJob] = {}
        self._slots = threading.Semaphore(slots)
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def take(self, spec: dict[str, Any]) -> RunningJob:
        """Queue a job."""
        job = RunningJob(spec, len(self.jobs) + 1)
        self.jobs[job.id] = job
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return job

    def end(self, job: RunningJob) -> None:
        """Cancel a job."""
        job.cancel = True
        for process in job.processes:
            _kill(process)

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        for job in self.jobs.values():
            self.end(job)
        for thread in self._threads:
            thread.join(timeout=20)

    def files(self, command: str, arguments: dict[str, Any]) -> Any:
        """Do one operation on files and return its output. Raises OSError or ValueError where it cannot."""
        path = Path(str(arguments["path"]))
        if not path.resolve().is_relative_to(self.folder):
            raise ValueError(f"{path} is outside of what you may use")
        operations: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
            "mkdir": _mkdir, "chmod": _chmod, "stat": _stat, "upload": _upload, "download": _download, "tail": _tail,
        }  # fmt: skip
        return operations[command](path, arguments)

    def _run(self, job: RunningJob) -> None:
        while self.hold and not (job.cancel or self._closed.is_set()):
            time.sleep(0.01)
        with self._slots:
            if job.cancel or self._closed.is_set():
                self._finish(job, "canceled", "canceled before it started", None)
                return
            try:
                self._start(job)
            except (OSError, ValueError) as error:
                self._finish(job, "failed", f"it could not be started: {error}", None)
                return
            job.state, job.time = "active", time.time()
            self._watch(job)

    def _start(self, job: RunningJob) -> None:
        spec = job.spec
        directory = Path(spec.get("directory") or self.folder)
        if not directory.resolve().is_relative_to(self.folder):
            raise ValueError(f"{directory} is outside of what you may use")
        environment = {"PATH": os.environ["PATH"], **spec.get("environment", {})}
        with (
            Path(spec.get("stdout_path") or os.devnull).open("ab") as out,
            Path(spec.get("stderr_path") or os.devnull).open("ab") as err,
        ):
            how: dict[str, Any] = {
                "cwd": directory,
                "stdin": subprocess.DEVNULL,
                "stdout": out,
                "stderr": err,
            }
            if spec.get("pre_launch"):
                before = ["/bin/sh", "-c", spec["pre_launch"]]
                code = subprocess.run(before, env=environment, check=False, **how).returncode
                if code:
                    job.exit_code = code
                    return
            for rank in range(spec.get("resources", {}).get("process_count") or 1):
                command = [spec["executable"], *spec.get("arguments", [])]
                variables = environment | {"PSIJ_RANK": str(rank)}
                job.processes.append(subprocess.Popen(command, env=variables, start_new_session=True, **how))
                if job.cancel:
                    _kill(job.processes[-1])

    def _watch(self, job: RunningJob) -> None:
        until = time.monotonic() + (job.spec.get("attributes", {}).get("duration") or 3600)
        late = False
        while any(process.poll() is None for process in job.processes):
            late = late or time.monotonic() > until
            if late or job.cancel:
                for process in job.processes:
                    _kill(process)
            time.sleep(0.01)
        codes = [process.returncode for process in job.processes] or [job.exit_code]
        code = next((each for each in codes if each), 0)
        if job.cancel:
            self._finish(job, "canceled", "canceled by its owner", code)
        elif late:
            self._finish(job, "failed", "TIMEOUT: the job reached its time limit", code)
        else:
            self._finish(job, "failed" if code else "completed", "", code)

    @staticmethod
    def _finish(job: RunningJob, state: str, message: str, code: int | None) -> None:
        job.message, job.exit_code, job.time = message, code, time.time()
        job.state = state


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _mkdir(path: Path, arguments: dict[str, Any]) -> Any:
    parent = bool(arguments.get("parent"))  # as mkdir -p
    path.mkdir(parents=parent, exist_ok=parent)
    return _described(path)


def _chmod(path: Path, arguments: dict[str, Any]) -> Any:
    path.chmod(int(str(arguments["mode"]), 8))
    return _described(path)


def _stat(path: Path, _arguments: dict[str, Any]) -> Any:
    facts = path.stat()
    names = ("mode", "ino", "dev", "nlink", "uid", "gid", "size", "atime", "ctime", "mtime")
    return {name: int(getattr(facts, f"st_{name}")) for name in names}


def _upload(path: Path, arguments: dict[str, Any]) -> Any:
    path.write_bytes(arguments["content"])
    return str(path)


def _download(path: Path, _arguments: dict[str, Any]) -> Any:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError("the file is too large")
    return base64.b64encode(path.read_bytes()).decode()


def _tail(path: Path, arguments: dict[str, Any]) -> Any:
    return {"content": path.read_bytes()[-int(arguments["bytes"]) :].decode("utf-8", "replace")}


def _described(path: Path) -> dict[str, Any]:
    facts = path.stat()
    return {
        "name": path.name,
        "type": "directory" if path.is_dir() else "file",
        "permissions": oct(facts.st_mode & 0o777)[2:],
        "size": str(facts.st_size),
        "last_modified": str(int(facts.st_mtime)),
        "user": str(facts.st_uid),
        "group": str(facts.st_gid),
        "link_target": None,
    }
