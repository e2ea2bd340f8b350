"""Sign-in by a directory that speaks LDAP, which also says which groups a person is in.

The connection is encrypted before a word is said, and the directory's certificate checked. Whoever leaves the directory or the
allowed groups loses browser, tokens and spawn at the next refresh, as with every other way to sign in.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from ldap3 import AUTO_BIND_NONE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from traitlets import Any as AnyTrait

from genesis_hub.authentication import Guesses, unless_known
from genesis_hub.names import safe_name
from genesis_hub.roles import STEWARDS
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import LdapSection

_GRACE_S = 600.0


@dataclass(frozen=True)
class Entry:
    """A person as the directory knows them."""

    dn: str
    name: str
    groups: frozenset[str]


class Directory:
    """The questions that are asked of the directory. Each opens a connection of its own, and waits at most as long as the site says.

    Parameters
    ----------
    section : LdapSection
        What the site file says.
    """

    def __init__(self, section: LdapSection) -> None:
        self._section = _checked(section)
        self._tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=section.ca_file or None)

    @property
    def _server(self) -> Server:
        """The directory, made anew each time: ldap3 leaves one alone for a while that did not answer once."""
        parts, section = urlsplit(self._section.url), self._section
        return Server(
            parts.hostname, parts.port, use_ssl=parts.scheme == "ldaps", tls=self._tls, connect_timeout=section.timeout_s
        )  # fmt: skip

    def check(self, name: str, password: str) -> Entry | None:
        """Return a person whose password is right.

        Raises
        ------
        Unavailable
            If the directory does not answer.
        """
        if not password:
            return None  # with an empty one most directories let everybody in as nobody
        found = self.find(name)
        if found is None:
            return None
        try:
            with self._connected(found.dn, password):
                return found
        except _WrongPassword:
            return None

    def find(self, name: str) -> Entry | None:
        """Return a person of exactly that name, with the groups they are in now; None where there is none.

        Raises
        ------
        Unavailable
            If the directory does not answer, or refuses to be asked.
        """
        section = self._section
        wanted = f"(&({section.name_attribute}={escape_filter_chars(name)}){section.people_filter})"
        try:
            with self._connected(section.bind_dn, _password(section)) as connection:
                people = _search(connection, section.people_base, wanted, section.name_attribute)
                if len(people) != 1:
                    return None
                dn, names = people[0]
                return Entry(dn, names[0], self._groups(connection, dn, names[0]))
        except _WrongPassword as error:
            raise Unavailable(
                f"The directory refuses people.ldap.bind_dn {section.bind_dn!r}. Check bind_password_file."
            ) from error

    def _groups(self, connection: Connection, dn: str, name: str) -> frozenset[str]:
        section = self._section
        if not section.groups_base:
            return frozenset()
        values = {escape_filter_chars(dn), escape_filter_chars(name)}
        member = "".join(
            f"({each}={value})" for each in section.member_attributes for value in sorted(values)
        )
        found = _search(connection, section.groups_base, f"(|{member})", section.group_attribute)
        return frozenset(names[0] for _, names in found) - {STEWARDS}

    @contextmanager
    def _connected(self, dn: str, password: str) -> Iterator[Connection]:
        connection = Connection(
            self._server,
            user=dn or None,
            password=password or None,
            auto_bind=AUTO_BIND_NONE,
            receive_timeout=self._section.timeout_s,
            read_only=True,
        )
        try:
            self._bind(connection)
            yield connection
        finally:
            connection.strategy.close()

    def _bind(self, connection: Connection) -> None:
        try:
            connection.open()
            if not self._server.ssl:
                connection.start_tls()
            right = connection.bind()
        except (LDAPException, OSError) as error:
            raise Unavailable(
                f"The directory at {self._section.url} does not answer as it should. Tell an administrator.",
                detail=repr(error),
            ) from error
        if not right:
            raise _WrongPassword(str(connection.result.get("description")))


class LdapAuthenticator(Authenticator):
    """Names and passwords of a directory. A directory that is away takes nobody's rights for ten minutes."""

    section: Any = AnyTrait(help="The site file's section.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guesses = Guesses()
        self._away: dict[str, float] = {}  # since when nothing is said of a person
        self._directory = Directory(self.section)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Check name and password; at most 10 wrong ones a minute for one name."""
        name = data.get("username", "").strip().lower()
        if not name or self._guesses.too_many(name):
            self.log.warning("Too many wrong passwords for %r within a minute", name)
            return None
        try:
            entry = await asyncio.to_thread(self._directory.check, name, data.get("password", ""))
        except Unavailable as error:
            self.log.warning("%s %s", error.message, error.detail)
            return None
        if entry is None:
            self._guesses.wrong(name)
            return None
        self._guesses.right(name)
        self._away.pop(safe_name(name), None)
        return self._model(entry)

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> dict[str, Any] | bool:
        """Return the person as the directory has them now; False ends their rights."""
        try:
            entry = await asyncio.to_thread(self._directory.find, await self._original(user))
        except Unavailable as error:
            since = time.monotonic() - self._away.setdefault(user.name, time.monotonic())
            self.log.warning(
                "the directory does not say who %s is, for %.0f s: %s", user.name, since, error.detail
            )
            return since < _GRACE_S
        self._away.pop(user.name, None)
        model = self._model(entry) if entry else None
        return unless_known(user, model) if model and model["name"] == user.name else False

    async def _original(self, user: Any) -> str:
        state = await user.get_auth_state()
        return str((state or {}).get("name", user.name))

    def _model(self, entry: Entry) -> dict[str, Any] | None:
        """Return the person for the hub; None where they are in no allowed group."""
        allowed = set(self.section.allowed_groups)
        if allowed and not allowed & entry.groups:
            self.log.warning("%s is in no group that may use this workbench", entry.name)
            return None
        admin = bool(set(self.section.admin_groups) & entry.groups)
        groups = sorted(entry.groups | ({STEWARDS} if admin else set()))
        name = safe_name(entry.name.strip().lower())
        return {"name": name, "admin": admin, "groups": groups, "auth_state": {"name": entry.name}}


class _WrongPassword(Exception):
    """The directory did not take the name and the password."""


def configure(c: Any, section: LdapSection) -> None:
    """Write the settings.

    Raises
    ------
    InvalidInput
        If a setting is missing or unsafe.
    """
    _password(_checked(section))
    c.JupyterHub.authenticator_class = LdapAuthenticator
    c.LdapAuthenticator.section = section
    c.LdapAuthenticator.enable_auth_state = True  # the directory's own spelling of the name
    c.Authenticator.allow_all = True  # allowed_groups are looked at above, at every refresh too


def _checked(section: LdapSection) -> LdapSection:
    for key in ("url", "people_base"):
        if not getattr(section, key):
            raise InvalidInput(f"people.ldap.{key} is missing, which sign-in by a directory needs.")
    parts = urlsplit(section.url)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname:
        raise InvalidInput(f"people.ldap.url is {section.url!r}. It looks like 'ldaps://ldap.example.org'.")
    return section


def _password(section: LdapSection) -> str:
    if not section.bind_dn:
        return ""
    return read_private(section.bind_password_file, "people.ldap.bind_password_file")


def _search(connection: Connection, base: str, wanted: str, attribute: str) -> list[tuple[str, list[str]]]:
    """Return places in the directory with the values of an attribute; those without one are left out."""
    connection.search(base, wanted, attributes=[attribute], size_limit=1000)
    found = []
    for each in connection.response or []:
        if each.get("type") == "searchResEntry" and (values := each["attributes"].get(attribute)):
            names = values if isinstance(values, list) else [values]
            found.append((str(each["dn"]), [str(name) for name in names]))
    return found
