"""What a node gives back, read with care: numbers by name, files out of a ZIP archive, and its words on what went wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from genesis_workbench.experiments.instruments._base import Done, Failed

_MOST_BYTES = 64 * 2**20
_UNCERTAINTY = "_uncertainty"


def measured(result: Any, archive: bytes) -> Done | Failed:
    """Return what an action gave.

    Parameters
    ----------
    result : object
        ``{"y": 1.2, "y_uncertainty": 0.1}``, or the list of such objects as which some versions of MADSci send it.
    archive : bytes
        A ZIP archive of its files; empty where it has none.
    """
    parts = result if isinstance(result, list) else [result]
    found: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Mapping):
            found |= {str(name): value for name, value in part.items()}
    numbers = {name: float(value) for name, value in found.items() if _number(value)}
    values = {name: value for name, value in numbers.items() if not name.endswith(_UNCERTAINTY)}
    spread = {name: numbers[name + _UNCERTAINTY] for name in values if name + _UNCERTAINTY in numbers}
    try:
        return Done(values, spread, _unpacked(archive) if archive else {})
    except (zipfile.BadZipFile, ValueError) as error:
        return Failed(f"It ended, and its files cannot be read: {error}")


def words_of(answer: Mapping[str, Any]) -> str:
    """Return what a node says of what went wrong."""
    words = [str(each.get("message") or "") for each in _errors(answer)]
    return "; ".join(filter(None, words))[:1000] or "it gives no reason"


def forgotten(answer: Mapping[str, Any]) -> bool:
    """Whether a node that is asked to start an action knows of none that waits under this identifier."""
    return any(each.get("error_type") == "NotFound" for each in _errors(answer))


def _errors(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    errors = answer.get("errors")
    return [each for each in (errors if isinstance(errors, list) else [errors]) if isinstance(each, Mapping)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        if sum(each.file_size for each in packed.infolist()) > _MOST_BYTES:
            raise ValueError(f"unpacked they are more than {_MOST_BYTES} bytes")
        files = {}
        for each in packed.infolist():
            if not each.is_dir():
                with packed.open(each) as file:
                    # No more than it says that it holds, whatever it holds.
                    files[PurePosixPath(each.filename).name] = file.read(each.file_size + 1)
        return files
