"""No request is read without end: a body has a limit, whatever its header says."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genesis_services.problems import problem
from genesis_workbench.core.errors import TooLarge

MOST_BYTES = 16 * 2**20
"""Twice the largest part of a file that is sent in parts; everything else is far smaller."""


class LimitedBodies:
    """Refuses what is larger than :data:`MOST_BYTES`: by its header before it is read, without one as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > MOST_BYTES:
            await problem(413, TooLarge.code, _words())(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST_BYTES:
                raise TooLarge(_words())
            return message

        await self._app(scope, counted, send)


def _words() -> str:
    return f"The request is larger than {MOST_BYTES:,} bytes. Send files in parts, at models/uploads."
