"""Servers as processes on this machine, under the account that runs the hub."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, SpawnException
from traitlets import List, Unicode

from genesis_hub import profiles
from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.core.site import ProfileSection

DASHBOARD_VARIABLE = "GENESIS_DASHBOARD"
_DASHBOARD = re.compile(r"dsh-[0-9a-f]{16}")


class LocalSpawner(LocalProcessSpawner):
    """A process of the hub's own account, with a home folder for each person below the state folder.

    People on one laptop share the machine's account: their homes are apart, but not guarded from each other's code.
    """

    homes = Unicode(help="Folder that holds one home for each person.").tag(config=True)
    tutorials = Unicode(help="Folder of tutorials copied into each home.").tag(config=True)

    profiles: Any = List(help="Profiles of the site.").tag(config=True)

    @property
    def groups(self) -> list[str]:
        """Groups of the person."""
        return [group.name for group in self.user.groups]

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
        env["JUPYTER_RUNTIME_DIR"] = str(runtime_folder(self._home()))
        if self.dashboard:
            env[DASHBOARD_VARIABLE] = self.dashboard
        return env

    def make_preexec_fn(self, name: str) -> Any:
        """Change no account: there is one."""
        home = self._home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy_tutorials(Path(self.tutorials), home / "tutorials")
        memory = self._profile().memory_bytes
        # Of each process, its kernels included: what is asked for beyond fails in that process alone.
        return lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)) if memory else None

    async def start(self) -> Any:
        """Start in the person's home: their Lab, or one of their dashboards."""
        try:
            self.mem_limit = self._profile().memory_bytes or None
        except InvalidInput as error:
            raise SpawnException(
                reason="profile", log_message=error.message, message=error.message
            ) from error
        if self.dashboard:
            self.cmd = [sys.executable, "-m", "genesis_workbench.dashboards.serve"]
            self.args: list[str] = []
        self.popen_kwargs = {"cwd": str(self._home()), "start_new_session": True}
        return await super().start()

    def _profile(self) -> ProfileSection:
        return profiles.chosen(self.profiles, self.groups, self.user_options or {})

    def _home(self) -> Path:
        return Path(self.homes) / self.user.name


def runtime_folder(home: Path) -> Path:
    """Return a short path for the sockets of the kernels of one home, for this account alone.

    The address of a Unix socket holds 107 bytes, and a home below a state folder is easily longer.
    """
    short = hashlib.sha256(str(home).encode()).hexdigest()[:10]
    folder = Path("/tmp") / f"gw-{os.getuid()}-{short}"  # noqa: S108 - checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise Conflict(
            f"{folder} belongs to somebody else or is open to others. Remove it, then start again."
        )
    return folder


def copy_tutorials(source: Path, target: Path) -> None:
    """Copy tutorials that are not there yet; what a person changed stays as they left it."""
    if not source.is_dir():
        return
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
