"""What every spawner of the workbench knows: the site's profiles, the person's groups, and what the server is for."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from jupyterhub.spawner import SpawnException
from traitlets import List, Unicode
from traitlets.config import Configurable

from genesis_hub import profiles
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.site import ProfileSection

DASHBOARD_VARIABLE = "GENESIS_DASHBOARD"
_DASHBOARD = re.compile(r"dsh-[0-9a-f]{16}")


class WorkbenchSpawner(Configurable):
    """Mixed into a spawner: a server of one of the site's profiles, a person's Lab or one of their dashboards."""

    user: Any
    user_options: Any
    name: Any
    _last_words: ClassVar[dict[tuple[str, str], str]] = {}  # the hub makes a new spawner for the next start

    tutorials = Unicode(help="Folder of tutorials copied into each home.").tag(config=True)
    profiles: Any = List(help="Profiles of the site.").tag(config=True)

    @property
    def groups(self) -> list[str]:
        """Groups of the person."""
        return [group.name for group in self.user.groups]

    @property
    def last_words(self) -> str:
        """Why the last server of this name ended by itself; shown where the person starts the next."""
        return self._last_words.get((self.user.name, self.name), "")

    @last_words.setter
    def last_words(self, words: str) -> None:
        self._last_words[self.user.name, self.name] = words

    @property
    def dashboard(self) -> str:
        """Identifier of the dashboard that this server is for; empty where it is a person's Lab."""
        wanted = str((self.user_options or {}).get("dashboard", ""))
        return wanted if wanted == self.name and _DASHBOARD.fullmatch(wanted) else ""

    def profile(self) -> ProfileSection:
        """Return the profile that was chosen; SpawnException where the person may not use it."""
        try:
            return profiles.chosen(self.profiles, self.groups, self.user_options or {})
        except InvalidInput as error:
            raise refused("profile", error) from error

    def command(self, python: str) -> list[str]:
        """Return what the server runs where `python` has the workbench, without arguments."""
        module = "genesis_workbench.dashboards.serve" if self.dashboard else "jupyterhub.singleuser"
        return [python, "-m", module]


def refused(reason: str, error: GenesisError) -> SpawnException:
    """Return what tells the person on the waiting page why their server did not start."""
    return SpawnException(reason=reason, log_message=error.message, message=error.message)
