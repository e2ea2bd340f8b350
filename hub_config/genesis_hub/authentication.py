"""Sign-in by the people file, on loopback only."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.utils import new_token
from traitlets import Unicode

from genesis_hub.people import Account, People
from genesis_hub.roles import STEWARDS

_GUESSES = 10
_PERIOD_S = 60.0


class Guesses:
    """Wrong passwords of the last minute, by name: at most ten, then nobody gets in by that name for a while."""

    def __init__(self) -> None:
        self._wrong: dict[str, list[float]] = {}

    def too_many(self, name: str) -> bool:
        """Tell whether a name was tried too often."""
        return len(self._recent(name)) >= _GUESSES

    def wrong(self, name: str) -> None:
        """Note a wrong password."""
        recent = [*self._recent(name), time.monotonic()]
        self._wrong = {**self._wrong, name: recent} if len(self._wrong) < 10_000 else {}

    def right(self, name: str) -> None:
        """Forget what went before."""
        self._wrong.pop(name, None)

    def _recent(self, name: str) -> list[float]:
        now = time.monotonic()
        return [at for at in self._wrong.get(name, []) if now - at < _PERIOD_S]


class PeopleAuthenticator(Authenticator):
    """Names and passwords of `workbench users`.

    The file is looked at with each sign-in and each refresh, so that a change needs no restart: somebody who was removed
    loses browser, token and spawn at the next refresh, and a new password signs out every browser.
    """

    people_file = Unicode(help="Path of the people file.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guesses = Guesses()
        self._people = People(Path(self.people_file))
        self._ending: set[asyncio.Future[Any]] = set()
        self._known: dict[str, dict[str, str]] = {}  # by name, whose tokens and cookies the hub has

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Check name and password; at most 10 wrong ones a minute for one name."""
        name = data.get("username", "").strip().lower()
        if self._guesses.too_many(name):
            self.log.warning("Too many wrong passwords for %r within a minute", name)
            return None
        # scrypt takes 50 ms: not in the hub's event loop
        account = await asyncio.to_thread(self._people.check, name, data.get("password", ""))
        if account is None:
            self._guesses.wrong(name)
            return None
        self._guesses.right(name)
        user = handler.find_user(name) if handler is not None else None
        if user is None:
            self._known.pop(name, None)  # what it knew of was deleted
        else:
            await self._is_the_same(user, account)
        return _model(account)

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> dict[str, Any] | bool:
        """Return the person as the file has them now; False ends their rights."""
        account = self._people.get(user.name)
        if account is None or not await self._is_the_same(user, account):
            self._end_servers(user, handler)
            return False
        return unless_known(user, _model(account))

    def _end_servers(self, user: Any, handler: Any) -> None:
        """End the servers of somebody who was removed: in them they would go on working, by nobody's leave."""
        if handler is None:
            return
        for name, spawner in user.spawners.items():
            if spawner.ready and not spawner.pending:
                self.log.warning("%s was removed: their server %r is ended", user.name, name)
                task = asyncio.ensure_future(handler.stop_single_user(user, name))
                self._ending.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.log.error("A server of somebody who was removed could not be ended: %r", task.exception())

    async def _is_the_same(self, user: Any, account: Account) -> bool:
        """Whether the hub's person is who has the name now; if not, nothing that the other one was given is good any more."""
        now = _who(account)
        if user.name not in self._known:
            self._known[user.name] = await user.get_auth_state() or {}
        before = self._known[user.name]
        if before == now:
            return True
        same = before.get("account", "") == account.id
        if not same:
            self.log.warning(
                "%s is another person than before: tokens and cookies of before are not good", user.name
            )
        # Of before passwords were told apart, nobody is signed out for it.
        if not same or "password" in before:
            for token in list(user.orm_user.api_tokens):
                # A new password ends what browsers were let in with. Servers and the person's own tokens go on.
                if not same or token.client_id != "jupyterhub":
                    user.db.delete(token)
            user.orm_user.cookie_id = new_token()
            user.db.commit()
        await user.save_auth_state(now)
        self._known[user.name] = now
        return same


def unless_known(user: Any, model: dict[str, Any]) -> dict[str, Any] | bool:
    """Return True instead of what the hub knows of a person already: it would look up and write all of it again."""
    groups = {group.name for group in user.groups}
    return True if model["admin"] == user.admin and set(model["groups"]) == groups else model


def _model(account: Account) -> dict[str, Any]:
    stewards = [STEWARDS] if account.admin else []
    groups = sorted({*account.groups, *stewards})
    return {
        "name": account.name,
        "admin": account.admin,
        "groups": groups,
        "auth_state": _who(account),
    }


def _who(account: Account) -> dict[str, str]:
    """Return what tells a person from who had the name before, and their password from the one before: its salt."""
    return {"account": account.id, "password": account.password.split("$")[1]}
