"""The bearer token of a facility: in a file, and nowhere else."""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path

from genesis_workbench.core.errors import SignInRequired

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16000}")


class Token:
    """The bearer token of one facility, read from its file when it is needed and kept nowhere.

    Parameters
    ----------
    file : str
        Path; ``~`` is the home of whoever asks. The file holds the token alone, or a JSON object with the key
        ``IRI_API_TOKEN``, as the facilities' own sign-in notebooks write it.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def read(self) -> str:
        """Return the token.

        Raises
        ------
        SignInRequired
            If there is none, or what is there cannot be one. The message never quotes it.
        """
        if not self.file:
            raise SignInRequired("No token for the facility: set compute.iri.token_file in the site file.")
        try:
            text = Path(self.file).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "not text"
            raise SignInRequired(
                f"The facility's token cannot be read from {self.file}: {words}. Sign in at the facility and write the "
                "token there."
            ) from error
        if text.startswith("{"):
            text = self._from_json(text)
        if not _TOKEN.fullmatch(text):
            raise SignInRequired(
                f"The file {self.file} does not hold a bearer token (one word of letters, digits and . _ ~ + / = -). "
                "Sign in at the facility and write the token there."
            )
        return text

    def expires(self) -> float | None:
        """Return the moment at which it ends, in seconds since 1970, where it is a JWT that says so (unverified)."""
        parts = self.read().split(".")
        if len(parts) != 3:
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            return float(claims["exp"])
        except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
            return None

    @staticmethod
    def _from_json(text: str) -> str:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        found = value.get("IRI_API_TOKEN")
        return found if isinstance(found, str) else ""
