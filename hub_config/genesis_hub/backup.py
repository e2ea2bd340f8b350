"""`workbench backup`: a copy of the state folder that is whole although the workbench runs, and that `workbench up` starts.

Files that are copied while databases are written do not fit together, and what SQLite has written ahead lies beside its file.
So databases are copied by SQLite itself, and first: the files by their hash that a ledger names were there before it named
them. The copy is then looked at: the ledger's chain, and every file by its hash.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable, VerificationFailed
from genesis_workbench.core.identifiers import digest_file
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import MADE_AGAIN, State
from genesis_workbench.core.storage import BlobStore

_DATABASE = ".sqlite"
_BESIDE = ("-wal", "-shm", "-journal", ".lock")  # of a database: part of what SQLite reads, or of who writes


@dataclass
class Copied:
    """How much of one part of the folder was copied."""

    files: int = 0
    size_bytes: int = 0


def back_up(site: Site, state: State, target: Path, *, homes: bool, say: Callable[[str], None]) -> None:
    """Write a copy of the state folder; `target` is there once it is complete, and not before.

    Parameters
    ----------
    homes : bool
        Whether people's and groups' folders are in it, where this folder has them.

    Raises
    ------
    NotFound
        If there is no workbench in the state folder.
    Conflict, InvalidInput
        If `target` is there already, or one of the two folders lies in the other.
    Unavailable
        If something cannot be read or written; nothing is left of the copy.
    VerificationFailed
        If the copy is there, but its ledger or a file by its hash is damaged, as it is in the folder itself.
    """
    source, target = state.folder.resolve(), target.resolve()
    if not state.secrets.exists():
        raise NotFound(f"There is no workbench in {source}. Name its folder with --state.")
    if target.exists():
        raise Conflict(f"{target} is there already. A backup is a folder of its own: name another.")
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise InvalidInput(f"{target} and the state folder {source} must lie beside each other.")
    left_out = {*MADE_AGAIN, *(() if homes else (state.homes.name, state.groups.name))}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))  # mode 0700
        try:
            _copy(source, unfinished, left_out, say)
            faults = _looked_at(site, State(unfinished), say)
            unfinished.replace(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"The backup was not made, and nothing is left of it: {error}.") from error
    say(f"Written to {target}. `workbench up --state {target}` starts what was there.")
    if not homes:
        say("People's homes are not in it; --homes adds those that are in this folder.")
    if faults:
        raise VerificationFailed(
            f"The copy is what is there, and what is there is damaged: {'; '.join(faults)}. Keep the backup before this one."
        )


def _copy(source: Path, target: Path, left_out: set[str], say: Callable[[str], None]) -> None:
    parts: dict[str, Copied] = {}
    for databases in (True, False):
        for path in _entries(source, left_out):
            where = path.relative_to(source)
            if path.is_dir() and not path.is_symlink():
                (target / where).mkdir(exist_ok=True)
                (target / where).chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)
                continue
            if (path.suffix == _DATABASE) is not databases:
                continue
            try:
                size = (_database if databases else _file)(path, target / where)
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            part = parts.setdefault(where.parts[0], Copied())
            part.files, part.size_bytes = part.files + 1, part.size_bytes + size
    for name, part in sorted(parts.items()):
        say(f"{name:20} {part.files:8,} files {part.size_bytes / 1e6:12,.1f} MB")


def _entries(source: Path, left_out: set[str]) -> Iterator[Path]:
    """Iterate over folders, each before what is in it, files and links; anything else, such as a socket, is of a process that runs."""

    def unreadable(error: OSError) -> None:
        raise error

    for folder, names, files in os.walk(source, onerror=unreadable):
        here = Path(folder)
        if here == source:
            names[:] = [name for name in names if name not in left_out]
        for path in (here / name for name in (*names, *files)):
            if _DATABASE in path.name and path.name.endswith(_BESIDE):
                continue
            if path.is_symlink() or path.is_dir() or path.is_file():
                yield path


def _database(path: Path, to: Path) -> int:
    """Copy a database as one moment has it."""
    if not path.exists():
        raise FileNotFoundError(path)
    to.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as here,
        closing(sqlite3.connect(to)) as there,
    ):
        here.backup(there)
    return to.stat().st_size


def _file(path: Path, to: Path) -> int:
    shutil.copy2(path, to, follow_symlinks=False)
    return to.lstat().st_size


def _looked_at(site: Site, copy: State, say: Callable[[str], None]) -> list[str]:
    """Return what is damaged in a copy."""
    faults = []
    if site.ledger.url:
        say(
            f"Not in it: the ledger, in a database of its own ({_shown(site.ledger.url)}). Dump that one first."
        )
    else:
        ledger = Ledger.open(copy.ledger_url())
        try:
            found = ledger.verify()
        finally:
            ledger.close()
        if found.ok:
            say(f"The ledger is whole: {found.events:,} events, up to {found.head}.")
        else:
            faults.append(f"the ledger's chain breaks at event {found.broken_at}, {found.reason}")
    blobs = BlobStore(copy.blobs)
    wrong = [each.digest for each in blobs.listed() if digest_file(blobs.path(each.digest)) != each.digest]
    if wrong:
        faults.append(f"{len(wrong)} files are not what their hash says, such as {wrong[0]}")
    else:
        say("Every file is what its hash says.")
    return faults


def _shown(url: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)
