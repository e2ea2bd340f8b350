"""Whether an artifact is what its record says: hash and size each time, the self-test once on each kind of machine.

What has not passed here goes through the quarantine first. What passed is remembered by artifact, promises, libraries and
hardware, in this process and in the state folder: another version of a library, or another processor, tests it again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from genesis_workbench.core.errors import VerificationFailed
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.service import local_state
from genesis_workbench.models import quarantine
from genesis_workbench.models.machine import hardware
from genesis_workbench.models.selftest import format_of

if TYPE_CHECKING:
    from genesis_workbench.models.formats._base import Loaded
    from genesis_workbench.models.record import ModelVersion

_KEPT = 8

_lock = threading.RLock()
_passed: set[str] = set()
_sessions: OrderedDict[tuple[str, str], Loaded] = OrderedDict()


def verify(version: ModelVersion, data: bytes) -> None:
    """Compare an artifact with its record.

    Raises
    ------
    VerificationFailed
        If hash, size or signature differ, or the self-test gives other numbers here; says how far they are off.
    """
    _check_digest(version.artifact, data)
    if len(data) != version.size_bytes:
        raise VerificationFailed(
            f"The artifact of {version.reference} has {len(data):,} bytes; its record says {version.size_bytes:,}."
        )
    key = _key(version)
    if key in _passed:
        return
    mark = local_state() / "verified" / key
    if not _is_ours(mark):
        quarantine.examine(version, data)
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark.touch(mode=0o600)
    _passed.add(key)


def loaded(version: ModelVersion, data: bytes) -> Loaded:
    """Return the runnable artifact: verified and loaded once in each process.

    Raises
    ------
    VerificationFailed
        If it is not what the record says.
    """
    key = (version.artifact, digest_json(version.signature.model_dump(mode="json")))
    with _lock:
        if key in _sessions and _key(version) in _passed:
            _sessions.move_to_end(key)
            return _sessions[key]
        verify(version, data)
        session = format_of(version.format).load(data, version.signature)
        _sessions[key] = session
        while len(_sessions) > _KEPT:
            _sessions.popitem(last=False)
        return session


def forget() -> None:
    """Forget in this process what passed and what is loaded."""
    with _lock:
        _passed.clear()
        _sessions.clear()


def _key(version: ModelVersion) -> str:
    """Name what was tested: the bytes, what was promised of them, and what ran them."""
    promises = {name: getattr(version, name).model_dump(mode="json") for name in ("signature", "self_test")}
    ran = [*format_of(version.format).versions(), hardware()]
    return digest_json([version.artifact, version.size_bytes, version.format, promises, ran])[7:]


def _is_ours(mark: Path) -> bool:
    """Whether a mark is there and nobody else made it."""
    try:
        return mark.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _check_digest(digest: str, data: bytes) -> None:
    seen = digest_of(data)
    if seen != digest:
        raise VerificationFailed(
            f"The artifact has the hash {seen}; its record says {digest}. It was changed or is damaged: "
            "register it again from its origin."
        )
