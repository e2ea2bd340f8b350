"""Who asks, by a JupyterHub token, and whether they may."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from fastapi import Request
from jupyterhub.services import auth
from tornado.web import HTTPError

from genesis_workbench.core import certificates
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import PermissionRefused, SignInRequired, Unavailable
from genesis_workbench.core.scopes import BY_NAME

log = logging.getLogger(__name__)
CACHE_S = 30
"""How long a right that was taken away still counts where nothing is started."""


class Identity:
    """Asks the hub. Reads its own token and the hub's address from JUPYTERHUB_* variables."""

    def __init__(self) -> None:
        certificates.shared(auth)
        self.oauth = auth.HubOAuth(cache_max_age=CACHE_S)

    async def person(self, token: str, *, fresh: bool = False) -> Person:
        """Return the person a token belongs to, with their groups and the token's scopes.

        Parameters
        ----------
        fresh : bool
            Ask the hub now, whatever it said a moment ago.

        Raises
        ------
        SignInRequired
            If the token is not, or no longer, good.
        Unavailable
            If the hub does not answer.
        """
        try:
            model: dict[str, Any] | None = await self.oauth.user_for_token(
                token, use_cache=not fresh, sync=False
            )
        except HTTPError as error:
            raise Unavailable(
                "The hub does not answer, so nobody's rights can be checked now. Try again in a moment.",
                detail=str(error),
            ) from error
        if model is None or model.get("kind") == "service":
            raise SignInRequired(
                "The token is not good, or no longer. Sign in again, or restart your server."
            )
        return Person(
            name=model["name"],
            groups=frozenset(model.get("groups") or ()),
            scopes=frozenset(scope.partition("!")[0] for scope in model.get("scopes") or ()),
            admin=bool(model.get("admin")),
        )


def person_with(scope: str, *, fresh: bool = False) -> Callable[[Request], Awaitable[Person]]:
    """Return a dependency that gives the person who asks, if they hold `scope`.

    Only the Authorization header counts, never a cookie: no other page can make a browser send it.
    """
    description = BY_NAME[scope].description if scope else ""

    async def check(request: Request) -> Person:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or not token:
            raise SignInRequired("This needs a JupyterHub token in the header 'Authorization: Bearer ...'.")
        identity: Identity = request.app.state.identity
        person = await identity.person(token.strip(), fresh=fresh)
        request.state.person = person
        if scope and scope not in person.scopes:
            raise PermissionRefused(
                f"You may not do this: it needs the right {scope} ({description}). Ask an administrator for it, then "
                "restart your server."
            )
        return person

    return check


async def while_allowed(
    request: Request,
    check: Callable[[Request], Awaitable[Person]],
    person: Person,
    stream: AsyncGenerator[str],
) -> AsyncIterator[str]:
    """Iterate over what a response streams, as long as its reader is who they were and may do what they might.

    Where a right or a group was taken away, or came, the stream ends: whoever reads on asks anew, and is told. A stream must give
    something now and then, which is when it is looked at.
    """
    checked = time.monotonic()
    async with aclosing(stream):
        async for part in stream:
            if time.monotonic() - checked > CACHE_S:
                try:
                    if await check(request) != person:
                        return
                    checked = time.monotonic()
                except (SignInRequired, PermissionRefused):
                    return
                except Unavailable:
                    log.info("The hub does not answer; %s reads on.", person.name)
            yield part
