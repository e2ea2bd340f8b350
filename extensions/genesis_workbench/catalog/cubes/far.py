"""Cubes of files behind http(s), objects of a bucket or not: the references are tables of our own, and each piece is read by the site's rules.

Icechunk would fetch with a client of its own, which knows nothing of refused addresses, of limits on what is read and of
entity tags. Here each piece is a request of :class:`HttpContent`: an object that changed gives an error, never a number.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from genesis_workbench.catalog.content import HttpContent, Places
from genesis_workbench.catalog.cubes.guard import sources
from genesis_workbench.catalog.cubes.scan import FileScan, Layout
from genesis_workbench.catalog.cubes.store import CubeStore
from genesis_workbench.catalog.openers._zarr import bounds
from genesis_workbench.core.errors import TooLarge

_AT_ONCE = 16
_HEAD_BYTES = 2**18


def heads(files: Sequence[HttpContent]) -> Iterator[HttpContent]:
    """Yield `files` in order with their first bytes, which hold most of what a scan wants; some are fetched ahead."""
    waiting: deque[Future[HttpContent]] = deque()
    coming = iter(files)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cube-heads") as pool:
        try:
            while True:
                while len(waiting) < 2 * _AT_ONCE and (content := next(coming, None)) is not None:
                    waiting.append(pool.submit(_with_head, content))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _with_head(content: HttpContent) -> HttpContent:
    return replace(content, head=content.get(0, _HEAD_BYTES)) if content.size else content


class FarCubeStore(CubeStore):
    """One cube of files behind http(s), with a table for each variable beside its repository."""

    def __init__(self, folder: Path, bucket: str, places: Places) -> None:
        super().__init__(folder, bucket)
        self._places = places
        self._tables: dict[str, NDArray[np.uint64]] = {}

    def store(self, manifest: dict[str, Any]) -> FarStore:
        """Return the store to read the cube from."""
        session = self._repository().readonly_session(snapshot_id=manifest["snapshot"])
        return FarStore(session.store, str(self.folder / f"{manifest['snapshot']}.json"), self._places)

    def _repository(self, *, make: bool = False) -> icechunk.Repository:
        storage = icechunk.local_filesystem_storage(str(self.folder / "repository"))
        return (icechunk.Repository.open_or_create if make else icechunk.Repository.open)(storage)

    def _refer(
        self,
        session: icechunk.Session,
        manifest: dict[str, Any] | None,
        files: Sequence[Any],
        scans: Sequence[FileScan],
        starts: Sequence[int],
        stamp_s: float,
    ) -> None:
        total = starts[-1] + scans[-1].length
        for name, layout in scans[0].layouts.items():
            if layout.loaded:
                continue
            if manifest is None:
                table = _empty(layout, total)
            else:
                table = np.array(pieces(str(self.folder / f"{manifest['snapshot']}.json"), name))
            for scan, start in zip(scans, starts, strict=True):
                first = start // layout.chunks[0]
                table[first : first - (-scan.length // layout.chunks[0])] = 0
                for position, offset, length in scan.pieces[name]:
                    table[first + position[0], *position[1:]] = offset, length
            self._tables[name] = table

    def _check(self, files: Sequence[Any]) -> None:
        """Nothing: the entity tag of each object is compared whenever a piece of it is read."""

    def _keep(self, snapshot: str) -> None:
        for name, table in self._tables.items():
            np.save(_path(str(self.folder / f"{snapshot}.json"), name), table, allow_pickle=False)


class FarStore(WrapperStore[Any]):
    """Reads pieces from the objects that they lie in, and everything else from `store`.

    Parameters
    ----------
    manifest : str
        Path of the manifest. It is sent to workers by its path.
    """

    def __init__(self, store: Any, manifest: str = "", places: Places | None = None) -> None:
        super().__init__(store)
        self.manifest = manifest
        self._places = places or Places()

    def _with_store(self, store: Any) -> FarStore:
        return FarStore(store, self.manifest, self._places)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a piece."""
        name, mark, position = key.partition("/c/")
        if not mark or name not in sources(self.manifest).chunk_lengths:
            found: Buffer | None = await self._store.get(key, prototype, byte_range)
            return found
        data = await asyncio.to_thread(self._piece, name, tuple(map(int, position.split("/"))))
        if data is None:
            return None
        start, end = bounds(
            byte_range, len(data)
        )  # zarr asks for parts of sharded pieces only, which these are not
        return prototype.buffer.from_bytes(data[start:end])

    def _piece(self, name: str, index: tuple[int, ...]) -> bytes | None:
        offset, length = (int(number) for number in pieces(self.manifest, name)[index])
        if not length:
            return None  # nothing was ever written there: fill values
        url, (size, etag) = sources(self.manifest).at(name, index[0])
        _count(self.manifest, length, self._places.max_bytes)
        private = self._places.is_private(url)
        return HttpContent(url, size, etag, True, private, self._places.cache, self._places.max_bytes).get(
            offset, length
        )


@lru_cache(maxsize=256)
def pieces(manifest: str, name: str) -> NDArray[np.uint64]:
    """Return where the pieces of a variable lie, as (first byte, bytes) by position; it never changes under its name."""
    table: NDArray[np.uint64] = np.load(_path(manifest, name), mmap_mode="r", allow_pickle=False)
    return table


def _path(manifest: str, name: str) -> Path:
    # The name comes from a file that nobody here controls, and may be longer than a file's can be.
    return Path(manifest).with_suffix(f".{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy")


def _empty(layout: Layout, total: int) -> NDArray[np.uint64]:
    shape = (total, *layout.shape[1:])
    grid = [-(-length // step) for length, step in zip(shape, layout.chunks, strict=True)]
    return np.zeros((*grid, 2), np.uint64)


_read: Counter[str] = Counter()
_lock = threading.Lock()


def _count(manifest: str, length: int, limit: int) -> None:
    """Count what this process reads for a cube; TooLarge beyond the limit."""
    with _lock:
        _read[manifest] += length
        total = _read[manifest]
    if total > limit:
        raise TooLarge(
            f"The {limit:,} bytes that are read of one dataset are used up. If you want more, say how much: "
            "gw.open(..., max_bytes=...)."
        )
