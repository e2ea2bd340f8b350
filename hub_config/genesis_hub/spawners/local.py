"""Servers as processes on this machine, under the account that runs the hub."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Unicode

from genesis_hub.availability import Free, Places
from genesis_hub.names import safe_name, server_name
from genesis_hub.spawners._base import DASHBOARD_VARIABLE, WorkbenchSpawner, ended_at_once
from genesis_workbench.core import processes
from genesis_workbench.core.homes import copy_tutorials, runtime_folder

_LAST_LINES = 20


class LocalSpawner(WorkbenchSpawner, LocalProcessSpawner):
    """A process of the hub's own account, with a home folder for each person below the state folder.

    People on one laptop share the machine's account: their homes are apart, but not guarded from each other's code.
    """

    homes = Unicode(help="Folder that holds one home for each person.").tag(config=True)
    logs = Unicode(help="Folder that holds what each server says.").tag(config=True)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take a server up again after the hub restarted, if it is the same process still.

        After a restart of the machine its number may be another process's of the same account, which JupyterHub would take
        for the server, and end as it does not answer. That of another state folder is not this workbench's either.
        """
        super().load_state(state)
        if state.get("homes") != self.homes or not processes.lives(state.get("process")):
            self.pid = 0

    def get_state(self) -> dict[str, Any]:
        """Return what is kept in the hub's database."""
        about = {"process": processes.identity(self.pid), "homes": self.homes} if self.pid else {}
        return {**super().get_state(), **about}

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Give the server its own home."""
        env["USER"] = self.user.name
        env["HOME"] = str(self._home())
        env["SHELL"] = "/bin/sh"
        env["JUPYTER_RUNTIME_DIR"] = str(runtime_folder(self._home()))
        env |= self.rescue_variables(env["JUPYTER_RUNTIME_DIR"])
        if self.dashboard:
            env[DASHBOARD_VARIABLE] = self.dashboard
        return env

    def make_preexec_fn(self, name: str) -> Any:
        """Change no account: there is one."""
        home = self._home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.rescue:
            copy_tutorials(Path(self.tutorials), home / "tutorials")
            self._link_groups(home)
        memory = self.profile().memory_bytes
        # Of each process, its kernels included: what is asked for beyond fails in that process alone.
        return lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)) if memory else None

    async def start(self) -> Any:
        """Start in the person's home: their Lab, or one of their dashboards."""
        await self.refuse_full_home()
        self.args = [*self.args, *self.rescue_options()]
        self.tell(20, "Starting JupyterLab on this machine.")
        self.mem_limit = self.profile().memory_bytes or None
        if self.dashboard:
            self.cmd = self.command(sys.executable)
            self.args = []
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:  # to append: it may be shortened while the server writes
            told = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.popen_kwargs = {"cwd": str(self._home()), "start_new_session": True, **told}
            address = await super().start()
        self.tell(60, "Your server runs; waiting until JupyterLab answers.")
        await self._reachable()
        return address

    async def free(self) -> Places:
        """Return what this machine has free: cores that nothing waits for, and memory."""
        load, _, _ = os.getloadavg()
        idle = max((os.cpu_count() or 1) - load, 0.0)
        return {"": Free(idle, psutil.virtual_memory().available)}

    async def _reachable(self) -> None:
        """Wait until the server listens; one that ends first is told at once, with its last lines."""
        while self.proc.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(self.ip or "127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.1)
        said = self._log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
        last = f"Its last words: {said[-1][:300]}." if said else "It left no words."
        raise ended_at_once(
            "ended",
            f"Your server ended before it could be reached, with status {self.proc.returncode}. {last} Choose another "
            "profile, or show these lines to an administrator.",
            said,
        )

    @property
    def _log(self) -> Path:
        return Path(self.logs) / f"server-{self.user.name}-{server_name(self.name)}.log"

    def home_folder(self) -> Path:
        """Return the person's home."""
        return self._home()

    def _link_groups(self, home: Path) -> None:
        """Put the folders of the person's groups below ``groups`` in their home, and take away those of groups they left."""
        shared = home / "groups"
        if not shared.is_symlink():  # a link of their own stays as they made it
            shared.mkdir(exist_ok=True, mode=0o700)
            for link in shared.iterdir():
                if link.is_symlink() and link.name not in map(safe_name, self.groups):
                    link.unlink()
            for group in map(safe_name, self.groups):
                folder = Path(self.homes).parent / "groups" / group
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if not (shared / group).exists() and not (shared / group).is_symlink():
                    (shared / group).symlink_to(folder)

    def _home(self) -> Path:
        return Path(self.homes) / self.user.name
