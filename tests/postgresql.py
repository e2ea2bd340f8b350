"""A real PostgreSQL for tests and benchmarks, started from Debian's package on loopback and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MISSING = "PostgreSQL is missing: apt-get install postgresql"


def programs() -> Path | None:
    """Return the folder of the newest version's programs; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


@contextmanager
def server(user: str, **settings: str) -> Iterator[str]:
    """Yield ``user@host:port/database`` of a fresh server, whose superuser `user` is let in without a password.

    Raises
    ------
    RuntimeError
        If PostgreSQL is not installed, or a program of it fails.
    """
    found = programs()
    if found is None:
        raise RuntimeError(MISSING)
    root = os.geteuid() == 0
    # The server refuses to run as root: Debian's package brings an account for it.
    account = pwd.getpwnam("postgres") if root else pwd.getpwuid(os.geteuid())
    options: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid} if root else {}
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [str(found / program), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", user, "--auth", "trust", "--no-sync", "--encoding", "UTF8")
    own = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), **settings}
    chosen = " ".join(f"-c {name}={value}" for name, value in own.items())
    run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", f"-p {port} {chosen}")
    try:
        yield f"{user}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)
