"""Looks at the file behind each piece that is read: a changed one gives an error, never a number.

Icechunk compares times of one second's resolution, and only whether a file is newer. A file replaced by an older one, or
changed within the second, would be read as if it were the old one. Here size, times and inode are compared after each
read, so what was read came from the file that was scanned.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from genesis_workbench.catalog.content.local import Stamp
from genesis_workbench.core.errors import Conflict


class GuardedStore(WrapperStore[Any]):
    """A store of references to the files of one manifest.

    Parameters
    ----------
    store : zarr store
        Resolves the references.
    manifest : str
        Path of the manifest. It is sent to workers by its path.
    """

    def __init__(self, store: Any, manifest: str = "") -> None:
        super().__init__(store)
        self.manifest = manifest

    def _with_store(self, store: Any) -> GuardedStore:
        return GuardedStore(store, self.manifest)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a piece, then look at its file."""
        try:
            data = await self._store.get(key, prototype, byte_range)
        finally:
            self._check(key)  # also where Icechunk noticed something: ours says which file
        return data  # type: ignore[no-any-return]

    def _check(self, key: str) -> None:
        name, mark, position = key.partition("/c/")
        if not mark:
            return
        known = sources(self.manifest)
        if name not in known.chunk_lengths:
            return
        path, version = known.at(name, int(position.partition("/")[0]))
        try:
            same = Stamp.of(Path(path).stat(follow_symlinks=False)) == Stamp(*version)
        except OSError:
            same = False
        if not same:
            raise Conflict(
                f"{Path(path).name!r} changed since the cube was opened. Open the dataset again: what changed is then "
                "read anew."
            )


class Sources:
    """The files of a manifest by their position along the cube.

    Attributes
    ----------
    chunk_lengths : dict
        Length of the pieces of each referred variable along the cube.
    starts : list of int
        First index of each file.
    files : list
        Place and version of each file.
    """

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.chunk_lengths: dict[str, int] = manifest["chunk_lengths"]
        self.starts: list[int] = []
        self.files: list[tuple[str, tuple[Any, ...]]] = []
        at = 0
        for place, length, *version in manifest["files"]:
            self.starts.append(at)
            self.files.append((place, tuple(version)))
            at += length

    def at(self, name: str, position: int) -> tuple[str, tuple[Any, ...]]:
        """Return place and version of the file that holds a piece, by the piece's first index."""
        return self.files[bisect_right(self.starts, position * self.chunk_lengths[name]) - 1]


@lru_cache(maxsize=16)
def sources(manifest: str) -> Sources:
    """Read a manifest; it never changes under its name."""
    return Sources(json.loads(Path(manifest).read_bytes()))
