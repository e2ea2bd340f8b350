"""Browsers at the service's own origin: signed in by the hub's OAuth, with PKCE and a state tied to the browser."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from tornado.web import HTTPError

from genesis_services import pages
from genesis_services.identity import Identity
from genesis_services.sessions import Session, Sessions
from genesis_workbench.core.errors import GenesisError

_SESSION, _STATE = "genesis-session", "genesis-oauth"
_STATE_LIVES_S = 600
_MOST_STATES = 10_000


class SignIn:
    """The OAuth client of the hub."""

    def __init__(self, identity: Identity, sessions: Sessions, prefix: str) -> None:
        self._identity, self._sessions, self._prefix = identity, sessions, prefix
        self._states: dict[str, tuple[str, str, float]] = {}  # state -> next path, PKCE verifier, expiry

    def session(self, request: Request) -> Session | None:
        """Return who is signed in at this origin."""
        return self._sessions.get(request.cookies.get(_SESSION))

    def begin(self, next_path: str) -> Response:
        """Send the browser to the hub, to come back to `next_path` of this origin."""
        oauth = self._identity.oauth
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        while len(self._states) >= _MOST_STATES:
            self._states.pop(next(iter(self._states)))
        self._states[state] = (next_path, verifier, time.time() + _STATE_LIVES_S)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "client_id": oauth.oauth_client_id,
            "redirect_uri": oauth.oauth_redirect_uri,
            "response_type": "code",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        answer = RedirectResponse(f"{oauth.oauth_authorization_url}?{urlencode(query)}", 302)
        answer.set_cookie(
            _STATE,
            state,
            max_age=_STATE_LIVES_S,
            path=self._prefix,
            httponly=True,
            samesite="lax",
            secure=oauth.oauth_redirect_uri.startswith("https"),
        )
        return answer

    def router(self) -> APIRouter:
        """Return the route that the hub sends the browser back to."""
        router = APIRouter(include_in_schema=False)

        @router.get("/oauth_callback")
        async def oauth_callback(request: Request, code: str = "", state: str = "") -> Response:
            known = self._states.pop(state, None)
            tied = secrets.compare_digest(request.cookies.get(_STATE, ""), state)
            if known is None or not tied or known[2] < time.time() or not code:
                return pages.message(
                    "Signing in did not work",
                    "It took too long, or it began in another browser. Open the address again.",
                    status=400,
                )
            next_path, verifier, _ = known
            try:
                token = await self._identity.oauth.token_for_code(code, code_verifier=verifier, sync=False)
                person = await self._identity.person(token, fresh=True)
            except (HTTPError, GenesisError):
                return pages.message(
                    "Signing in did not work",
                    "The hub did not confirm it. Open the address again.",
                    status=403,
                )
            answer = RedirectResponse(next_path, 302)
            answer.delete_cookie(_STATE, path=self._prefix)
            answer.set_cookie(
                _SESSION,
                self._sessions.open(token, person.name),
                path=self._prefix,
                httponly=True,
                samesite="lax",
                secure=self._identity.oauth.oauth_redirect_uri.startswith("https"),
            )
            return answer

        return router
