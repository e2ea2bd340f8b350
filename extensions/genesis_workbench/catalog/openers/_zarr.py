"""Stores that zarr reads from: a folder of the site, or addresses below one, each key checked before it is a path.

Guarded: keys that lead out of the store, links that do, metadata that names a codec which runs code (pickle) or is larger
than any honest one, and the sum of bytes read. Not guarded: the compression libraries' own handling of hostile pieces.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from genesis_workbench.catalog.content import LocalContent, Places
from genesis_workbench.catalog.content.places import local_path
from genesis_workbench.core.errors import (
    InvalidInput,
    NotFound,
    PermissionRefused,
    TooLarge,
    VerificationFailed,
)

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_MAX_METADATA = 64 * 2**20


class ContentStore(Store):
    """A read-only store. It travels to workers with its address.

    Parameters
    ----------
    url : str
        ``file://``, ``http(s)://`` or ``s3://`` address of the store's root.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, url: str, places: Places) -> None:
        super().__init__(read_only=True)
        self.url = url.rstrip("/")
        self.places = places
        self.read = 0
        self._root = _allowed_folder(self.url, places) if url.startswith("file://") else None

    def __eq__(self, value: object) -> bool:
        return isinstance(value, ContentStore) and (value.url, value.places) == (self.url, self.places)

    def __hash__(self) -> int:
        return hash((self.url, self.places))

    def __str__(self) -> str:
        return f"content-store:{self.url}"

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "ContentStore", self.url

    def with_read_only(self, read_only: bool = False) -> ContentStore:
        """Return itself: nothing here can be written."""
        if not read_only:
            raise InvalidInput("Data of the catalog are opened for reading only.")
        return self

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        data = self.fetch(key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, wanted) for key, wanted in key_ranges]

    async def exists(self, key: str) -> bool:
        return self.fetch(key, RangeByteRequest(0, 1)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise InvalidInput("Data of the catalog are opened for reading only.")

    async def delete(self, key: str) -> None:
        raise InvalidInput("Data of the catalog are opened for reading only.")

    async def list(self) -> AsyncIterator[str]:
        async for name in self.list_prefix(""):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        if self._root is not None:
            folder = self._root / checked_key(prefix) if prefix else self._root
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield str(path.relative_to(self._root))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        if self._root is not None:
            folder = self._root / checked_key(prefix) if prefix else self._root
            for path in sorted(folder.iterdir() if folder.is_dir() else ()):
                yield path.name

    def fetch(self, key: str, wanted: ByteRequest | None = None) -> bytes | None:
        """Return the bytes of `key`, or a part of them; None where there is no such key.

        Raises
        ------
        VerificationFailed
            If the key leads out of the store, or metadata name a codec that is refused.
        TooLarge
            If more was read from a remote store than is allowed.
        """
        name = checked_key(key)
        try:
            data = self._local(name, wanted) if self._root is not None else self._remote(name, wanted)
        except NotFound:
            return None
        if wanted is None:
            check_metadata(key, data)
        return data

    def _local(self, key: str, wanted: ByteRequest | None) -> bytes:
        path = Path(f"{self._root}/{key}")
        if not path.is_file():
            raise NotFound(key)
        content = LocalContent.at(path, (str(self._root),))
        start, end = bounds(wanted, content.size)
        with content.open() as stream:
            return stream.read_at(start, end - start)

    def _remote(self, key: str, wanted: ByteRequest | None) -> bytes:
        url = f"{self.places.address(self.url)}/{key}"
        headers = {"accept-encoding": "identity"}
        if isinstance(wanted, RangeByteRequest):
            headers["range"] = f"bytes={wanted.start}-{wanted.end - 1}"
        elif isinstance(wanted, OffsetByteRequest):
            headers["range"] = f"bytes={wanted.offset}-"
        elif isinstance(wanted, SuffixByteRequest):
            headers["range"] = f"bytes=-{wanted.suffix}"
        answer = self.places.fetcher(url).fetch(url, headers=headers)
        self.read += len(answer.body)
        if self.read > self.places.max_bytes:
            raise TooLarge(
                f"More than {self.places.max_bytes:,} bytes were read from this store. If you want more, say how much: "
                "gw.open(..., max_bytes=...)."
            )
        if wanted is not None and answer.status != 206:  # a server without ranges sends all of it
            start, end = bounds(wanted, len(answer.body))
            return answer.body[start:end]
        return answer.body


class CheckedStore(WrapperStore[Any]):
    """Looks at the metadata that another store gives."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        data: Buffer | None = await self._store.get(key, prototype, byte_range)
        if data is not None and byte_range is None and key.rpartition("/")[2] in _METADATA:
            check_metadata(key, data.to_bytes())
        return data


def checked_key(key: str) -> str:
    """Return `key` where it stays inside a store; VerificationFailed otherwise."""
    if key.startswith("/") or "\\" in key or "\x00" in key or any(p in ("..", ".") for p in key.split("/")):
        raise VerificationFailed(
            f"This Zarr store names {key[:80]!r}, which leads out of it. It is not opened; tell its publisher."
        )
    return key


def check_metadata(key: str, data: bytes) -> None:
    """Refuse metadata that are broken, too large, or name a codec that runs code or a key that leads out."""
    name = key.rpartition("/")[2]
    if name not in _METADATA:
        return
    if len(data) > _MAX_METADATA:
        raise TooLarge(f"{key!r} has {len(data):,} bytes of metadata; at most {_MAX_METADATA:,} are read.")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        start = data[:60].lstrip().lower()
        what = "an HTML page" if start.startswith((b"<!doctype html", b"<html")) else "no JSON"
        raise InvalidInput(
            f"The Zarr metadata {key!r} are {what}. Look at the address in the browser."
        ) from error
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for label in ("id", "name"):
                if "pickle" in str(value.get(label, "")).lower() and name != ".zattrs":
                    raise VerificationFailed(
                        f"The Zarr metadata {key!r} name the codec {value[label]!r}: reading it would run code from the "
                        "file, which is refused. Ask its publisher for another encoding."
                    )
            for inner in value.get("metadata", {}) if isinstance(value.get("metadata"), dict) else ():
                checked_key(str(inner))
            waiting += [
                v for k, v in value.items() if k not in ("attributes", "attrs") and not k.endswith(".zattrs")
            ]
        elif isinstance(value, list):
            waiting += value


def _allowed_folder(url: str, places: Places) -> Path:
    real = local_path(url).resolve()
    if not any(real.is_relative_to(Path(f).resolve()) for f in places.data_folders):
        raise PermissionRefused(
            f"{real.name!r} does not lie in a folder that this site opens. Its operator can name the folder in the site "
            "file: catalog.data_folders."
        )
    if not real.is_dir():
        raise NotFound(f"There is no folder {real.name!r} there.")
    return real


def bounds(wanted: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return the first byte of a part of `size` bytes, and the one behind its last; all of them where no part is wanted."""
    if isinstance(wanted, RangeByteRequest):
        return min(wanted.start, size), min(wanted.end, size)
    if isinstance(wanted, OffsetByteRequest):
        return min(wanted.offset, size), size
    if isinstance(wanted, SuffixByteRequest):
        return max(0, size - wanted.suffix), size
    return 0, size
