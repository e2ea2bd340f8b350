"""Servers as processes on this machine, under the account that runs the hub."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Unicode

DASHBOARD_VARIABLE = "GENESIS_DASHBOARD"
_DASHBOARD = re.compile(r"dsh-[0-9a-f]{16}")


class LocalSpawner(LocalProcessSpawner):
    """A process of the hub's own account, with a home folder for each person below the state folder.

    People on one laptop share the machine's account: their homes are apart, but not guarded from each other's code.
    """

    homes = Unicode(help="Folder that holds one home for each person.").tag(config=True)
    tutorials = Unicode(help="Folder of tutorials copied into each home.").tag(config=True)

    @property
    def dashboard(self) -> str:
        """Identifier of the dashboard that this server is for; empty where it is a person's Lab."""
        wanted = str((self.user_options or {}).get("dashboard", ""))
        return wanted if wanted == self.name and _DASHBOARD.fullmatch(wanted) else ""

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Give the server its own home."""
        env["USER"] = self.user.name
        env["HOME"] = str(self._home())
        env["SHELL"] = "/bin/sh"
        if self.dashboard:
            env[DASHBOARD_VARIABLE] = self.dashboard
        return env

    def make_preexec_fn(self, name: str) -> Any:
        """Change no account: there is one."""
        home = self._home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy_tutorials(Path(self.tutorials), home / "tutorials")
        return None

    async def start(self) -> Any:
        """Start in the person's home: their Lab, or one of their dashboards."""
        if self.dashboard:
            self.cmd = [sys.executable, "-m", "genesis_workbench.dashboards.serve"]
            self.args: list[str] = []
        self.popen_kwargs = {"cwd": str(self._home()), "start_new_session": True}
        return await super().start()

    def _home(self) -> Path:
        return Path(self.homes) / self.user.name


def copy_tutorials(source: Path, target: Path) -> None:
    """Copy tutorials that are not there yet; what a person changed stays as they left it."""
    if not source.is_dir():
        return
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
