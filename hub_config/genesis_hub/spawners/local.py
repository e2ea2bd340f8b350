"""Servers as processes on this machine, under the account that runs the hub."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Unicode

from genesis_hub.spawners._base import DASHBOARD_VARIABLE, WorkbenchSpawner
from genesis_workbench.core.homes import copy_tutorials, runtime_folder


class LocalSpawner(WorkbenchSpawner, LocalProcessSpawner):
    """A process of the hub's own account, with a home folder for each person below the state folder.

    People on one laptop share the machine's account: their homes are apart, but not guarded from each other's code.
    """

    homes = Unicode(help="Folder that holds one home for each person.").tag(config=True)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Give the server its own home."""
        env["USER"] = self.user.name
        env["HOME"] = str(self._home())
        env["SHELL"] = "/bin/sh"
        env["JUPYTER_RUNTIME_DIR"] = str(runtime_folder(self._home()))
        if self.dashboard:
            env[DASHBOARD_VARIABLE] = self.dashboard
        return env

    def make_preexec_fn(self, name: str) -> Any:
        """Change no account: there is one."""
        home = self._home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy_tutorials(Path(self.tutorials), home / "tutorials")
        memory = self.profile().memory_bytes
        # Of each process, its kernels included: what is asked for beyond fails in that process alone.
        return lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)) if memory else None

    async def start(self) -> Any:
        """Start in the person's home: their Lab, or one of their dashboards."""
        self.mem_limit = self.profile().memory_bytes or None
        if self.dashboard:
            self.cmd = self.command(sys.executable)
            self.args: list[str] = []
        self.popen_kwargs = {"cwd": str(self._home()), "start_new_session": True}
        return await super().start()

    def _home(self) -> Path:
        return Path(self.homes) / self.user.name
