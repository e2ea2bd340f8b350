"""The small process above one job: starts it once, watches its limits, writes how it ended.

Run as ``python -m genesis_workbench.compute.schedulers.wrapper FOLDER [-- LAUNCHER ...]``, on this machine by the
local scheduler, as the batch script of Slurm's jobs and in the pods of Kubernetes' Jobs; ``--array FILE`` takes the
folder of this element of an array.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil

from genesis_workbench.compute.job import JobSpec, JobState
from genesis_workbench.compute.last_words import last_words
from genesis_workbench.compute.schedulers._folder import CANCELED, ENDED, STARTED, read, write
from genesis_workbench.core import clock

LOCK = "lock"
_CGROUP = Path("/sys/fs/cgroup")
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
_GRACE_S = 5.0
_SAVE_S = 25.0
"""Below the 30 s that Slurm and our own pods give between the word to end and the end."""
_HEAR_S = 10.0
"""Slurm tells the steps of a job to end before the batch script, on a busy machine by seconds: a command that ended so is not
taken for one that failed before this process could have heard of it."""
_told_to_end = threading.Event()  # by SIGTERM; looked at where nothing is half done
_held: list[IO[str]] = []  # an open file keeps its lock until the process ends, however it ends


class _ToldToEnd(Exception):
    """SIGTERM came."""


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


def claim(folder: Path, *, again: bool = False) -> bool:
    """Become the one that runs (or cancels) this job; False where somebody was first.

    With `again`, a job that Slurm itself has put back into its queue, or that Kubernetes has given another pod, may be
    started once more.
    """
    file = (folder / LOCK).open("a")
    try:
        # A reader of `locked` holds it for an instant, and the pod that this one replaces until it has ended: try for a
        # while.
        for _ in range(2000 if again and _pod() else 50):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.02)
        else:
            file.close()
            return False
        native, restarts = _native()
        started, pod = read(folder / STARTED), _pod()
        if started and pod != started.get("pod", ""):
            restarts = started["restarts"] + 1  # Kubernetes does not count
        if started and not (again and native == started["native_id"] and restarts > started["restarts"]):
            file.close()
            return False
        about = {"time": clock.now(), "pid": os.getpid(), "native_id": native, "restarts": restarts}
        write(folder / STARTED, about | ({"pod": pod} if pod else {}))
    except BaseException:
        file.close()
        raise
    _held.append(file)
    return True


def release(folder: Path) -> None:
    """Let go of a job that :func:`claim` gave to this process, which goes on with other work."""
    for file in [each for each in _held if Path(each.name) == folder / LOCK]:
        _held.remove(file)
        file.close()


def _pod() -> str:
    """Name of the pod that this is; empty elsewhere."""
    return os.environ.get("GENESIS_POD", "")


def _native() -> tuple[str, int]:
    """Return what the scheduler calls this job and how often it has started it again."""
    if name := os.environ.get("GENESIS_NATIVE_ID"):
        return name, 0
    number = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")
    if index := os.environ.get("SLURM_ARRAY_TASK_ID"):
        number += f"_{index}"
    return number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def end(folder: Path, state: JobState, reason: str, exit_code: int | None) -> None:
    """Write how it ended, in one step."""
    write(
        folder / ENDED, {"time": clock.now(), "state": str(state), "reason": reason, "exit_code": exit_code}
    )


def run(folder: Path, launcher: Sequence[str] = ()) -> None:
    """Run the job in `folder`, unless it was started before or has ended.

    Parameters
    ----------
    folder : Path
        The job's folder.
    launcher : sequence of str
        Words before its command, such as ``srun``.
    """
    spec = JobSpec.model_validate_json((folder / "spec.json").read_bytes())
    # Before it is known to have started, so that whoever cancels it from then on finds it ready.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: _told_to_end.set())
    if (folder / ENDED).exists() or (folder / CANCELED).exists():
        return
    if not claim(folder, again=spec.requeue):
        # Kubernetes tries again where a pod failed, and only there.
        sys.exit(1 if _pod() and spec.requeue else 0)
    command = [*launcher, *spec.command]
    with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **spec.environment, "GENESIS_JOB_FOLDER": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            end(folder, JobState.FAILED, f"{command[0]!r} could not be started: {error.strerror}.", None)
            return
        try:
            state, reason = _watch(process, spec, memory=not launcher)
        except _ToldToEnd:
            # What is started again, or was promised a warning, may be saving where it stands.
            _end_tree(process, _SAVE_S if spec.requeue or spec.warning_s else _GRACE_S)
            native, _ = _native()
            if native and spec.requeue and not (folder / CANCELED).exists():
                # Taken off its machine: it is started again, and goes on. Kubernetes does so only where it failed.
                sys.exit(1 if _pod() else 0)
            state, reason = _interrupted(folder, native)
    if state is JobState.FAILED and not reason and process.returncode in _KILLED and _out_of_memory():
        reason = "It used more memory than its machine lets it have. Ask for more."
    if state is JobState.FAILED and not reason:
        reason = f"It ended with exit status {process.returncode}. {last_words(folder / 'stderr')}".strip()
    end(folder, state, reason, process.returncode)


def _interrupted(folder: Path, native: str) -> tuple[JobState, str]:
    if not native or (folder / CANCELED).exists():
        return JobState.CANCELED, "It was canceled."
    who = "Kubernetes" if _pod() else "Slurm"
    return (
        JobState.FAILED,
        f"{who} ended it: it was canceled by an operator, a job of a higher priority took its machines, or they were "
        "shut down. Whether the work was done is not known.",
    )


def _out_of_memory() -> bool:
    """Whether the kernel killed a process of this pod for its memory; asked of its control group, version 2 or 1."""
    if not _pod():
        return False  # elsewhere the group is not this job's alone
    for file in ("memory.events", "memory/memory.oom_control"):
        with contextlib.suppress(OSError):
            facts = dict(line.split() for line in (_CGROUP / file).read_text().splitlines())
            return int(facts.get("oom_kill", 0)) > 0
    return False


def _watch(process: subprocess.Popen[bytes], spec: JobSpec, *, memory: bool = True) -> tuple[JobState, str]:
    deadline = time.monotonic() + spec.walltime_s
    warning = deadline - spec.warning_s if spec.warning_s else math.inf
    limit = spec.resources.memory_bytes if memory else 0
    while True:
        try:
            code = process.wait(timeout=0.2)
            if code in _TERMINATED:
                _told_to_end.wait(_HEAR_S)
            if code and _told_to_end.is_set():
                raise _ToldToEnd
            return (JobState.COMPLETED, "") if code == 0 else (JobState.FAILED, "")
        except subprocess.TimeoutExpired:
            pass
        if _told_to_end.is_set():
            raise _ToldToEnd
        if time.monotonic() > warning:
            warning = math.inf
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            _end_tree(process)
            return (
                JobState.FAILED,
                f"It ran longer than its {spec.walltime_s:g} s. Ask for a longer walltime.",
            )
        used = _memory(process.pid) if limit else 0
        if used > limit:
            # What processes share was counted once for each; to count it once is dearer.
            used = _memory(process.pid, shared_once=True)
        if used > limit:
            _end_tree(process)
            return JobState.FAILED, f"It used {used} bytes of memory; it had asked for {limit}. Ask for more."


def _memory(pid: int, *, shared_once: bool = False) -> int:
    used = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                used += _shares(process) if shared_once else process.memory_info().rss
    return used


def _shares(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:  # of one that has become another account's
        return int(process.memory_info().rss)


def _end_tree(process: subprocess.Popen[bytes], grace_s: float = _GRACE_S) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _main(words: list[str]) -> None:
    launcher: list[str] = []
    if "--" in words:
        cut = words.index("--")
        words, launcher = words[:cut], words[cut + 1 :]
    if words[0] == "--array":
        folders = (read(Path(words[1])) or {})["folders"]
        run(Path(folders[int(os.environ["SLURM_ARRAY_TASK_ID"])]), launcher)
    else:
        run(Path(words[0]), launcher)


if __name__ == "__main__":
    _main(sys.argv[1:])
