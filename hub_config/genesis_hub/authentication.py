"""Sign-in by the people file, on loopback only."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Unicode

from genesis_hub.people import Account, People
from genesis_hub.roles import STEWARDS

_GUESSES = 10
_PERIOD_S = 60.0


class PeopleAuthenticator(Authenticator):
    """Names and passwords of `workbench users`.

    The file is read at each sign-in and at each refresh, so that a change needs no restart, and somebody who was
    removed loses browser, token and spawn at the next refresh.
    """

    people_file = Unicode(help="Path of the people file.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._failures: dict[str, list[float]] = {}

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Check name and password; at most 10 wrong ones a minute for one name."""
        name = data.get("username", "").strip().lower()
        now = time.monotonic()
        recent = [at for at in self._failures.get(name, []) if now - at < _PERIOD_S]
        if len(recent) >= _GUESSES:
            self.log.warning("Too many wrong passwords for %r within a minute", name)
            return None
        # scrypt takes 50 ms: not in the hub's event loop
        account = await asyncio.to_thread(self._people().check, name, data.get("password", ""))
        if account is None:
            self._failures = {**self._failures, name: [*recent, now]} if len(self._failures) < 10_000 else {}
            return None
        self._failures.pop(name, None)
        return _model(account)

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> dict[str, Any] | bool:
        """Return the person as the file has them now; False ends their rights."""
        account = self._people().get(user.name)
        return _model(account) if account else False

    def _people(self) -> People:
        return People(Path(self.people_file))


def _model(account: Account) -> dict[str, Any]:
    stewards = [STEWARDS] if account.admin else []
    return {"name": account.name, "admin": account.admin, "groups": sorted({*account.groups, *stewards})}
