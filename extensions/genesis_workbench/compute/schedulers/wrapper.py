"""The small process above one local job: starts it once, watches its limits, writes how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from genesis_workbench.compute.job import JobSpec, JobState
from genesis_workbench.compute.schedulers._folder import ENDED, STARTED, write
from genesis_workbench.core import clock

LOCK = "lock"
_held: list[IO[str]] = []  # an open file keeps its lock until the process ends, however it ends


def locked(folder: Path) -> bool:
    """Whether a process holds the job's lock now."""
    try:
        with (folder / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def claim(folder: Path) -> bool:
    """Become the one that runs (or cancels) this job; False where somebody was first."""
    file = (folder / LOCK).open("a")
    try:
        # A reader of `locked` holds it for an instant: try for a while.
        for _ in range(50):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.02)
        else:
            file.close()
            return False
        if (folder / STARTED).exists():
            file.close()
            return False
        write(folder / STARTED, {"time": clock.now(), "pid": os.getpid()})
    except BaseException:
        file.close()
        raise
    _held.append(file)
    return True


def end(folder: Path, state: JobState, reason: str, exit_code: int | None) -> None:
    """Write how it ended, in one step."""
    write(
        folder / ENDED, {"time": clock.now(), "state": str(state), "reason": reason, "exit_code": exit_code}
    )


def run(folder: Path) -> None:
    """Run the job in `folder`, unless it was started before."""
    if not claim(folder):
        return
    signal.signal(signal.SIGTERM, _interrupt)
    spec = JobSpec.model_validate_json((folder / "spec.json").read_bytes())
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        try:
            process = subprocess.Popen(
                spec.command,
                cwd=folder,
                env={**os.environ, **spec.environment, "GENESIS_JOB_FOLDER": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            end(
                folder,
                JobState.FAILED,
                f"{spec.command[0]!r} could not be started: {error.strerror}.",
                None,
            )
            return
        try:
            state, reason = _watch(process, spec)
        except KeyboardInterrupt:
            _end_tree(process)
            state, reason = JobState.CANCELED, "It was canceled."
    if state is JobState.FAILED and not reason:
        reason = f"It ended with exit status {process.returncode}. {_last_line(folder / 'stderr')}".strip()
    end(folder, state, reason, process.returncode)


def _watch(process: subprocess.Popen[bytes], spec: JobSpec) -> tuple[JobState, str]:
    deadline = time.monotonic() + spec.walltime_s
    limit = spec.resources.memory_bytes
    while True:
        try:
            code = process.wait(timeout=0.2)
            return (JobState.COMPLETED, "") if code == 0 else (JobState.FAILED, "")
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            _end_tree(process)
            return (
                JobState.FAILED,
                f"It ran longer than its {spec.walltime_s:g} s. Ask for a longer walltime.",
            )
        used = _memory(process.pid) if limit else 0
        if used > limit:
            _end_tree(process)
            return JobState.FAILED, f"It used {used} bytes of memory; it had asked for {limit}. Ask for more."


def _memory(pid: int) -> int:
    used = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                used += process.memory_info().rss
    return used


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return f"Its last words: {lines[-1][:300]}" if lines else ""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run(Path(sys.argv[1]))
