"""A real PostgreSQL, started by the tests from Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql():
    """URL of a fresh server's database, on loopback."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        reason = "PostgreSQL is missing: apt-get install postgresql"
        if os.environ.get("REQUIRE_POSTGRESQL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    programs = found[-1]
    # The server refuses to run as root: Debian's package brings an account for it.
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program, *arguments):
        command = [str(programs / program), *arguments]
        options = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    data = str(folder / "data")
    run(
        "initdb",
        "--pgdata",
        data,
        "--username",
        "ledger",
        "--auth",
        "trust",
        "--no-sync",
        "--encoding",
        "UTF8",
    )
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", settings)
    try:
        yield f"postgresql+psycopg://ledger@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)
