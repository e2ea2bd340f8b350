"""Sessions of browsers: kept in this process, known to the browser by a random name only."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

_MOST = 20_000


@dataclass(frozen=True)
class Session:
    """A browser that was let in. `token` is the person's and never leaves this process.

    `dashboard` is empty for the service's own origin; otherwise the session is good at that dashboard's only.
    """

    token: str = field(repr=False)
    name: str
    dashboard: str
    expires: float


class Sessions:
    """Sessions, and the one-time codes that carry one from the service's origin to a dashboard's."""

    def __init__(self, *, lives_s: float = 12 * 3600, code_lives_s: float = 30) -> None:
        self._lives_s, self._code_lives_s = lives_s, code_lives_s
        self._sessions: dict[str, Session] = {}
        self._codes: dict[str, tuple[Session, float]] = {}

    def open(self, token: str, name: str, dashboard: str = "") -> str:
        """Open a session and return its secret name."""
        secret = secrets.token_urlsafe(32)
        _trim(self._sessions)
        self._sessions[secret] = Session(token, name, dashboard, time.time() + self._lives_s)
        return secret

    def get(self, secret: str | None, dashboard: str = "") -> Session | None:
        """Return the session if it is good at this place."""
        session = self._sessions.get(secret or "")
        if session is None or session.expires < time.time() or session.dashboard != dashboard:
            return None
        return session

    def code(self, token: str, name: str, dashboard: str) -> str:
        """Make a code that opens one session at one dashboard, once, within seconds."""
        code = secrets.token_urlsafe(32)
        _trim(self._codes)
        now = time.time()
        self._codes[code] = (Session(token, name, dashboard, now), now + self._code_lives_s)
        return code

    def redeem(self, code: str, dashboard: str) -> str | None:
        """Turn a code into a session's secret name; None where it is used, too old or for another dashboard."""
        found = self._codes.pop(code, None)
        if found is None or found[1] < time.time() or found[0].dashboard != dashboard:
            return None
        return self.open(found[0].token, found[0].name, dashboard)


def _trim(kept: dict[str, Session] | dict[str, tuple[Session, float]]) -> None:
    """Forget the oldest where there are too many: a browser signs in again without noticing."""
    while len(kept) >= _MOST:
        kept.pop(next(iter(kept)))
