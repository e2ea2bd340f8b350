"""What a person's server is busy with, said by whatever works in it: a server that works is not ended as idle.

A cell that runs, a terminal and a job of this machine are seen from outside; what works in the background of an idle kernel
says so here. Each says it again at least once a minute, in a file of the server's runtime folder, so that whoever is killed
stops saying it.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

_FRESH_S = 120.0


def say(what: str) -> None:
    """Say that the server of this process is busy, such as with 'a Dask computation'. Outside a server nobody listens.

    Parameters
    ----------
    what : str
        What a person reads in 'busy with …'.
    """
    folder = _folder()
    if folder is None:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(f"{os.getpid()} {what}".encode()).hexdigest()[:16]
    (folder / name).write_text(what)


def heard() -> list[str]:
    """Return what was said within the last two minutes."""
    folder = _folder()
    if folder is None or not folder.is_dir():
        return []
    said = set()
    for file in folder.iterdir():
        try:
            if time.time() - file.stat().st_mtime < _FRESH_S:
                said.add(file.read_text("utf-8", "replace")[:100])
            else:
                file.unlink()
        except FileNotFoundError:
            continue  # somebody else has just cleared it away
    return sorted(said)


def _folder() -> Path | None:
    runtime = os.environ.get("JUPYTER_RUNTIME_DIR", "")
    return Path(runtime) / "genesis-busy" if runtime and os.environ.get("JUPYTERHUB_SERVICE_PREFIX") else None
