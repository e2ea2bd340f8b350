"""What layouts share: what comes out of one, and reading files of a folder that somebody else made."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from genesis_workbench.core.errors import InvalidInput, TooLarge
from genesis_workbench.models.formats._base import MAX_BYTES, read_json
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature

RECORD = "genesis.json"
"""What the other layout has no place for: signature, self-test, card and lineage, as JSON."""
MOST_TEXT_BYTES = 4 * 2**20
_KEPT = ("signature", "card", "self_test", "lineage", "domain", "intervals", "format")


@dataclass(frozen=True)
class Incoming:
    """A model on its way in. What its layout does not say is None, and must be given by whoever imports it."""

    format: str
    artifact: bytes = field(repr=False)
    source: dict[str, Any]
    signature: Signature | None = None
    card: ModelCard | None = None
    self_test: SelfTest | None = None


def read_file(folder: Path, name: str, most_bytes: int = MAX_BYTES) -> bytes:
    """Read one file of a folder: a plain one, that does not lead elsewhere.

    Raises
    ------
    InvalidInput
        If it is not there, or is a link.
    TooLarge
        If it has more than `most_bytes`.
    """
    path = folder / name
    try:
        about = path.lstat()
    except OSError as error:
        raise InvalidInput(f"{folder} has no file {name!r}.") from error
    if not stat.S_ISREG(about.st_mode) or path.resolve().parent != path.parent.resolve():
        raise InvalidInput(
            f"{path} is no plain file: links are not followed. Download the model with its files in place."
        )
    if about.st_size > most_bytes:
        raise TooLarge(f"{path} has {about.st_size:,} bytes; at most {most_bytes:,} are taken.")
    return path.read_bytes()


def has(folder: Path, name: str) -> bool:
    """Whether there is something of that name."""
    return (folder / name).is_file()


def record_of(version: ModelVersion) -> str:
    """Return the text of :data:`RECORD`."""
    record = version.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({key: record[key] for key in _KEPT if key in record}, indent=2)


def read_record(content: bytes) -> dict[str, Any]:
    """Return what :data:`RECORD` says: signature, card, self-test, format.

    Raises
    ------
    InvalidInput
        If it cannot be used.
    """
    told = read_json(content, RECORD)
    if not isinstance(told, dict):
        raise InvalidInput(f"{RECORD} is no object of JSON.")
    kinds: dict[str, type[BaseModel]] = {"signature": Signature, "card": ModelCard, "self_test": SelfTest}
    try:
        known: dict[str, Any] = {
            name: kind.model_validate(told[name]) for name, kind in kinds.items() if name in told
        }
    except ValidationError as error:
        raise InvalidInput(f"{RECORD} cannot be used: {str(error)[:300]}.") from error
    if isinstance(told.get("format"), str):
        known["format"] = told["format"]
    return known
