"""The people of a laptop site: names, password hashes and groups in one file."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.identifiers import check_slug

# RFC 7914's costs for interactive sign-in: 16 MiB and about 50 ms a guess.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Account:
    """One person who may sign in. `id` tells them from who had the name before; empty in files of before it was there."""

    name: str
    password: str = field(repr=False)
    groups: tuple[str, ...] = ()
    admin: bool = False
    id: str = ""


class People:
    """The file of accounts. Each change is one atomic replacement under a lock; what has not changed is not read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[tuple[int, ...], dict[str, Account]] = ((), {})

    def all(self) -> list[Account]:
        """Return everybody, by name."""
        return sorted(self._read().values(), key=lambda account: account.name)

    def get(self, name: str) -> Account | None:
        """Return one account."""
        return self._read().get(name)

    def add(self, name: str, *, groups: tuple[str, ...] = (), admin: bool = False) -> str:
        """Add a person and return a password made for them. It is kept nowhere but as a hash."""
        if len(check_slug(name, "person")) > 30 or not name.replace("-", "").isalnum() or "--" in name:
            raise InvalidInput(f"{name!r} cannot be a name: use up to 30 of a-z, 0-9 and single '-'.")
        for group in groups:
            check_slug(group, "group")
        password = new_password()
        with self._changing() as accounts:
            if name in accounts:
                raise Conflict(
                    f"{name!r} is there already. `workbench users password {name}` gives a new password."
                )
            accounts[name] = Account(
                name, hash_password(password), tuple(sorted(set(groups))), admin, secrets.token_hex(8)
            )
        return password

    def remove(self, name: str) -> None:
        """Remove a person. Their home folder stays."""
        with self._changing() as accounts:
            self._known(accounts, name)
            del accounts[name]

    def new_password(self, name: str) -> str:
        """Give a person a new password and return it. It signs out every browser that the old one let in."""
        password = new_password()
        with self._changing() as accounts:
            accounts[name] = replace(self._known(accounts, name), password=hash_password(password))
        return password

    def change_groups(self, name: str, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> Account:
        """Put a person into groups and take them out of others."""
        for group in add:
            check_slug(group, "group")
        with self._changing() as accounts:
            account = self._known(accounts, name)
            groups = tuple(sorted((set(account.groups) | set(add)) - set(remove)))
            accounts[name] = replace(account, groups=groups)
            return accounts[name]

    def check(self, name: str, password: str) -> Account | None:
        """Return the account if the password is right. Takes as long for an unknown name."""
        account = self.get(name)
        right = matches(password, account.password if account else _NOBODY)
        return account if account and right else None

    def _read(self) -> dict[str, Account]:
        try:
            file = self._path.open()
        except FileNotFoundError:
            return {}
        with file:
            about = os.fstat(file.fileno())
            version = about.st_ino, about.st_mtime_ns, about.st_size
            if version != self._seen[0]:
                accounts = [Account(**{**row, "groups": tuple(row["groups"])}) for row in json.load(file)]
                self._seen = version, {account.name: account for account in accounts}
        return dict(self._seen[1])

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            accounts = self._read()
            yield accounts
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".people-")  # mode 0600
            with os.fdopen(handle, "w") as file:
                json.dump([asdict(account) for account in accounts.values()], file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)

    @staticmethod
    def _known(accounts: dict[str, Account], name: str) -> Account:
        if name not in accounts:
            raise NotFound(f"There is nobody called {name!r}. `workbench users list` shows who is there.")
        return accounts[name]


def new_password() -> str:
    """Make a password of 20 characters without look-alikes: 98 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def hash_password(password: str) -> str:
    """Hash with scrypt and a new salt."""
    salt = secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def matches(password: str, hashed: str) -> bool:
    """Compare in constant time."""
    _, salt, key = hashed.split("$")
    found = hashlib.scrypt(password.encode(), salt=base64.b64decode(salt), **_SCRYPT)
    return hmac.compare_digest(found, base64.b64decode(key))


_NOBODY = hash_password(secrets.token_hex(16))
