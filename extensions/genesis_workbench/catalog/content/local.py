"""Files of this machine: in packages, and in the folders that the site opens.

Nothing outside those folders is reached, by '..' and by symbolic links neither: the file that was opened is asked where it
is, so that a link which changes in between gains nothing.
"""

from __future__ import annotations

import os
import stat
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from genesis_workbench.catalog.content.file import Content, Stream
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused, Unavailable

_OPEN_FILES = 128


@dataclass(frozen=True)
class Stamp:
    """What tells a file from a changed or replaced one. The change time cannot be set back by its owner."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Read it from what the system says of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True)
class LocalContent:
    """One file in `folder`, as it was when `stamp` was taken."""

    file: str
    folder: str
    stamp: Stamp

    @classmethod
    def at(cls, path: Path, folders: tuple[str, ...]) -> LocalContent:
        """Look at `path`.

        Raises
        ------
        PermissionRefused
            If it lies in none of `folders`, or a link leads out of them.
        NotFound
            If there is no such file.
        InvalidInput
            If it is no plain file.
        """
        real = path.resolve()
        allowed = [folder for folder in (Path(f).resolve() for f in folders) if real.is_relative_to(folder)]
        if not allowed:
            raise PermissionRefused(
                f"{path.name!r} does not lie in a folder that this site opens ({_listed(folders)}). Its operator "
                "can name the folder in the site file: catalog.data_folders."
            )
        with _Descriptor(real, allowed[0]) as number:
            return cls(str(real), str(allowed[0]), Stamp.of(os.fstat(number)))

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return Path(self.file).name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.stamp.size

    @property
    def place(self) -> str:
        """Its path."""
        return self.file

    @property
    def version(self) -> tuple[int, int, int, int]:
        """What its stamp says."""
        return self.stamp.size, self.stamp.modified_ns, self.stamp.changed_ns, self.stamp.inode

    @property
    def state(self) -> str:
        """Path and stamp."""
        return f"{self.file}:{self.stamp}"

    def open(self) -> Stream:
        """Open it; Conflict where it changed."""
        return LocalStream(self)

    def path(self) -> Path:
        """Return its path; Conflict where it changed."""
        self.check()
        return Path(self.file)

    def check(self) -> None:
        """Look whether it is still what it was; Conflict where it changed."""
        with self.open():
            pass


class LocalStream(Stream):
    """Reads from an open file, and looks after each read whether it is still what it was.

    Of many streams the least used ones let go of their file, and open it again when they are read: thousands can live
    within the system's limit of open files.

    Parameters
    ----------
    content : Content
        What is sent to another process in its place.
    file : LocalContent, optional
        The file, where `content` is not that itself.
    """

    def __init__(self, content: Content, file: LocalContent | None = None) -> None:
        super().__init__(content)
        self._what = file or content
        self._lock = threading.Lock()
        self._held: _Descriptor | None = None
        self._number = -1
        self.read_at(0, 0)

    def read_at(self, start: int, length: int) -> bytes:
        what = self._what
        assert isinstance(what, LocalContent)  # noqa: S101 - for the type checker
        with self._lock:
            if self._held is None:
                held = _Descriptor(Path(what.file), Path(what.folder))
                self._number = held.__enter__()
                self._held = held
            data = os.pread(self._number, max(0, min(length, what.size - start)), start)
            if Stamp.of(os.fstat(self._number)) != what.stamp:
                raise Conflict(f"{what.name!r} changed since it was opened. Open the dataset again.")
        _used(self)
        return data

    def let_go(self, *, wait: bool = True) -> None:
        """Close the file until the next read; unless it is read just now and `wait` is not set."""
        if self._lock.acquire(blocking=wait):
            try:
                if self._held is not None:
                    self._held.__exit__()
                self._held = None
            finally:
                self._lock.release()

    def close(self) -> None:
        if not self.closed:
            with _pool_lock:
                _pool.pop(id(self), None)
            self.let_go()
        super().close()


_pool: OrderedDict[int, weakref.ref[LocalStream]] = OrderedDict()
_pool_lock = threading.Lock()


def _used(stream: LocalStream) -> None:
    """Count `stream` as the one used last, and have the ones used longest ago let go."""
    idle = []
    with _pool_lock:
        _pool[id(stream)] = weakref.ref(stream)
        _pool.move_to_end(id(stream))
        while len(_pool) > _OPEN_FILES:
            idle.append(_pool.popitem(last=False)[1]())
    for old in idle:
        if old is not None:
            old.let_go(wait=False)


class _Descriptor:
    """An open plain file inside a folder."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder, self._number = path, folder, -1

    def __enter__(self) -> int:
        try:
            # Not blocking: a named pipe would wait for its writer.
            self._number = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(
                f"There is no file {self._path.name!r} any more, or none that may be read."
            ) from None
        except OSError as error:
            raise Unavailable(f"{self._path.name!r} cannot be read: {error.strerror}.") from error
        real = Path(f"/proc/self/fd/{self._number}")
        if not stat.S_ISREG(os.fstat(self._number).st_mode):
            self.__exit__()
            raise InvalidInput(f"{self._path.name!r} is no plain file.")
        if real.exists() and not real.resolve().is_relative_to(self._folder):
            self.__exit__()
            raise PermissionRefused(f"{self._path.name!r} leads out of the folder that the site opens.")
        return self._number

    def __exit__(self, *_exc: object) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


@dataclass(frozen=True)
class PackageContent:
    """A file of an installed package, of exactly the content that the record names. It holds no path: each machine has
    its own."""

    url: str
    checksum: str | None

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.url.rpartition("/")[2]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._here().size

    @property
    def state(self) -> str:
        """Address and checksum."""
        return f"{self.url}:{self.checksum}"

    def open(self) -> Stream:
        """Open it after its content was compared with the checksum."""
        return LocalStream(self, self._here())

    def path(self) -> Path:
        """Return its path after its content was compared with the checksum."""
        return Path(self._here().file)

    def _here(self) -> LocalContent:
        from genesis_workbench.catalog.openers._base import verified_file

        path = verified_file(self.url, self.checksum)
        return _package(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _package(path: Path, _modified_ns: int) -> LocalContent:
    return LocalContent.at(path, (str(path.parent),))


def _listed(folders: tuple[str, ...]) -> str:
    return f"it opens {len(folders)}" if folders else "it opens none"
