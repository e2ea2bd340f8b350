"""`workbench backup`: a copy of the state folder that is whole although the workbench runs, and that `workbench up` starts.

Files that are copied while databases are written do not fit together, and what SQLite has written ahead lies beside its file.
So the workbench's own databases are copied by SQLite itself, and first: the files by their hash that a ledger names were there
before it named them. Whatever else people keep is copied as it lies there. The copy is then looked at: the ledger's chain, and
every file by its hash.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable, VerificationFailed
from genesis_workbench.core.identifiers import digest_file
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import MADE_AGAIN, State
from genesis_workbench.core.storage import BlobStore

_BESIDE = ("-wal", "-shm", "-journal", ".lock")  # of a database: part of what SQLite reads, or of who writes

_TOLD = 5


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
        If the copy is there, but its ledger or a file by its hash is damaged, as it is in the folder itself, or something of a
        person's could not be read.
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
            faults = _copy(state, source, unfinished, left_out, say)
            faults += _looked_at(site, State(unfinished), say)
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
            f"The copy is there, and not all is well with it: {'; '.join(faults[:_TOLD])}"
            f"{f', and {len(faults) - _TOLD} more' if len(faults) > _TOLD else ''}. Keep the backup before this one."
        )


def _copy(
    state: State, source: Path, target: Path, left_out: set[str], say: Callable[[str], None]
) -> list[str]:
    """Copy everything, and return what of people's own could not be."""
    parts: dict[str, Copied] = {}
    theirs = {folder.name for folder in (state.homes, state.groups, state.jobs)}
    faults: list[str] = []
    databases = _databases(source)
    beside = {path.with_name(path.name + end) for path in databases for end in _BESIDE}
    # Databases first, wherever they are.
    for path in [*databases, *_entries(source, left_out, theirs, faults)]:
        where = path.relative_to(source)
        to = target / where
        if path in beside or to.is_file():
            continue
        try:
            if path.is_dir() and not path.is_symlink():
                _folder(path, to)
                continue
            for parent in reversed(where.parents[:-1]):
                _folder(source / parent, target / parent)
            size = _database(path, to) if path in databases else _file(path, to)
        except FileNotFoundError:
            continue  # it was deleted meanwhile
        except PermissionError as error:
            if where.parts[0] not in theirs:
                raise
            faults.append(f"{where} cannot be read ({error.strerror})")
            continue
        part = parts.setdefault(where.parts[0], Copied())
        part.files, part.size_bytes = part.files + 1, part.size_bytes + size
    for name, part in sorted(parts.items()):
        say(f"{name:20} {part.files:8,} files {part.size_bytes / 1e6:12,.1f} MB")
    return faults


def _databases(source: Path) -> list[Path]:
    """Return the workbench's own databases; a file of somebody's that looks like one is a file."""
    state = State(source)
    own = [state.hub_database, Path(state.ledger_url().removeprefix("sqlite:///"))]
    own += sorted(state.laboratories.glob("*/journal.sqlite"))
    return [path for path in own if path.is_file() and not path.is_symlink()]


def _entries(source: Path, left_out: set[str], theirs: set[str], faults: list[str]) -> Iterator[Path]:
    """Iterate over folders, each before what is in it, files and links; anything else, such as a socket, is of a process that runs."""

    def unreadable(error: OSError) -> None:
        where = Path(error.filename).relative_to(source)
        if where.parts and where.parts[0] not in theirs:
            raise error
        faults.append(f"{where} cannot be read ({error.strerror})")

    for folder, names, files in os.walk(source, onerror=unreadable):
        here = Path(folder)
        if here == source:
            names[:] = [name for name in names if name not in left_out]
        for path in (here / name for name in (*names, *files)):
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                    yield path


def _folder(path: Path, to: Path) -> None:
    """Make a folder that is as open as the one it is a copy of, and that its owner can write."""
    if not to.is_dir():
        to.mkdir()
        to.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)


def _database(path: Path, to: Path) -> int:
    """Copy a database as one moment has it."""
    to.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as here,
        closing(sqlite3.connect(to)) as there,
    ):
        here.backup(there)
    return to.stat().st_size


def _file(path: Path, to: Path) -> int:
    if path.is_symlink():
        to.symlink_to(path.readlink())
    else:
        shutil.copy2(path, to)
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
