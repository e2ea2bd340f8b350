"""The hub's REST API, as far as dashboards need it."""

from __future__ import annotations

import os
from typing import Any, Self
from urllib.parse import quote

import httpx

from genesis_workbench.core import certificates
from genesis_workbench.core.errors import Unavailable


class Hub:
    """Looks up and starts servers, with the service's own token."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"token {token}"},
            timeout=httpx.Timeout(20, connect=3),
            trust_env=False,
            verify=certificates.calling(),
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Use JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN."""
        return cls(os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"])

    async def server(self, owner: str, name: str) -> dict[str, Any] | None:
        """Return a named server as the hub describes it, or None where it does not run."""
        answer = await self._send("GET", f"/users/{quote(owner, safe='')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        self._check(answer)
        found: dict[str, Any] | None = answer.json().get("servers", {}).get(name)
        return found

    async def start(self, owner: str, name: str, options: dict[str, Any]) -> None:
        """Start a named server, unless it runs or is starting."""
        answer = await self._send(
            "POST", f"/users/{quote(owner, safe='')}/servers/{quote(name, safe='')}", json=options
        )
        # 400: it runs already, or its start is under way
        if answer.status_code != httpx.codes.BAD_REQUEST:
            self._check(answer)

    async def stop(self, owner: str, name: str) -> None:
        """Stop a named server and forget it; nothing where it does not run."""
        answer = await self._send(
            "DELETE",
            f"/users/{quote(owner, safe='')}/servers/{quote(name, safe='')}",
            json={"remove": True},
        )
        if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
            self._check(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unavailable("The hub does not answer. Try again in a moment.", detail=str(error)) from error

    @staticmethod
    def _check(answer: httpx.Response) -> None:
        if answer.is_error:
            raise Unavailable(
                f"The hub refused the request ({answer.status_code}). Ask the operator.",
                detail=answer.text[:500],
            )
