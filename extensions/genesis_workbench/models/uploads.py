"""Files on their way to the zoo: sent in parts, by digest, and gone on with where they stopped.

Each person has files of their own here, so two who send the same at once do not meet, and that somebody else has sent a
file tells nobody anything: only whoever sends the bytes has them. A file is the zoo's once a model is registered with it.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, TooLarge, VerificationFailed
from genesis_workbench.core.identifiers import digest, digest_of

PART_BYTES = 8 * 2**20
MOST_BYTES = 256 * 2**20
MOST_OPEN_BYTES = 1024 * 2**20
"""Of all files that one person has begun to send."""
KEPT_S = 24 * 3600
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Uploads:
    """Begun files below one folder. Safe for threads and processes: a lock on each file, its length is the offset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, person: str, name: str, size_bytes: int) -> int:
        """Begin to send a file, or go on; return how many bytes are here.

        Raises
        ------
        TooLarge
            If the file, or all that the person has begun, is larger than is taken.
        """
        if not 0 < size_bytes <= MOST_BYTES:
            raise TooLarge(f"The artifact has {size_bytes:,} bytes; 1 to {MOST_BYTES:,} are taken.")
        path = self._path(person, name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.collect(KEPT_S, path.parent)
        begun = {each: _promised(each) for each in path.parent.glob("*.size")}
        others = sum(size for each, size in begun.items() if each.stem != path.stem)
        if others + size_bytes > MOST_OPEN_BYTES:
            raise TooLarge(
                f"You have begun to send {others:,} bytes; with this file it would be more than {MOST_OPEN_BYTES:,}. "
                "Register what you sent, or wait a day until it is forgotten."
            )
        with _locked(path) as file:
            promise = path.with_suffix(".size")
            if promise.exists() and _promised(promise) != size_bytes:
                file.truncate(0)
            promise.write_text(str(size_bytes), encoding="ascii")
            return file.seek(0, os.SEEK_END)

    def offset(self, person: str, name: str) -> int:
        """Return how many bytes of a file are here; NotFound where it was not begun."""
        return self._begun(person, name).stat().st_size

    def append(self, person: str, name: str, offset: int, data: bytes) -> int:
        """Add a part, and return how many bytes are here then.

        Raises
        ------
        Conflict
            If the part begins elsewhere than where the file ends, or another part is being written.
        TooLarge
            If the part is too large, or goes beyond the size that was promised.
        """
        if len(data) > PART_BYTES:
            raise TooLarge(f"The part has {len(data):,} bytes; at most {PART_BYTES:,} are taken at once.")
        path = self._begun(person, name)
        with _locked(path) as file:
            here = file.seek(0, os.SEEK_END)
            if here != offset:
                raise Conflict(
                    f"{here:,} bytes of the file are here: send what follows them, not {offset:,}."
                )
            if here + len(data) > _promised(path.with_suffix(".size")):
                raise TooLarge("The part goes beyond the size that was promised. Begin again.")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            return here + len(data)

    def whole(self, person: str, name: str) -> bytes:
        """Return the file, if all of it is here and it is what its digest says.

        Raises
        ------
        Conflict
            If a part of it is missing.
        VerificationFailed
            If it has another digest; it is forgotten then.
        """
        path = self._begun(person, name)
        with _locked(path) as file:
            size, promised = file.seek(0, os.SEEK_END), _promised(path.with_suffix(".size"))
            if size != promised:
                raise Conflict(f"Only {size:,} of {promised:,} bytes have arrived. Send the rest first.")
            seen = digest_of(file)
            if seen != name:
                self._forget(path)
                raise VerificationFailed(
                    f"What was sent has the digest {seen}, not {name}: it changed on the way. Send it again."
                )
            file.seek(0)
            return file.read()

    def forget(self, person: str, name: str) -> None:
        """Delete a file that was begun, if it is here."""
        self._forget(self._path(person, name))

    def collect(self, older_than_s: float, folder: Path | None = None) -> list[Path]:
        """Delete what nobody has added to for so long; return what it was."""
        stale = []
        for path in (folder or self._folder).glob("**/*.part" if folder is None else "*.part"):
            if time.time() - path.stat().st_mtime <= older_than_s:
                continue
            try:
                with _locked(path):
                    self._forget(path)
            except Conflict:  # somebody adds to it now
                continue
            stale.append(path)
        return stale

    @staticmethod
    def _forget(path: Path) -> None:
        path.with_suffix(".size").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _begun(self, person: str, name: str) -> Path:
        path = self._path(person, name)
        if not path.with_suffix(".size").exists() or not path.exists():
            raise NotFound(
                f"You have not begun to send {name[:80]}, or so long ago that it was forgotten. Begin again."
            )
        return path

    def _path(self, person: str, name: str) -> Path:
        if not _DIGEST.fullmatch(name):
            raise InvalidInput(f"{name[:80]!r} is no digest: write 'sha256:' and 64 hex digits.")
        return self._folder / digest(person.encode())[7:39] / f"{name[7:]}.part"


def _promised(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii") or 0)
    except FileNotFoundError:  # forgotten in this moment
        return 0


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for whoever is first; the others are told."""
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("Another part of this file is being written at this moment. Try again.") from error
        yield file
