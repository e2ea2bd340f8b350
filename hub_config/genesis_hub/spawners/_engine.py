"""The few requests that the hub makes of podman or docker, at the engine's socket.

Both speak version 1.40 of Docker's API; docker 29 only newer ones, of which its oldest is taken. Remote machines are
reached by forwarding their socket (``ssh -L``), so that who may start containers is decided by SSH keys and file modes,
and no engine listens on a network.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from functools import cache
from typing import Any

import httpx

from genesis_hub.spawners._about import About, of_docker, of_podman
from genesis_hub.spawners._confinement import USER
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, Unavailable

_VERSION = (1, 40)
_LIBPOD = "/v4.0.0/libpod"
# As docker 20 and 28, and podman 4, say it: with status 404, 400 and 500.
_NO_ADDRESSES = ("non-overlapping IPv4 address pool", "fully subnetted", "could not find free subnet")


class Engine:
    """Client of one engine.

    Parameters
    ----------
    socket : str
        Path of its Unix socket.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_connections=100)),
            base_url="http://engine",
            timeout=httpx.Timeout(30, connect=3, pool=30),
        )
        self._said: dict[str, Any] = {}
        self._about: About | None = None
        self._naming, self._meeting = asyncio.Lock(), asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def about(self) -> About:
        """Return what the engine is: asked once, and again where it has not answered meanwhile."""
        # One asks for all: podman spends a second of processor time on its answer, and people come together.
        async with self._meeting:
            if not self._about:
                said = await self._version()
                version = str(said["Version"])
                if any(str(part["Name"]).startswith("Podman") for part in said.get("Components") or []):
                    self._about = of_podman(version, await self.get(f"{_LIBPOD}/info"))
                else:
                    self._about = of_docker(version, await self.get("/info"))
            return self._about

    async def containers(self, **labels: str) -> list[dict[str, Any]]:
        """Return every container, stopped ones too, that has these labels."""
        wanted = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
        found: list[dict[str, Any]] = await self.get("/containers/json", all="true", filters=wanted)
        return found

    async def inspect(self, container: str) -> dict[str, Any]:
        """Return everything that is known of a container; NotFound where there is none."""
        found: dict[str, Any] = await self.get(f"/containers/{container}/json")
        return found

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container and return its identifier; one of that name that is left over is replaced."""
        try:
            made = await self._ask("POST", "/containers/create", body=body, name=name)
        except Conflict:
            await self.remove(name)
            made = await self._ask("POST", "/containers/create", body=body, name=name)
        return str(made["Id"])

    async def put(self, container: str, folder: str, files: dict[str, bytes]) -> None:
        """Write files into a folder of a container: root's, which the user of the image reads."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.gid = len(text), 0o440, USER
                archive.addfile(entry, io.BytesIO(text))
            # Two empty blocks end it. The padding that Python adds is more than podman reads, and it may fail over that.
            end = archive.offset + 2 * tarfile.BLOCKSIZE
        body = content.getvalue()[:end]
        await self._send("PUT", f"/containers/{container}/archive", content=body, path=folder)

    async def start(self, container: str) -> None:
        """Start a container."""
        await self._ask("POST", f"/containers/{container}/start")

    async def stop(self, container: str, grace_s: int) -> None:
        """End a container: politely, and after `grace_s` seconds for good. One that is gone is no error."""
        try:
            await self._ask("POST", f"/containers/{container}/stop", deadline_s=grace_s + 30, t=grace_s)
        except NotFound:
            return

    async def remove(self, container: str) -> None:
        """Remove a container, running or not. One that is gone is no error."""
        try:
            await self._ask("DELETE", f"/containers/{container}", deadline_s=60, force="true", v="true")
        except NotFound:
            return

    async def ended(self, container: str) -> int:
        """Wait until a container has ended, and return its exit status."""
        if (await self.about()).podman:
            # Asked in docker's words, podman 4 looks again and again without a pause: each wait then takes a whole core.
            path = f"{_LIBPOD}/containers/{container}/wait"
            return int(await self._ask("POST", path, deadline_s=None, interval="500ms"))
        answer = await self._ask("POST", f"/containers/{container}/wait", deadline_s=None)
        return int(answer["StatusCode"])

    async def last_lines(self, container: str, count: int = 20) -> list[str]:
        """Return the last lines that a container has said."""
        answer = await self._send(
            "GET", f"/containers/{container}/logs", stdout="true", stderr="true", tail=count
        )
        return _lines(answer.content)

    async def network(self, name: str, labels: dict[str, str]) -> None:
        """Make a network of its own, closed to other such networks, where it is not there yet."""
        try:
            if (await self.about()).podman:
                # Its Docker-like request has no word for this; docker's bridges are apart by themselves.
                body: dict[str, Any] = {
                    "name": name,
                    "driver": "bridge",
                    "options": {"isolate": "true"},
                    "labels": labels,
                }
                await self._ask("POST", f"{_LIBPOD}/networks/create", body=body)
            else:
                body = {"Name": name, "Driver": "bridge", "CheckDuplicate": True, "Labels": labels}
                async with self._naming:  # asked twice at once, docker before 25 gives two networks one name
                    await self._ask("POST", "/networks/create", body=body)
        except GenesisError as error:
            try:
                await self.get(f"/networks/{name}")
            except NotFound:
                if any(words in error.message for words in _NO_ADDRESSES):
                    raise Unavailable(
                        "Your server's machine has no addresses left for another person's network. Try again later, and "
                        "tell the operator: docker makes as many networks as default-address-pools in its daemon.json gives "
                        "room for, podman as default_subnet_pools in containers.conf.",
                        detail=error.message,
                    ) from error
                raise error from None  # it was not that it is there already

    async def remove_network(self, name: str) -> None:
        """Remove a network unless somebody uses it."""
        try:
            await self._ask("DELETE", f"/networks/{name}")
        except GenesisError:  # in use by another server of the same person, or gone
            return

    async def get(self, path: str, **query: Any) -> Any:
        """GET and return the JSON answer."""
        return await self._ask("GET", path, **query)

    async def _version(self) -> dict[str, Any]:
        if not self._said:
            self._said = await self.get("/version")
        return self._said

    async def _spoken(self) -> str:
        """Return the start of every path: the version that both sides speak."""
        oldest = str((await self._version()).get("MinAPIVersion") or "1.0")
        major, _, minor = oldest.partition(".")
        return "/v{}.{}".format(*max(_VERSION, (int(major), int(minor))))

    async def _ask(
        self, method: str, path: str, *, body: Any = None, deadline_s: float | None = 30, **query: Any
    ) -> Any:
        answer = await self._send(method, path, body=body, deadline_s=deadline_s, **query)
        return answer.json() if answer.content.strip() else {}

    async def _send(
        self,
        method: str,
        path: str,
        /,  # a query may have a `path` too
        *,
        body: Any = None,
        content: bytes | None = None,
        deadline_s: float | None = 30,
        **query: Any,
    ) -> httpx.Response:
        url = path if path == "/version" or path.startswith(_LIBPOD) else await self._spoken() + path
        timeout = httpx.Timeout(deadline_s, connect=3)
        try:
            answer = await self._http.request(
                method, url, json=body, content=content, params=query, timeout=timeout
            )
        except httpx.HTTPError as error:
            self._said, self._about = {}, None  # it may come back as another version
            raise Unavailable(
                f"The container engine at {self._socket} does not answer.",
                detail=f"{method} {path}: {error!r}",
            ) from error
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return answer
        raise _error(method, path, answer)


@cache
def engine(socket: str) -> Engine:
    """Return the one client of an engine."""
    return Engine(socket)


def _error(method: str, path: str, answer: httpx.Response) -> GenesisError:
    try:
        said = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = answer.text[:300]
    kind: type[GenesisError] = {400: InvalidInput, 404: NotFound, 409: Conflict}.get(
        answer.status_code, Unavailable
    )
    # podman says 500 where a name is taken
    kind = Conflict if "already in use" in said or "already exists" in said else kind
    return kind(f"The container engine says: {said}", detail=f"{method} {path}: status {answer.status_code}")


def _lines(stream: bytes) -> list[str]:
    """Take a log apart: each piece has a head of eight bytes, its length in the last four."""
    said, at = b"", 0
    while at + 8 <= len(stream):
        length = int.from_bytes(stream[at + 4 : at + 8], "big")
        said += stream[at + 8 : at + 8 + length]
        at += 8 + length
    return said.decode("utf-8", "replace").splitlines()
