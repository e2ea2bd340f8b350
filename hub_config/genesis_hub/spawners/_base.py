"""What every spawner of the workbench knows: the site's profiles, the person's groups, and what the server is for."""

from __future__ import annotations

import asyncio
import html
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.spawner import SpawnException
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from traitlets import Any as AnyTrait
from traitlets import Bool, Float, Integer, List, Unicode
from traitlets.config import Configurable

from genesis_hub import choosing, homes, profiles, resources, teams
from genesis_hub.availability import Look, Places
from genesis_hub.names import dashboard_of
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.homes import Home, rescue_variables
from genesis_workbench.core.site import ProfileSection

DASHBOARD_VARIABLE = "GENESIS_DASHBOARD"
SERVER = "jupyterhub.singleuser"
"""What a person's server runs."""


class WorkbenchSpawner(Configurable):
    """Mixed into a spawner: a server of one of the site's profiles, a person's Lab or one of their dashboards."""

    user: Any
    user_options: Any
    args: Any
    hub: Any
    orm_spawner: Any
    name: Any
    _last_words: ClassVar[dict[tuple[str, str], str]] = {}  # the hub makes a new spawner for the next start
    _looks: ClassVar[dict[type, Look]] = {}  # one for all people: what is free is the same for everybody

    tutorials = Unicode(help="Folder of tutorials copied into each home.").tag(config=True)
    profiles: Any = List(help="Profiles of the site.").tag(config=True)
    default_queue = Unicode(help="Queue of profiles that name none.").tag(config=True)

    brings_lab_options = Bool(
        False, help="Whether the hub gives the options of JupyterLab, or the image."
    ).tag(config=True)

    dashboard_idle_s = Float(
        0, help="Seconds without a viewer after which a dashboard ends; 0 for never."
    ).tag(config=True)

    home_bytes = Integer(0, help="What one home may hold; 0 for no limit.").tag(config=True)

    tls: Any = AnyTrait(None, help="Certificates of this installation; None where nothing is encrypted.").tag(
        config=True
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._told: list[dict[str, Any]] = []
        self._authority = ""  # who vouches for the server that runs

    @property
    def authority(self) -> str:
        """Who vouches for the servers of this hub; empty where nothing is encrypted."""
        return str(self.tls.authority) if self.tls else ""

    def cut_off(self) -> bool:
        """Tell whether hub and server cannot reach each other any more, since encryption was switched or begun anew.

        What is said to the person then is in `last_words`.
        """
        if self._authority == self.authority:
            return False
        self.last_words = (
            "The hub and people's servers speak with each other in another way since it was started again, so your "
            "server was ended. Your files are kept: start it again."
        )
        return True

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
        return dashboard_of(self.user_options or {}, self.name)

    @property
    def idle_s(self) -> float:
        """Seconds without work after which the server ends; 0 where it does not."""
        return self.dashboard_idle_s if self.dashboard else self.profile().idle_s

    @property
    def offered(self) -> list[ProfileSection]:
        """Profiles for this account, whatever its groups: a team's, or a person's."""
        return teams.offered(self.profiles, self.user.name)

    def profile(self) -> ProfileSection:
        """Return the profile that was chosen; SpawnException where the person may not use it."""
        # Whoever may start no server has no home to rescue.
        rescued = self.rescue and profiles.permitted(self.offered, self.groups)
        try:
            return (
                homes.RESCUE
                if rescued
                else profiles.chosen(self.offered, self.groups, self.user_options or {})
            )
        except InvalidInput as error:
            raise refused("profile", error) from error

    async def page(self) -> str:
        """Return the fields of the page on which the person chooses; empty where there is nothing to choose or to say."""
        choices, home = profiles.permitted(self.offered, self.groups), await self.home()
        choices = [self.sized(each) for each in choices]
        full = bool(choices) and home is not None and home.full
        if full:
            # Where it was full when it was last looked at, things may have been deleted since.
            choices = [*choices, homes.RESCUE] if home and home.seen else [homes.RESCUE]
        if not profiles.asks(choices) and not self.last_words and not full:
            return ""
        look = self._looks.setdefault(type(self), Look())
        return choosing.page(
            choices,
            self._last_options(),
            await look.now(self.free),
            self.default_queue,
            last_words=self.last_words,
            home=home,
        )

    async def home(self) -> Home | None:
        """Return how full the person's home is; None where the hub cannot see it."""
        folder = self.home_folder()
        return await homes.measure(folder, self.home_bytes) if folder else None

    def home_folder(self) -> Path | None:
        """Return the person's home where the hub sees it."""
        return None

    async def create_certs(self) -> dict[str, str]:
        """Return where the server finds its key and certificate, if that is known before its start.

        JupyterHub would make one pair for all servers of a person, keep it, and have it carried to where they run. Here each start
        has its own, made when the machine is known, and the hub keeps no key.
        """
        return {}

    @property
    def rescue(self) -> bool:
        """Whether this server is only for deleting files of a home that is full."""
        return not self.dashboard and (self.user_options or {}).get("profile") == homes.RESCUE.name

    async def refuse_full_home(self) -> None:
        """Refuse to start in a home that is full, with the way out; SpawnException."""
        if self.rescue or self.dashboard:
            return
        home = await self.home()
        if home is not None and home.full:
            raise self.home_is_full(home)

    def home_is_full(self, home: Home) -> SpawnException:
        """Return what tells the person that their home is full, with the way out."""
        way = f"{self.hub.base_url}spawn/{self.user.escaped_name}"
        said = (
            f"{home.words} Start the Rescue server, delete what you no longer need, stop it, and start again."
        )
        link = f'<p>{html.escape(said)}</p><p><a class="btn btn-primary" href="{html.escape(way, quote=True)}">To the Rescue server</a></p>'
        return _failure("home", said, message_html=link)

    def rescue_variables(self, folder: str) -> dict[str, str]:
        """Return variables with which a server of a full home writes nothing into it, but below `folder`."""
        return rescue_variables(folder) if self.rescue else {}

    def rescue_options(self) -> list[str]:
        """Return options with which what is deleted is gone, and nothing is written beside it: a trash would be in the home, too."""
        if not self.rescue:
            return []
        return [
            "--FileContentsManager.delete_to_trash=False",
            "--FileContentsManager.always_delete_dir=True",
            "--ContentsManager.checkpoints_class=genesis_hub.rescue.NoCheckpoints",
        ]

    def sized(self, profile: ProfileSection) -> ProfileSection:
        """Return the profile with what a server gets where it says nothing."""
        return profile

    async def free(self) -> Places:
        """Return what is free now, by queue; nothing where nobody can tell."""
        return {}

    def tell(self, progress: int, message: str) -> None:
        """Say on the waiting page what happens now; whoever loads the page again reads it from the beginning."""
        event = {"progress": progress, "message": message}
        if not self._told or self._told[-1] != event:
            self._told.append(event)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what was told from the start on; the hub ends it with the start."""
        told = 0
        while True:
            for event in self._told[told:]:
                told += 1
                yield dict(event)
            await asyncio.sleep(0.2)

    def _last_options(self) -> dict[str, Any]:
        """Return the options of this server's last start, or else of the person's last start of any."""
        mine = self.orm_spawner.user_options if self.orm_spawner else None
        if mine:
            return dict(mine)
        started = [each for each in self.user.orm_user._orm_spawners if each.started and each.user_options]
        last = max(started, key=lambda each: each.started, default=None)
        return dict(last.user_options) if last else {}

    def get_args(self) -> list[str]:
        """Return the server's options."""
        lab = self.brings_lab_options and not self.dashboard
        options = resources.lab_options(team=teams.is_team(self.user.name)) if lab else []
        return [*super().get_args(), *options]  # type: ignore[misc]

    def command(self, python: str) -> list[str]:
        """Return what the server runs where `python` has the workbench, without arguments."""
        words = ["genesis_workbench.dashboards.serve"] if self.dashboard else ["genesis_hub.start", SERVER]
        return [python, "-m", *words]


async def first_answer(host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
    """Return the port as soon as somebody speaks HTTP there, over `tls` if given."""
    client = AsyncHTTPClient()
    url = f"{'https' if tls else 'http'}://{host}:{port}/"
    asked = HTTPRequest(url, follow_redirects=False, connect_timeout=2, request_timeout=5, ssl_options=tls)
    while True:
        try:
            await client.fetch(asked, raise_error=False)
            return port
        except (OSError, HTTPClientError):  # nobody listens yet, or nobody can be reached yet
            await asyncio.sleep(0.1)


def refused(reason: str, error: GenesisError) -> SpawnException:
    """Return what tells the person on the waiting page why their server did not start."""
    return _failure(reason, error.message)


def ended_at_once(reason: str, message: str, log: Sequence[str]) -> SpawnException:
    """Return what tells the person that their server has ended before it was ready, with its last lines."""
    lines = html.escape("\n".join(log))
    shown = f"<details open><summary>Its last lines</summary><pre>{lines}</pre></details>" if log else ""
    return _failure(reason, message, log=log, message_html=f"<p>{html.escape(message)}</p>{shown}")


def _failure(reason: str, message: str, log: Sequence[str] = (), message_html: str = "") -> SpawnException:
    failure = SpawnException(
        message, reason=reason, log_message="\n".join([message, *log]), message_html=message_html
    )
    # JupyterHub's pages and streams read these two; without them a person reads the words of the log.
    failure.jupyterhub_message, failure.jupyterhub_html_message = message, message_html or None
    return failure
