"""Sign-in by an OpenID Connect provider, which also says which groups a person is in."""

from __future__ import annotations

import ipaddress
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPError

from genesis_hub.names import safe_name
from genesis_hub.roles import STEWARDS
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import OidcSection

_GRACE_S = 600.0


class OidcAuthenticator(GenericOAuthenticator):
    """The provider is asked again at each refresh: who left the allowed groups loses browser, tokens and spawn.

    A provider that does not answer takes nobody's rights for ten minutes; then nobody's are known any more.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._away: dict[str, float] = {}  # since when nothing is said of a person

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Return the name here: small letters, digits and hyphens, since it becomes a host and a folder."""
        return safe_name(str(super().user_info_to_username(user_info)).strip().lower())

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> dict[str, Any] | None:
        """Return the person as the provider describes them."""
        model = await super().authenticate(handler, data, **kwargs)
        return _with_stewards(model) if model else None

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> dict[str, Any] | bool:
        """Return the person as the provider has them now; False ends their rights."""
        try:
            fresh = await super().refresh_user(user, handler, **kwargs)
        except (HTTPError, OSError) as error:
            since = time.monotonic() - self._away.setdefault(user.name, time.monotonic())
            self.log.warning("the provider does not say who %s is, for %.0f s: %s", user.name, since, error)
            return since < _GRACE_S
        self._away.pop(user.name, None)
        if not isinstance(fresh, dict):
            return bool(fresh)
        # allowed_groups is looked at upstream only when somebody signs in.
        if fresh["name"] != user.name or not await self.check_allowed(user.name, fresh):
            self.log.warning("%s is no longer in a group that may use this workbench", user.name)
            return False
        return _with_stewards(fresh)


def configure(c: Any, section: OidcSection, public_url: str) -> None:
    """Write the settings, with the addresses that the provider publishes.

    Raises
    ------
    InvalidInput
        If a setting is missing, or the provider would be reached without encryption.
    Unavailable
        If the provider does not answer.
    """
    endpoints = _discovered(_checked(section))
    c.JupyterHub.authenticator_class = OidcAuthenticator
    mine = c.OidcAuthenticator
    mine.login_service = section.title
    mine.client_id = section.client_id
    mine.client_secret = read_private(section.client_secret_file, "people.oidc.client_secret_file")
    mine.authorize_url = endpoints["authorization_endpoint"]
    mine.token_url = endpoints["token_endpoint"]
    mine.userdata_url = endpoints["userinfo_endpoint"]
    mine.oauth_callback_url = f"{public_url}/hub/oauth_callback"
    if section.ca_file:
        mine.http_request_kwargs = {"ca_certs": section.ca_file}
    mine.scope = list(section.scopes)
    mine.username_claim = section.name_claim
    mine.auth_state_groups_key = lambda state: _claimed(state["oauth_user"], section.groups_claim)
    mine.allowed_groups = set(section.allowed_groups)
    mine.allow_all = not section.allowed_groups
    mine.admin_groups = set(section.admin_groups)
    mine.enable_auth_state = True  # the provider's tokens, encrypted: without them nothing can be asked again


def _claimed(claims: dict[str, Any], path: str) -> set[str]:
    """Return the groups that a claim lists; STEWARDS is given by the workbench alone."""
    found: Any = claims
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return (
        {group for group in found if isinstance(group, str)} - {STEWARDS}
        if isinstance(found, list)
        else set()
    )


def _with_stewards(model: dict[str, Any]) -> dict[str, Any]:
    stewards = {STEWARDS} if model.get("admin") else set()
    return {**model, "groups": sorted({*(model.get("groups") or ()), *stewards})}


def _checked(section: OidcSection) -> OidcSection:
    for key in ("issuer", "client_id", "client_secret_file"):
        if not getattr(section, key):
            raise InvalidInput(f"people.oidc.{key} is missing, which sign-in by OpenID Connect needs.")
    parts = urlsplit(section.issuer)
    if parts.scheme != "https" and not _loopback(parts.hostname or ""):
        raise InvalidInput(
            f"people.oidc.issuer is {section.issuer}: passwords and tokens would travel in clear. Use https."
        )
    return section


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusted(section: OidcSection) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=section.ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidInput(
            f"people.oidc.ca_file {section.ca_file} cannot be used ({error.strerror or error}). It holds certificates, as PEM."
        ) from error


def _discovered(section: OidcSection) -> dict[str, str]:
    url = section.issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        told = httpx.get(url, timeout=10, trust_env=False, verify=_trusted(section)).raise_for_status().json()
        return {
            key: str(told[key]) for key in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
        }
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"The OpenID Connect provider at {section.issuer} does not publish its addresses at {url}: {str(error) or type(error).__name__}. "
            "Check people.oidc.issuer and ca_file, and that the provider runs.",
        ) from error
