"""A spawner whose servers are stand-ins on a farm, and the hub configurations that use it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession
from jupyterhub.spawner import Spawner

FARM = int(os.environ.get("BENCH_FARM", "0"))
BELIEVE_S = float(os.environ.get("BENCH_BELIEVE_S", "300"))


class StandInSpawner(Spawner):
    """Starts nothing but an entry at the farm."""

    async def start(self) -> tuple[str, int]:
        """Register a stand-in."""
        env = self.get_env()
        public = env.get("JUPYTERHUB_HOST", "")
        server = {
            "prefix": env["JUPYTERHUB_SERVICE_PREFIX"],
            "api": env["JUPYTERHUB_API_URL"],
            "token": env["JUPYTERHUB_API_TOKEN"],
            "client_id": env["JUPYTERHUB_CLIENT_ID"],
            "callback": env["JUPYTERHUB_OAUTH_CALLBACK_URL"],
            "authorize": f"{public}{urlsplit(env['JUPYTERHUB_API_URL']).path}/oauth2/authorize",
            "activity_url": env["JUPYTERHUB_ACTIVITY_URL"],
            "name": self.name,
            "activity_interval_s": float(env.get("JUPYTERHUB_ACTIVITY_INTERVAL", 300)),
            "believe_s": BELIEVE_S,
        }
        await self._tell("register", server)
        return "127.0.0.1", FARM

    async def poll(self) -> int | None:
        """Say that it runs: the farm never loses one."""
        return None if self.server else 0

    async def stop(self, now: bool = False) -> None:
        """Take the stand-in away."""
        await self._tell("forget", {"prefix": self.server.base_url})

    async def _tell(self, verb: str, body: dict[str, Any]) -> None:
        async with ClientSession() as http, http.post(f"http://127.0.0.1:{FARM}/{verb}", json=body) as answer:
            answer.raise_for_status()
