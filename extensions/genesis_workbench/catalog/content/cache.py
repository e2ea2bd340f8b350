"""Whole copies of remote files, in a folder of the person's own, found by address, size and entity tag."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_BYTES = 50 * 2**30
"""Size of all copies above which old ones go."""
_DAY_S = 86_400


class Cache:
    """Copies in one folder. Safe for threads and processes: a copy appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str, size: int) -> Path | None:
        """Return the copy for `key` where there is one of that size."""
        path = self._path(key)
        if not path.is_file() or path.stat().st_size != size:
            return None
        os.utime(path)  # the ones used last are kept
        return path

    @contextmanager
    def receiving(self) -> Iterator[Any]:
        """Give a file to write to; it is gone afterwards unless :meth:`keep` took it."""
        # Copies may be of data that others must not see.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".new-", delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: Any, key: str) -> Path:
        """Keep what was received under `key`."""
        file.flush()
        path = self._path(key)
        path.unlink(missing_ok=True)
        os.link(file.name, path)
        self._make_room()
        return path

    def note(self, url: str, size: int, etag: str) -> None:
        """Remember which copy of `url` is the last."""
        with self.receiving() as file:
            file.write(f"{size} {etag}".encode())
            self.keep(file, f"last {url}")

    def last(self, url: str) -> tuple[int, str]:
        """Return size and entity tag of the last copy of `url`; zero and nothing where there is none."""
        try:
            size, _, etag = self._path(f"last {url}").read_text().partition(" ")
        except FileNotFoundError:
            return 0, ""
        return int(size), etag

    def _make_room(self) -> None:
        """Remove the copies used longest ago, but none of this day: somebody may be reading it."""
        known = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in self.folder.glob("[!.]*"))
        total = sum(size for _, size, _ in known)
        for used, size, path in known:
            if total <= MAX_BYTES or time.time() - used < _DAY_S:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.sha256(key.encode()).hexdigest()
