"""What a person's server is busy with, said by whatever works in it: a server that works is not ended as idle.

A cell that runs, a terminal and a job of this machine are seen from outside; what works in the background of an idle kernel
says so here. Each says it again at least once a minute, in a file of the server's runtime folder, so that whoever is killed
stops saying it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genesis_workbench.core.storage import write_whole

_FRESH_S = 120.0
_AGAIN_S = 20.0


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say so at once and every 20 seconds until the block ends, however long one call in it takes."""
    if _folder() is None:
        yield
        return
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(_AGAIN_S):
            say(what)

    say(what)
    threading.Thread(target=go_on, name="busy", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def say(what: str) -> None:
    """Say that the server of this process is busy, such as with 'a Dask computation'. Outside a server nobody listens.

    May be called as often as one likes: what was said a moment ago is not written again.

    Parameters
    ----------
    what : str
        What a person reads in 'busy with …'.
    """
    folder = _folder()
    if folder is None:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / hashlib.sha256(f"{os.getpid()} {what}".encode()).hexdigest()[:16]
    with suppress(FileNotFoundError):
        if time.time() - file.stat().st_mtime < _AGAIN_S / 2:
            return
    write_whole(file, what.encode())


def heard() -> list[str]:
    """Return what was said within the last two minutes."""
    folder = _folder()
    if folder is None or not folder.is_dir():
        return []
    said = set()
    for file in folder.glob("[!.]*"):  # what begins with a dot is being written
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
