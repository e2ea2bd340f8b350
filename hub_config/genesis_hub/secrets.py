"""Tokens and keys of one installation: made at first start, kept in one file that only its owner reads."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from genesis_workbench.core.errors import InvalidInput


@dataclass(frozen=True)
class Secrets:
    """What the processes of one installation know of each other. Its repr shows nothing."""

    proxy_token: str = field(repr=False)
    service_token: str = field(repr=False)
    cookie_secret: str = field(repr=False)
    crypt_key: str = field(repr=False)

    @property
    def supervisor_token(self) -> str:
        """Token with which the supervisor tells the hub that the proxy was started again."""
        return self._derived("supervisor")

    @property
    def culler_token(self) -> str:
        """Token with which servers that have fallen silent are ended."""
        return self._derived("culler")

    def _derived(self, purpose: str) -> str:
        return hmac.new(bytes.fromhex(self.cookie_secret), purpose.encode(), hashlib.sha256).hexdigest()

    @classmethod
    def load_or_make(cls, path: Path) -> Secrets:
        """Read the file, or make it with new secrets (mode 0600)."""
        if path.exists():
            try:
                return cls(**json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise InvalidInput(
                    f"{path} cannot be read. Restore it from a backup; without it everybody has to sign in again: "
                    "then delete it."
                ) from error
        made = cls(*(secrets.token_hex(32) for _ in range(4)))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(made), file)
        return made
