"""One file of unchanging content: what openers and Dask workers read from."""

from __future__ import annotations

import importlib
import io
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from genesis_workbench.core.errors import InvalidInput, TooLarge


class Content(Protocol):
    """One file as it was when it was looked at. It is small, and travels to workers without the bytes.

    `open` and `path` raise Conflict where the file is no longer that one.
    """

    @property
    def name(self) -> str:
        """What messages call it: the last part of its address."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    @property
    def state(self) -> str:
        """Text that differs wherever the content may differ."""
        ...

    def open(self) -> Stream:
        """Open for reading at any position."""
        ...

    def path(self) -> Path:
        """Return a file of this machine with the content, fetching all of it where it is elsewhere."""
        ...


class Stream(io.RawIOBase):
    """A readable file at any position, that can be sent to another process: it opens its content again there."""

    mode = "rb"

    def __init__(self, content: Content) -> None:
        super().__init__()
        self.content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.content.size}[whence]
        if start + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def read_at(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on; fewer only at the end."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Callable[[Content], Stream], tuple[Content]]:
        return _opened, (self.content,)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self.content.state


def _opened(content: Content) -> Stream:
    more_filters()
    return content.open()


@cache
def more_filters() -> None:
    """Give HDF5 the compressions of hdf5plugin where that is installed: in each process that reads."""
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")


def head(content: Content, length: int = 4096) -> bytes:
    """Return the first bytes."""
    with content.open() as stream:
        return stream.read_at(0, length)


def unpacked(content: Content, limit: int) -> bytes:
    """Return all bytes, out of gzip where they are in it.

    Raises
    ------
    TooLarge
        If they are more than `limit`, also after unpacking.
    InvalidInput
        If the gzip stream is broken or ends too early.
    """
    if content.size > limit:
        raise TooLarge(
            f"{content.name!r} has {content.size:,} bytes; at most {limit:,} are read in one piece."
        )
    with content.open() as stream:
        data = stream.read_at(0, limit)
    if not data.startswith(b"\x1f\x8b"):
        return data
    decoder = zlib.decompressobj(wbits=31)
    try:
        plain = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise InvalidInput(f"{content.name!r} is not the gzip file that it begins as: {error}.") from error
    if len(plain) > limit:
        raise TooLarge(
            f"{content.name!r} unpacks to more than the {limit:,} bytes that are read in one piece."
        )
    if not decoder.eof:
        raise InvalidInput(f"{content.name!r} is a gzip file that ends too early. Get it again.")
    return plain


_KINDS = (
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"CDF\x01", "netcdf3"),
    (b"CDF\x02", "netcdf3"),
    (b"CDF\x05", "netcdf3"),
    (b"\x0e\x03\x13\x01", "HDF4"),
    (b"GRIB", "grib"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"SIMPLE  =", "fits"),
    (b"PAR1", "parquet"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"%PDF", "PDF"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file"),
)


def kind(start: bytes) -> str:
    """Return what a file is by its first bytes; 'something else' where they do not say."""
    for magic, name in _KINDS:
        if start.startswith(magic):
            return name
    text = start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<vrtdataset"):
        return "a GDAL VRT, which points to other files"
    if text.startswith((b"<?xml", b"<")):
        return "XML"
    return "something else" if start else "empty"
