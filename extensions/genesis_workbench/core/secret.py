"""A secret that an operator keeps in a file of its own: it is in no site file, no log and no event."""

from __future__ import annotations

from pathlib import Path

from genesis_workbench.core.errors import InvalidInput


def read_private(path: str, setting: str) -> str:
    """Read a secret that the operator wrote into a file; `setting` names the site file's key for it.

    Raises
    ------
    InvalidInput
        If it cannot be read, or others can read it.
    """
    file = Path(path)
    try:
        if file.stat().st_mode & 0o077:
            raise InvalidInput(f"{file} can be read by others. Make it its owner's alone: chmod 600 {file}.")
        return file.read_text().strip()
    except OSError as error:
        raise InvalidInput(
            f"{setting} {file} cannot be read ({error.strerror}). Write the secret there, mode 0600."
        ) from error
