"""Names for things: sortable identifiers, content digests, idempotency keys."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import InvalidInput

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,118}[a-z0-9])?")


def new_id(prefix: str) -> str:
    """Make a new identifier that sorts by the time of its making.

    Parameters
    ----------
    prefix : str
        Three letters that say what it names, such as ``exp``.

    Returns
    -------
    str
        ``prefix_`` and 26 characters of a ULID (48 bits of milliseconds, 80 random bits), in lower case.
    """
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def check_slug(text: str, what: str) -> str:
    """Return `text` if it can be a name in URLs and file names; raise InvalidInput otherwise."""
    if not _SLUG.fullmatch(text) or ".." in text:
        raise InvalidInput(
            f"{text!r} cannot be the name of a {what}: use 1 to 120 of a-z, 0-9, '.', '_' and '-', "
            "beginning and ending with a letter or digit."
        )
    return text


def canonical_json(value: Any) -> bytes:
    """Encode `value` so that equal values give equal bytes (RFC 8785 but for the form of floats).

    Raises
    ------
    InvalidInput
        For NaN and infinities, which JSON does not have, and for values that JSON cannot carry.
    """
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"This value cannot be written as JSON: {error}.") from error


def digest(data: bytes) -> str:
    """SHA-256 of `data` as ``sha256:<64 hex digits>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: Any) -> str:
    """SHA-256 of an open file's content from its start on, read in pieces."""
    file.seek(0)
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return digest(canonical_json(value))


def idempotency_key(*parts: str | int) -> str:
    """Derive the key under which one execution runs, from what makes it that execution.

    The parts are hashed as a JSON list, so ``("a", "bc")`` and ``("ab", "c")`` differ.
    """
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:40]
