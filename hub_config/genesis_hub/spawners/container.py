"""Servers as containers of podman or docker, on one machine or several.

Each is confined: an ordinary user, a read-only system, no capabilities, no way to gain any, the engine's system call
filter, limits on memory, processors and processes that are always set. Each person has a network of their own, closed to
those of others; what listens on the hub's loopback, its database first, cannot be reached from it. Not every engine
holds all of that: `_about` says what one does not, and the hub's log, `workbench doctor` and the guide repeat it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Any as AnyTrait
from traitlets import List, Unicode

from genesis_hub.availability import Free, Machine, Places
from genesis_hub.names import safe_name, server_name
from genesis_hub.spawners._base import (
    DASHBOARD_VARIABLE,
    SERVER,
    WorkbenchSpawner,
    ended_at_once,
    first_answer,
    refused,
)
from genesis_hub.spawners._confinement import USER, bind, confinement, owned, pinned, threads
from genesis_hub.spawners._engine import Engine
from genesis_hub.spawners._machines import MEMORY_LABEL, SERVER_LABEL, SITE_LABEL, Machines, machines_of
from genesis_workbench.core.errors import GenesisError, NotFound, Unavailable
from genesis_workbench.core.site import ContainersSection, NodeSection, ProfileSection

_HOME, _SITE, _PORT = "/home/user", "/etc/genesis-workbench/site.toml", 8888
_TLS = "/etc/genesis-workbench/tls"
_GRACE_S = 10
_KILLED = 137
_LOST = 1


class ContainerSpawner(WorkbenchSpawner, Spawner):
    """A container of a person's own, with their home in it."""

    site = Unicode(help="Name of the site: tells its containers from others'.").tag(config=True)
    containers: Any = AnyTrait(help="The site file's section.").tag(config=True)
    folder = Unicode(help="Folder that every machine sees: homes, groups, the site file.").tag(config=True)
    data_folders: Any = List(help="Folders that every server may read.").tag(config=True)

    node = Unicode(help="Name of the machine; empty where there is none.")
    container = Unicode(help="Identifier of the container; empty where there is none.")

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier hub started."""
        super().load_state(state)
        self.node, self.container = state.get("node", ""), state.get("container", "")
        self._authority = state.get("authority", "")

    def get_state(self) -> dict[str, Any]:
        """Return what the next hub needs to find the server."""
        there = {"node": self.node, "container": self.container, "authority": self._authority}
        return {**super().get_state(), **(there if self.container else {})}

    def clear_state(self) -> None:
        """Forget a server that has ended."""
        super().clear_state()
        self.node, self.container = "", ""

    async def create_certs(self) -> dict[str, str]:
        """Return where in the container its key and its certificate will be."""
        return {
            "keyfile": f"{_TLS}/key.pem",
            "certfile": f"{_TLS}/certificate.pem",
            "cafile": f"{_TLS}/trusted.pem",
        }

    async def start(self) -> tuple[str, int]:
        """Place, create and start the container, and wait until it answers or ends."""
        profile = self.profile()
        await self.refuse_full_home()
        self._authority = self.authority
        self.ip, self.port = "0.0.0.0", _PORT  # noqa: S104 - within its own network
        try:
            image = pinned(profile.image or self.section.image)
            self.last_words = ""
            self.tell(10, "Looking for a machine with room for you.")
            node = await self.machines.place(self._key, self._memory(profile))
            self.node = node.name
            self.tell(35, f"Preparing your container on {node.name}.")
            await self._launch(node, image, profile)
            self.tell(60, f"Your container runs on {node.name}; JupyterLab is starting in it.")
            return await self._reachable(node)
        except GenesisError as error:
            await self._clear_away()
            self.log.warning("server of %s: %s %s", self.user.name, error.message, error.detail)
            raise refused("container", error) from error
        except BaseException:  # the hub's own limit ends the wait by cancelling
            await self._clear_away()
            raise

    async def poll(self) -> int | None:
        """Return None while the container runs, else its exit status."""
        if self.container and self.cut_off():
            await self.stop()
            self.container = ""
            return _LOST
        return await self._state() if self.container else 0

    async def _state(self) -> int | None:
        """Ask the container's machine.

        One that does not answer takes its servers with it only after a while: its engine may just be restarting.
        """
        try:
            about = await self._engine.inspect(self.container)
        except NotFound:
            self.last_words = f"Your server was removed on {self.node} from outside. Your files are kept."
            self.container = ""
            return _LOST
        except Unavailable as error:
            silent_s = self.machines.silent_s(self.node)
            self.log.warning("%s: no answer for %.0f s. %s", self.node, silent_s, error.message)
            if silent_s < self.section.lost_after_s:
                return None
            self.machines.leave_behind(self.node, self.container)
            self.machines.release(self._key)
            self.last_words = (
                f"The machine {self.node} that ran your server has not answered for {silent_s:.0f} s, so your server counts "
                "as lost. Your files are kept: start again, and another machine will take you."
            )
            self.log.warning("%s of %s is lost with %s", self.name or "Lab", self.user.name, self.node)
            return _LOST
        self.machines.heard(self.node)
        state = about["State"]
        if state["Running"]:
            return None
        said = await self._engine.last_lines(self.container)
        self.last_words = _why(int(state["ExitCode"]), about["HostConfig"]["Memory"], said)
        self.log.warning("server of %s ended: %s\n%s", self.user.name, self.last_words, "\n".join(said))
        await self._clear_away()
        self.container = ""
        return int(state["ExitCode"])

    async def stop(self, now: bool = False) -> None:
        """End the container. Where its machine does not answer, it is ended as soon as that does."""
        try:
            await self._engine.stop(self.container, 1 if now else _GRACE_S)
        except Unavailable as error:
            self.log.warning("cannot end a server on %s now: %s", self.node, error.message)
        await self._clear_away()

    def home_folder(self) -> Path:
        """Return the person's home, as the hub's machine sees it."""
        return Path(self.folder) / "homes" / safe_name(self.user.name)

    async def free(self) -> Places:
        """Return the memory of the machine that has most of it free."""
        rooms = await self.machines.rooms()
        # An engine shares its cores out; memory it has once.
        empty = tuple(Machine(math.inf, room.total_bytes) for room in rooms)
        most = max((room.free_bytes for room in rooms), default=0)
        return {"": Free(memory_bytes=most, empty=empty)} if rooms else {}

    @property
    def section(self) -> ContainersSection:
        """What the site file says of containers."""
        found: ContainersSection = self.containers
        return found

    @property
    def machines(self) -> Machines:
        """The site's machines."""
        return machines_of(self.site, tuple(self.section.nodes))

    @property
    def _engine(self) -> Engine:
        return self.machines.engine(self.node)

    @property
    def _key(self) -> str:
        return f"{self.user.name}/{self.name}"

    @property
    def _network(self) -> str:
        return f"{safe_name(self.site)}.{safe_name(self.user.name)}"

    def _memory(self, profile: ProfileSection) -> int:
        return profile.memory_bytes or self.section.memory_bytes

    async def _launch(self, node: NodeSection, image: str, profile: ProfileSection) -> None:
        engine = self._engine
        about = await engine.about()
        if about.refusal:
            raise Unavailable(about.refusal)
        labels = {SITE_LABEL: self.site, SERVER_LABEL: self._key, MEMORY_LABEL: str(self._memory(profile))}
        await engine.network(self._network, {SITE_LABEL: self.site})
        body: dict[str, Any] = {
            "Image": image,
            "User": f"{USER}:{USER}",
            "WorkingDir": _HOME,
            "Cmd": self._command(),
            "Env": [f"{name}={value}" for name, value in self._variables(profile).items()],
            "Labels": labels,
            "ExposedPorts": {f"{_PORT}/tcp": {}},
            "HostConfig": {
                **confinement(
                    memory_bytes=self._memory(profile),
                    cpu_cores=profile.cpu_cores or self.section.cpu_cores,
                    processes=self.section.processes,
                ),
                "NetworkMode": self._network,
                "PortBindings": {f"{_PORT}/tcp": [{"HostIp": node.address, "HostPort": ""}]},
                "UsernsMode": about.user_namespace,
                "Mounts": list(self._mounts(about.owner)),
            },
        }
        if self.tls:
            # A volume without a name goes with its container. Docker writes into none that is for reading only, where the
            # folder, which is root's, has to do.
            volume = {"Type": "volume", "Target": _TLS, "ReadOnly": about.podman}
            body["HostConfig"]["Mounts"].append(volume)
        try:
            self.container = await engine.create(f"{self._network}.{server_name(self.name)}", body)
        except NotFound as error:
            raise NotFound(
                f"The machine {node.name} has no image {image}. Tell the operator: `workbench images check` says which "
                "machines lack it.",
                detail=error.message,
            ) from error
        if self.tls:
            made = self.tls.server(self.user.name, node.address)
            files = {"key.pem": made.key, "certificate.pem": made.certificate, "trusted.pem": made.trusted}
            await engine.put(self.container, _TLS, files)
        await engine.start(self.container)

    def _mounts(self, owner: tuple[int, int]) -> Iterator[dict[str, Any]]:
        """Give home, groups' folders, and for reading only the site's data and its file."""
        folder = Path(self.folder)
        home = owned(self.home_folder(), 0o700, owner)
        yield bind(home, _HOME, read_only=bool(self.dashboard))
        for group in self.groups:
            shared = owned(folder / "groups" / safe_name(group), 0o770, owner)
            yield bind(shared, f"/groups/{safe_name(group)}", read_only=bool(self.dashboard))
        for data in self.data_folders:
            yield bind(Path(data), data, read_only=True)
        yield bind(folder / "site.toml", _SITE, read_only=True)

    def _command(self) -> list[str]:
        if self.dashboard:
            return self.command("python")
        words = ["python", "-m", "genesis_hub.inside", SERVER, *self.get_args()]
        return [*words, *self.rescue_options()]

    def _variables(self, profile: ProfileSection) -> dict[str, str]:
        cpu_cores = profile.cpu_cores or self.section.cpu_cores
        variables = threads(cpu_cores) | {name: str(value) for name, value in self.get_env().items()}
        variables |= {
            "HOME": _HOME,
            "USER": self.user.name,
            "GENESIS_SITE": _SITE,
            "JUPYTER_RUNTIME_DIR": "/tmp/runtime",  # noqa: S108 - of this container alone
            "MEM_LIMIT": str(self._memory(profile)),
            "CPU_LIMIT": str(cpu_cores),
        }
        variables |= self.rescue_variables("/tmp/rescue")  # noqa: S108 - of this container alone
        if self.dashboard:
            variables[DASHBOARD_VARIABLE] = self.dashboard
        return variables

    async def _reachable(self, node: NodeSection) -> tuple[str, int]:
        """Wait until the server answers; a container that ends is told at once, with its last words."""
        about = await self._engine.inspect(self.container)
        bound = (about["NetworkSettings"]["Ports"] or {}).get(f"{_PORT}/tcp") or []
        tls = self.tls.calling_servers() if self.tls else None
        answers = asyncio.ensure_future(
            first_answer(node.address, int(bound[0]["HostPort"]), tls) if bound else _never()
        )
        ended = asyncio.ensure_future(self._engine.ended(self.container))
        try:
            await asyncio.wait({answers, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                status = ended.result()
                said = await self._engine.last_lines(self.container)
                message = f"Your server ended before it could be reached. {_why(status, about['HostConfig']['Memory'], said)}"
                raise ended_at_once("ended", message, said)
            return node.address, answers.result()
        finally:
            for task in (answers, ended):
                task.cancel()
            await asyncio.gather(answers, ended, return_exceptions=True)

    async def _clear_away(self) -> None:
        """Remove the container and, where nobody else is in it, the person's network."""
        self.machines.release(self._key)
        if not self.node:
            return
        try:
            if self.container:
                await self._engine.remove(self.container)
            await self._engine.remove_network(self._network)
        except Unavailable:
            if self.container:
                self.machines.leave_behind(self.node, self.container)


async def _never() -> int:
    """Wait: a container that has ended has no port any more."""
    await asyncio.Event().wait()
    return 0


def _why(status: int, memory_bytes: int, said: list[str]) -> str:
    last = f" Its last words: {said[-1][:300]}" if said else ""
    if status == _KILLED and memory_bytes == 0:  # the engine holds no limit (`About.unheld`)
        return f"It was ended from outside, most often because its machine had no memory left.{last}"
    if status == _KILLED:
        return (
            f"It was ended from outside, most often because it wanted more than its {memory_bytes / 2**30:.1f} GiB of "
            f"memory.{last}"
        )
    return f"It ended with status {status}.{last}"
