"""Files by their content: blobs named by SHA-256, in a folder or wherever else there is such a store."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from genesis_workbench.core.errors import InvalidInput, NotFound, VerificationFailed
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.identifiers import digest_file

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def key_of(digest: str) -> str:
    """Return where below a store a blob is.

    Raises
    ------
    InvalidInput
        If it is no digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput(f"{digest!r} is no digest: write 'sha256:' and 64 hex digits.")
    return f"{digest[7:9]}/{digest[7:]}"


@dataclass(frozen=True)
class Stored:
    """One blob as a store lists it; `modified` is the time of its last writing, in seconds since 1970."""

    digest: str
    size_bytes: int
    modified: float


class Blobs(Protocol):
    """What every store of blobs can do. Writing the same bytes twice, at once too, is writing them once."""

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; what is here already counts as written now."""
        ...

    def has(self, digest: str) -> bool:
        """Whether a blob is here."""
        ...

    def read(self, digest: str) -> bytes:
        """Read a blob and compare it with its digest; NotFound where there is none."""
        ...

    def delete(self, digest: str) -> None:
        """Delete a blob, if it is here. Whether nothing needs it is the caller's to know."""
        ...

    def listed(self) -> Iterator[Stored]:
        """Go through all blobs."""
        ...


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that whoever looks sees all of it or none, after a loss of power too."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class BlobStore:
    """Blobs in one folder. Writing the same bytes twice, at once too, is writing them once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest."""
        name = digest_of(data)
        target = self._path(name)
        try:
            os.utime(target)
        except FileNotFoundError:
            self._publish(target, lambda file: file.write(data))
        return name

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file and return its digest."""
        name = digest_file(path)
        target = self._path(name)
        if not target.exists():
            with path.open("rb") as source:
                self._publish(target, lambda file: shutil.copyfileobj(source, file))
            if digest_file(target) != name:
                target.unlink()
                raise VerificationFailed(f"{path.name} changed while it was read. Try again when it rests.")
        return name

    def has(self, digest: str) -> bool:
        """Whether a blob is here."""
        return self._path(digest).exists()

    def path(self, digest: str) -> Path:
        """Return the file that holds a blob. Its content is not compared; :meth:`read` does that."""
        path = self._path(digest)
        if not path.exists():
            raise NotFound(f"There is no file with the hash {digest} in the store.")
        return path

    def read(self, digest: str) -> bytes:
        """Read a blob and compare it with its digest."""
        data = self.path(digest).read_bytes()
        if digest_of(data) != digest:
            raise VerificationFailed(
                f"The file {digest} in the store has other content than its name says: it was changed or is damaged. "
                "Delete it and register it again from its origin."
            )
        return data

    def delete(self, digest: str) -> None:
        """Delete a blob, if it is here."""
        self._path(digest).unlink(missing_ok=True)

    def listed(self) -> Iterator[Stored]:
        """Go through all blobs."""
        for path in self.folder.glob("??/*"):
            digest = f"sha256:{path.name}"
            if _DIGEST.fullmatch(digest):
                about = path.stat()
                yield Stored(digest, about.st_size, about.st_mtime)

    def _path(self, digest: str) -> Path:
        return self.folder / key_of(digest)

    @staticmethod
    def _publish(target: Path, write: Callable[[BinaryIO], object]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o440)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
