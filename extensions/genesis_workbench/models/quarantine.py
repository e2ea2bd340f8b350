"""Where bytes that nobody has vouched for are parsed, loaded and run: a process of its own that can do little.

It has no environment (so no token), limited memory and processor time, may write no file, and an audit hook in it ends
whatever would start a program, open a connection or unpickle. It says in one line of JSON what it found. The process
that asks never parses such bytes itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.errors import BY_CODE, GenesisError, Unavailable, VerificationFailed

if TYPE_CHECKING:
    from genesis_workbench.models.record import ModelVersion

DEADLINE_S = 90.0
MEMORY_BYTES = 2 * 1024**3
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_REFUSED_EVENTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "pickle.find_class",
    "socket.connect", "socket.bind", "socket.getaddrinfo", "os.remove", "os.rename", "os.link", "os.symlink", "os.chmod",
    "os.mkdir", "os.rmdir", "os.truncate", "shutil", "ctypes.dlopen", "ftplib.connect", "urllib.Request",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def examine(
    version: ModelVersion, data: bytes, *, deadline_s: float = DEADLINE_S, memory_bytes: int = MEMORY_BYTES
) -> None:
    """Check, load and self-test an artifact in a process of its own.

    Parameters
    ----------
    version : ModelVersion
        What it claims to be.
    data : bytes
        The artifact.
    deadline_s, memory_bytes : float, int
        What it may use: seconds, and bytes beyond what the libraries take.

    Raises
    ------
    VerificationFailed
        If the artifact is refused, gives other numbers, or does not end within the limits.
    TooLarge, MissingDependency
        As the format says.
    """
    request = json.dumps(
        {"version": version.model_dump(mode="json"), "deadline_s": deadline_s, "memory_bytes": memory_bytes}
    ).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-W", "ignore", "-m", "genesis_workbench.models.quarantine"],
            input=len(request).to_bytes(8, "little") + request + data,
            capture_output=True,
            check=False,
            timeout=deadline_s,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            close_fds=True,
        )
    except subprocess.TimeoutExpired as error:
        raise VerificationFailed(
            f"{version.reference} did not finish loading and its self-test within {deadline_s:g} s, so it is not taken."
        ) from error
    except OSError as error:
        raise Unavailable(
            f"No process for checking {version.reference} could be started ({error.strerror}). Try again.",
        ) from error
    answer = _answer(done.stdout)
    if answer is None:
        raise VerificationFailed(
            f"{version.reference} brought down the process that checked it ({_ended(done.returncode)}), so it is not taken.",
            detail=done.stderr[-2000:].decode("utf-8", "replace"),
        )
    if answer["code"]:
        raise BY_CODE.get(answer["code"], VerificationFailed)(answer["message"], detail=answer["detail"])


def _answer(output: bytes) -> dict[str, str] | None:
    lines = output.splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith(b'{"code":') else None


def _ended(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    import signal

    name = signal.Signals(-status).name
    reasons = {"SIGXCPU": "too much processor time", "SIGKILL": "too much time or memory"}
    return f"{name}: {reasons.get(name, 'it crashed')}"


def _main() -> None:
    """Run in the quarantine: a request on standard input, one line on the real standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    request = json.loads(sys.stdin.buffer.read(size))
    data = sys.stdin.buffer.read()
    found = {"code": "", "message": "", "detail": ""}
    try:
        _check(request, data)
    except GenesisError as error:
        found = {"code": error.code, "message": str(error), "detail": error.detail}
    except MemoryError:
        message = f"It needs more than {request['memory_bytes'] / 2**30:.1f} GB to load and test, so it is not taken."
        found = {"code": VerificationFailed.code, "message": message, "detail": ""}
    except Exception as error:  # noqa: BLE001 - whatever it did, it is refused with what happened
        message = f"The artifact cannot be loaded: {type(error).__name__}: {str(error)[:300]}."
        found = {"code": VerificationFailed.code, "message": message, "detail": repr(error)}
    os.write(answers, json.dumps(found).encode() + b"\n")
    os._exit(0)  # nothing that was loaded gets to say goodbye


def _check(request: dict[str, Any], data: bytes) -> None:
    from genesis_workbench.models.record import ModelVersion
    from genesis_workbench.models.selftest import examine as examine_here
    from genesis_workbench.models.selftest import format_of

    version = ModelVersion.model_validate(request["version"])
    model_format = format_of(version.format)
    model_format.warm()
    confine(request["memory_bytes"], request["deadline_s"])
    examine_here(version, data, model_format)


def confine(memory_bytes: int, processor_s: float | None = None) -> None:
    """Let this process do little from now on: memory beyond what it has, processor time, no files, programs or connections."""
    _limit(memory_bytes, processor_s)
    sys.addaudithook(_guard)


def _limit(memory_bytes: int, processor_s: float | None) -> None:
    limits = {"RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    if processor_s is not None:
        limits["RLIMIT_CPU"] = int(processor_s) + 1
    statm = "/proc/self/statm"
    if os.path.exists(statm):  # noqa: PTH110 - Linux; elsewhere the deadline alone holds
        with open(statm, encoding="ascii") as file:  # noqa: PTH123
            used = int(file.read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = used + memory_bytes
    for name, value in limits.items():
        _, most = resource.getrlimit(getattr(resource, name))
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(getattr(resource, name), (wanted, wanted))


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _, mode, flags = (*arguments, 0, 0)[:3]
        writes = isinstance(flags, int) and flags & _WRITING
        if not (writes or (isinstance(mode, str) and set(mode) & set("wax+"))):
            return
    elif not event.startswith(_REFUSED_EVENTS):
        return
    with contextlib.suppress(OSError):
        os.write(2, f"refused: {event}\n".encode())
    raise VerificationFailed(f"Loading the artifact would {_deed(event)}, so it is not taken.", detail=event)


def _deed(event: str) -> str:
    if event == "pickle.find_class":
        return "unpickle something"
    if event == "open":
        return "write a file"
    if event.startswith(("socket", "ftplib", "urllib")):
        return "open a connection"
    return f"call {event}"


if __name__ == "__main__":
    _main()
