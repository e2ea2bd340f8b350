"""`workbench up`: start the processes of one machine, start again what dies, end everything at the end."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import httpx
import psutil

from genesis_hub import culling, logs, ports, resources
from genesis_hub.front import Front
from genesis_hub.people import People
from genesis_hub.ports import Ports
from genesis_hub.roles import SERVICE
from genesis_hub.secrets import Secrets
from genesis_workbench.core import processes
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, MissingDependency, Unavailable
from genesis_workbench.core.site import Site, load_site
from genesis_workbench.core.state import State

if TYPE_CHECKING:
    from genesis_hub.internal_tls import InternalTls

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LONGEST_WORDS = 400
_ROUTES_EVERY_S, _CULL_EVERY_S, _SHORTEN_EVERY_S = 600.0, 60.0, 60.0
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Program:
    """One process to keep alive."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0

    def start(self) -> None:
        """Start it, its output going to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, no threads at this point
            )
        self.started = time.monotonic()


@dataclass
class Supervisor:
    """The workbench on this machine."""

    site: Site
    site_file: Path
    state: State
    say: Callable[[str], None] = print
    programs: list[Program] = field(default_factory=list)
    _lock: IO[str] | None = None
    _stopping: bool = False
    _proxy_forgot: bool = False
    _routes_at: float = field(default_factory=time.monotonic)
    _culled_at: float = field(default_factory=time.monotonic)
    _shortened_at: float = 0.0
    _faced: tuple[int, ...] = ()
    _said: str = ""

    @classmethod
    def prepare(
        cls, site_file: Path, folder: Path, port: int | None, say: Callable[[str], None] = print
    ) -> Supervisor:
        """Check everything that can be checked before a process starts.

        Raises
        ------
        GenesisError
            One sentence that says what to do.
        """
        site = load_site(site_file)
        site = site.at_port(ports.chosen(site.hub.address, site.hub.port if port is None else port))
        state = State(folder)
        _make_folders(state)
        supervisor = cls(site, site_file, state, say)
        supervisor._take_lock()
        try:
            ports.claim(site.hub.address, site.hub.port)
            ports.settle(site, state)
            supervisor._faced = supervisor._front.stamp()
            supervisor._front.check()
            if tls := internal_tls(site, state):
                tls.prepare()
        except GenesisError:
            supervisor.release()
            raise
        (state.run / "port").write_text(str(site.hub.port))
        return supervisor

    def run(self) -> None:
        """Start, wait for a signal, stop. Returns when nothing is left."""
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "_stopping", True))
        try:
            password = self._first_person()
            # Proxy and hub first: they have the machine to themselves until people can sign in.
            programs = self._programs()
            self._start(programs[:2])
            if self._wait_until_ready():
                self._start(programs[2:])
                self._welcome(password)
            while not self._stopping:
                self._revive()
                try:
                    self._keep_house()
                except Exception as error:  # noqa: BLE001 - whatever it was, everybody's work goes on
                    self._trouble(error)
                time.sleep(0.3)
        finally:
            self.say("Stopping ...")
            end_descendants(taken_up(self.state))
            self.say("Stopped. Nothing is left running; the state is kept in " + str(self.state.folder))

    @property
    def _front(self) -> Front:
        return Front(self.site)

    def _start(self, programs: list[Program]) -> None:
        for program in programs:
            self.say(f"Starting {program.name} ...")
            program.start()
            self.programs.append(program)

    def _programs(self) -> list[Program]:
        secrets = Secrets.load_or_make(self.state.secrets)
        inside = self.site.hub.private_address
        inner = ports.kept(self.state, self.site.hub)
        tls = internal_tls(self.site, self.state)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "GENESIS_STATE": str(self.state.folder),
            "GENESIS_SITE": str(self.site_file),
            "GENESIS_PORT": str(self.site.hub.port),
            "GENESIS_DASHBOARDS": str(resources.dashboards()),
        }
        proxy = [
            *proxy_command(),
            *self._front.proxy_options(),
            *("--api-ip", "127.0.0.1", "--api-port", str(inner.proxy_api)),
            *("--error-target", f"{self._hub_url(inner)}/hub/error"),
            *("--log-level", "warn"),
            *(tls.proxy_options() if tls else ()),
        ]
        if self.site.hub.origin_domain:
            # Hosts that the hub does not know are dashboards' origins: the service is their gate.
            proxy += ["--host-routing", "--default-target", inner.service_beside(self.site)]

        def program(name: str, command: list[str], **more: str) -> Program:
            return Program(name, command, {**environment, **more}, self.state.logs / f"{name}.log")

        return [
            program("proxy", proxy, CONFIGPROXY_AUTH_TOKEN=secrets.proxy_token),
            program(
                "hub",
                [
                    sys.executable,
                    "-m",
                    "genesis_hub.start",
                    "jupyterhub",
                    "--config",
                    str(resources.hub_config()),
                ],
                JUPYTERHUB_CRYPT_KEY=secrets.crypt_key,
            ),
            program(
                "api",
                [
                    sys.executable,
                    "-m",
                    "genesis_services",
                    "api",
                    "--address",
                    inside,
                    "--port",
                    str(inner.service),
                    *(tls.service_options() if tls else ()),
                ],
                **self._as_service(inner, secrets),
                **(tls.service_variables() if tls else {}),
            ),
            program("runner", [sys.executable, "-m", "genesis_services", "runner"]),
        ]

    def _as_service(self, inner: Ports, secrets: Secrets) -> dict[str, str]:
        """Return what JupyterHub would give to a service that it starts itself."""
        prefix = f"/services/{SERVICE}/"
        return {
            "JUPYTERHUB_API_TOKEN": secrets.service_token,
            "JUPYTERHUB_API_URL": f"{self._hub_url(inner)}/hub/api",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_HOST": self.site.public_url,
            "JUPYTERHUB_SERVICE_NAME": SERVICE,
            "JUPYTERHUB_SERVICE_PREFIX": prefix,
            "JUPYTERHUB_CLIENT_ID": f"service-{SERVICE}",
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{self.site.origin(SERVICE, 'service')}{prefix}oauth_callback",
        }

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + 90
        while not self._stopping:
            self._revive()
            page = self._front.get("/hub/login", timeout_s=2)
            if page is not None and page.status_code == httpx.codes.OK:
                return True
            if time.monotonic() > deadline:
                log = self.state.logs / "hub.log"
                raise Unavailable(
                    f"The sign-in page did not come up within 90 s. Last in {log}: {last_words(log)}"
                )
            time.sleep(0.1)
        return False

    def _revive(self) -> None:
        for program in self.programs:
            process = program.process
            if process is None or process.poll() is None:
                continue
            lived = time.monotonic() - program.started
            program.deaths = 0 if lived > 60 else program.deaths
            if lived < min(2.0**program.deaths, 30):
                continue  # wait longer each time it dies young
            program.deaths += 1
            program.started = time.monotonic()
            self.say(
                f"{program.name} ended with status {process.returncode}; starting it again. Last in {program.log}: "
                f"{last_words(program.log)}"
            )
            try:
                program.start()
            except OSError as error:  # a disk that is full, too many processes
                self.say(f"{program.name} cannot be started now: {error}")
                continue
            self._proxy_forgot |= program.name == "proxy"

    def _keep_house(self) -> None:
        """Do what is due: take up a renewed certificate, mend routes, shorten logs, end idle servers that are silent."""
        now = time.monotonic()
        self._take_up_certificate()
        if self._proxy_forgot or now - self._routes_at > _ROUTES_EVERY_S:
            self._proxy_forgot = not self._routes_restored()
            self._routes_at = now
        if now - self._shortened_at > _SHORTEN_EVERY_S:
            self._shortened_at = now
            logs.shorten(self.state.logs)
        if now - self._culled_at > _CULL_EVERY_S:
            self._culled_at = now
            token = Secrets.load_or_make(self.state.secrets).culler_token
            try:
                with self._hub(token) as hub:
                    culling.cull(hub, self.site.servers.profiles)
            except httpx.HTTPError as error:
                self.say(f"Silent servers cannot be looked for now: {error!r}")  # again in a minute

    def _trouble(self, error: Exception) -> None:
        """Say what went wrong with the house, once where it goes wrong again and again."""
        words = f"Something that is done now and then went wrong, and is tried again: {type(error).__name__}: {error}"[
            :_LONGEST_WORDS
        ]
        if words != self._said:
            self.say(words)
        self._said = words

    def _take_up_certificate(self) -> None:
        """Start the proxy again where its certificate was renewed; people's servers and the hub go on."""
        stamp = self._front.stamp()
        if not stamp or stamp == self._faced:
            return
        self._faced = stamp  # of a pair that is half written the other half comes next
        try:
            self._front.check()
        except InvalidInput as error:
            self.say(f"The proxy keeps the certificate that it has. {error.message}")
            return
        self.say("The certificate was renewed; the proxy takes it up.")
        for program in self.programs:
            if program.name == "proxy" and program.process is not None:
                program.process.terminate()

    def _hub(self, token: str) -> httpx.Client:
        """Return a client of the hub's API."""
        tls = internal_tls(self.site, self.state)
        return httpx.Client(
            base_url=f"{self._hub_url(ports.kept(self.state, self.site.hub))}/hub/api",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
            timeout=20,
            verify=tls.calling_hub() if tls else True,
        )

    def _hub_url(self, inner: Ports) -> str:
        """Return where the hub listens."""
        scheme = "https" if self.site.internal_tls else "http"
        return f"{scheme}://{self.site.hub.private_address}:{inner.hub}"

    def _routes_restored(self) -> bool:
        """Ask the hub to compare the proxy's routes with its servers, and to mend what differs."""
        token = Secrets.load_or_make(self.state.secrets).supervisor_token
        try:
            with self._hub(token) as hub:
                answer = hub.post("/proxy")
        except httpx.TransportError:
            return False  # hub or proxy is not up yet: asked again in a moment
        return answer.is_success

    def _first_person(self) -> str | None:
        if self.site.people.authenticator != "people":
            return None
        people = People(self.state.people)
        return None if people.all() else people.add(self.site.people.admins[0], admin=True)

    def _welcome(self, password: str | None) -> None:
        self.say("")
        self.say(f"{self.site.title} is at {self.site.public_url}")
        if password:
            self.say(
                f"Sign in as {self.site.people.admins[0]} with the password {password} (shown only now)."
            )
        elif self.site.people.authenticator == "oidc":
            self.say(f"People sign in with {self.site.people.oidc.title}. Ctrl-C stops everything.")
            return
        elif self.site.people.authenticator == "ldap":
            self.say("People sign in with their name and password of the directory. Ctrl-C stops everything.")
            return
        else:
            self.say("Sign in with your name and password; `workbench users password NAME` gives a new one.")
        self.say("Add people with `workbench users add NAME --group GROUP`. Ctrl-C stops everything.")

    def release(self) -> None:
        """Let another start use the state folder."""
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> None:
        self._lock = (self.state.run / "up.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise Conflict(
                f"A workbench is running already on {self.state.folder}. Stop it with Ctrl-C where it runs, or name "
                "another folder with --state."
            ) from None


def last_words(log: Path) -> str:
    """Return the last line of a log that says anything: mostly why its program ended."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"nothing that can be read ({error.strerror})"
    found = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return found if len(found) <= _LONGEST_WORDS else found[: _LONGEST_WORDS - 3] + "..."


def proxy_command() -> list[str]:
    """Return the command that starts configurable-http-proxy, as `make setup` installed it.

    Raises
    ------
    MissingDependency
        If it, or node, is not there.
    """
    script = (
        Path(sys.prefix)
        / "share/genesis-workbench/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    )
    node = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if node is None or not script.exists():
        raise MissingDependency("The proxy is not installed. Run `make setup`.")
    return [node, str(script)]


def taken_up(state: State) -> list[psutil.Process]:
    """Return servers that this hub knows and that an earlier `up` started, which was killed: they are not below this one."""
    found = []
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{state.hub_database.as_uri()}?mode=ro", uri=True)) as hub,
    ):
        for (text,) in hub.execute("SELECT state FROM spawners WHERE server_id IS NOT NULL"):
            kept = json.loads(text or "{}")
            if kept.get("homes") == str(state.homes) and processes.lives(kept.get("process")):
                found.append(psutil.Process(kept["pid"]))
    return found


def end_descendants(besides: Sequence[psutil.Process] = (), grace_s: float = 10.0) -> None:
    """End every process below this one, and those `besides`: first politely, after `grace_s` seconds for good.

    As this process is the subreaper of its tree, servers and kernels whose parents died are below it too.
    """
    deadline = time.monotonic() + grace_s
    me = psutil.Process()
    while children := _family(me, besides):
        for child in children:
            try:
                child.terminate() if time.monotonic() < deadline else child.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(children, timeout=1)
        while True:  # reap orphans that became ours
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def _family(me: psutil.Process, besides: Sequence[psutil.Process]) -> list[psutil.Process]:
    found = me.children(recursive=True)
    for each in besides:
        with suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found += [each, *each.children(recursive=True)]
    return found


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _make_folders(state: State) -> None:
    try:
        state.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = state.folder.stat()
        if about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) & 0o077:
            # Made by somebody else's command: ledger and hub's database rely on nobody else getting in here.
            state.folder.chmod(0o700)
        for folder in (state.run, state.logs, state.homes, state.blobs, state.jobs):
            folder.mkdir(exist_ok=True, mode=0o700)
        (state.run / ".writable").touch()
    except OSError as error:
        raise InvalidInput(
            f"The state folder {state.folder} cannot be written ({error.strerror}). Name another one with --state."
        ) from error


def internal_tls(site: Site, state: State) -> InternalTls | None:
    """Return the certificates of an installation; None where nothing is encrypted."""
    if not site.internal_tls:
        return None
    from genesis_hub.internal_tls import InternalTls  # slow to import

    return InternalTls(state.internal_tls, site)
