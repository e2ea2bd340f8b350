"""What an executor writes down about its trials, so that a process that comes later knows what was begun."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import Unavailable
from genesis_workbench.core.identifiers import check_slug

_MOMENT_S = 60.0
"""More than the clocks of a home's machine and of a file server differ."""


class Notes:
    """One small file for each key, in a folder of the state.

    Parameters
    ----------
    what : str
        What a key names, for messages.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what

    def read(self, key: str) -> dict[str, Any] | None:
        """Return what was written; empty where its writer died over it, None where there is nothing."""
        try:
            text = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._away(error) from error
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            return {}
        return found

    def fresh(self, key: str) -> bool:
        """Whether a note was begun a moment ago: one that is empty may just be being written."""
        try:
            return time.time() - self._path(key).stat().st_mtime < _MOMENT_S
        except OSError:
            return False

    def begin(self, key: str, kept: dict[str, Any]) -> bool:
        """Write the first note of a key, so that it outlasts a loss of power; False where there is one already."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("xb") as file:
                file.write(json.dumps(kept).encode())
                file.flush()
                os.fsync(file.fileno())
            self._settle()
        except FileExistsError:
            return False
        except OSError as error:
            raise self._away(error) from error
        return True

    def write(self, key: str, kept: dict[str, Any]) -> None:
        """Write another note in place of the one that there is."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(kept))
        draft.replace(path)

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"The {self._what} cannot be written down in {self._folder}: {error.strerror}. Make room, or give the account "
            "the right to write there; it is tried again."
        )

    def _settle(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, key: str) -> Path:
        return self._folder / f"{check_slug(key, self._what)}.json"
