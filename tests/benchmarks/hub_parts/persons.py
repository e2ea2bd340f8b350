"""People at a hub: they sign in, start a server, work in it with a websocket open, leave without a word, and come back."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, TCPConnector

from benchmarks.hub_parts.hubs import PASSWORD

TIMEOUT_S = 60


@dataclass
class Measured:
    """What everybody has seen.

    Attributes
    ----------
    seconds : dict of str to list of float
        Duration of each request, by kind; of a spawn, until the page was told that it is ready.
    failed : dict of str to int
        What did not work, by kind.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cut: int = 0
    visits: int = 0


class Person:
    """One person with one browser."""

    def __init__(self, name: str, port: int, host: str, measured: Measured, dice: random.Random) -> None:
        self.name, self._measured, self._dice = name, measured, dice
        self._hub = f"http://127.0.0.1:{port}"
        # Where each has an origin of their own, the name leads to loopback as it does in a browser.
        self._host = {"Host": f"{name}--user.{host}:{port}"} if host else {}
        self._cookies: dict[str, dict[str, str]] = {"hub": {}, "server": {}}
        self._http = ClientSession(connector=TCPConnector(limit=6), timeout=ClientTimeout(TIMEOUT_S))

    async def live(self, until: float, visit_s: float, think_s: float) -> None:
        """Come, work, leave and come back until the end."""
        try:
            while time.monotonic() < until:
                self._measured.visits += 1
                await self._visit(
                    min(until, time.monotonic() + visit_s * self._dice.uniform(0.5, 1.5)), think_s
                )
                await asyncio.sleep(think_s * self._dice.uniform(0.2, 1))
        finally:
            await self._http.close()

    async def _visit(self, until: float, think_s: float) -> None:
        if self._dice.random() < 0.2:
            self._cookies = {"hub": {}, "server": {}}  # another browser, or cookies that were cleared
        if not self._cookies["hub"].get("jupyterhub-session-id") and not await self._sign_in():
            return
        if not await self._spawn() or not await self._enter():
            return
        socket = await self._websocket()
        while time.monotonic() < until:
            await asyncio.sleep(think_s * self._dice.uniform(0.5, 1.5))
            await self._work(socket)
        # Leaves without signing out: the browser is closed in the middle.
        if socket is not None:
            if self._dice.random() < 0.5:
                socket._response.connection.transport.abort()  # a laptop that is shut says no good-bye
            else:
                await socket.close()
        if self._dice.random() < 0.2:
            await self._ask("api", "DELETE", f"/hub/api/users/{self.name}/server", good=(202, 204))

    async def _work(self, socket: ClientWebSocketResponse | None) -> None:
        await self._ask("api", "GET", f"/hub/api/users/{self.name}")
        if self._dice.random() < 0.3:
            await self._ask("page", "GET", "/hub/home")
        await self._ask("server", "GET", f"/user/{self.name}/api/contents", of="server")
        if socket is not None:
            try:
                await socket.send_str("ping")
                await asyncio.wait_for(socket.receive_str(), TIMEOUT_S)
            except (ClientError, ConnectionError, TimeoutError, TypeError):
                self._measured.cut += 1

    async def _sign_in(self) -> bool:
        await self._ask("page", "GET", "/hub/login")
        form = {"username": self.name, "password": PASSWORD, "_xsrf": self._cookies["hub"].get("_xsrf", "")}
        status, _, _ = await self._ask("sign-in", "POST", "/hub/login?next=/hub/home", good=(302,), data=form)
        if status != 302:
            return False
        await self._ask("page", "GET", "/hub/home")
        return True

    async def _spawn(self) -> bool:
        """Start the server as the page does, and listen to its progress."""
        began = time.monotonic()
        status, _, _ = await self._ask(
            "spawn request", "POST", f"/hub/api/users/{self.name}/server", good=(201, 202, 400), json={}
        )
        if status == 400:  # it runs still
            return True
        if status == 202:
            _, _, text = await self._ask("progress", "GET", f"/hub/api/users/{self.name}/server/progress")
            if '"ready": true' not in text:
                self._measured.failed["spawn"] += 1
                return False
        if status not in (201, 202):
            self._measured.failed["spawn"] += 1
            return False
        self._measured.seconds["spawn"].append(time.monotonic() - began)
        return True

    async def _enter(self) -> bool:
        """Open the server: its sign-in by the hub, over the redirects that a browser follows."""
        path, of = f"/user/{self.name}/lab", "server"
        for _ in range(6):
            status, headers, _ = await self._ask("enter", "GET", path, of=of, good=(200, 302))
            if status == 200:
                return True
            if status != 302:
                return False
            target = urlsplit(headers["Location"])
            path = target.path + (f"?{target.query}" if target.query else "")
            of = "hub" if target.path.startswith("/hub/") else "server"
        self._measured.failed["enter"] += 1
        return False

    async def _websocket(self) -> ClientWebSocketResponse | None:
        try:
            return await self._http.ws_connect(
                f"{self._hub}/user/{self.name}/channels", headers={**self._host, **self._cookie("server")}
            )
        except (ClientError, OSError, TimeoutError):
            self._measured.failed["websocket"] += 1
            return None

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        of: str = "hub",
        good: tuple[int, ...] = (200,),
        **body: object,
    ) -> tuple[int, dict[str, str], str]:
        headers = {
            **(self._host if of == "server" else {}),
            **self._cookie(of),
            "Sec-Fetch-Site": "same-origin",
        }
        if of == "hub" and "/api/" in path:
            headers |= {"X-XSRFToken": self._cookies["hub"].get("_xsrf", ""), "Sec-Fetch-Mode": "cors"}
        began = time.monotonic()
        try:
            async with self._http.request(
                method, self._hub + path, headers=headers, allow_redirects=False, **body
            ) as answer:
                text = await answer.text()
        except (ClientError, OSError, TimeoutError):
            self._measured.failed[kind] += 1
            return 0, {}, ""
        self._measured.seconds[kind].append(time.monotonic() - began)
        self._keep(of, answer.headers.getall("Set-Cookie", []))
        if answer.status not in good:
            self._measured.failed[f"{kind} {answer.status}"] += 1
        return answer.status, dict(answer.headers), text

    def _cookie(self, of: str) -> dict[str, str]:
        # On one origin a browser sends both; the stand-ins' cookie harms nobody.
        held = self._cookies[of] if self._host else {**self._cookies["hub"], **self._cookies["server"]}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in held.items())} if held else {}

    def _keep(self, of: str, given: list[str]) -> None:
        for line in given:
            if found := re.match(r'([^=]+)="?([^;"]*)"?', line):
                self._cookies[of][found[1]] = found[2]


async def crowd(
    count: int,
    port: int,
    farm: int,
    host: str,
    measured: Measured,
    *,
    seed: int,
    ramp_s: float,
    stay_s: float,
    visit_s: float,
    think_s: float,
) -> None:
    """Let `count` people come over `ramp_s` seconds and live for `stay_s` more, and add what they have seen to `measured`.

    The same seed decides for both hubs who does what.
    """
    dice = random.Random(seed)
    end = time.monotonic() + ramp_s + stay_s
    steady = time.monotonic() + ramp_s

    async def arrive(number: int) -> None:
        mine = random.Random(dice.randrange(2**30))
        person = Person(f"p{number}", port, host, measured, mine)
        await asyncio.sleep(ramp_s * number / count)
        await person.live(end, visit_s, think_s)

    async def forget_the_rush() -> None:
        """From when everybody is there, requests are counted apart."""
        former = {kind: len(measured.seconds[kind]) for kind in ("api", "page")}
        await asyncio.sleep(max(steady - time.monotonic(), 0))
        for kind, length in former.items():
            measured.seconds[f"{kind} in the rush"] += measured.seconds[kind][length:]
            del measured.seconds[kind][length:]

    await asyncio.gather(forget_the_rush(), *(arrive(number) for number in range(count)))
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{farm}/status") as answer:
        told = json.loads(await answer.text())
    if told["failed"]:
        measured.failed["servers' requests to the hub"] = told["failed"]
