"""JSON that is larger than memory: the elements of its top-level lists, one after the other."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import ijson

from genesis_workbench.core.errors import InvalidInput

_CHUNK = 256 * 1024


def records(
    file: BinaryIO, source: str, names: tuple[str, ...], unfold: Callable[[str, Any], Iterable[Any]]
) -> Iterator[Any]:
    """Yield what `unfold` makes of each element of the lists `names` of an object.

    Memory is bounded by the largest element. The file is read once for each list that it may have.

    Parameters
    ----------
    file : file
        Open for reading bytes, at any position; each list is looked for from its start.
    source : str
        Name of the source, for messages.
    names : tuple of str
        Keys of the object whose values are lists of interest.
    unfold : callable
        Gets the key and an element.

    Raises
    ------
    InvalidInput
        If it is not JSON, or an object without any of the lists; also after some records, where it breaks off.
    """
    count = 0
    try:
        for name in _lists(file, names):
            for element in ijson.items(_Utf8(file), f"{name}.item", use_float=True, buf_size=_CHUNK):
                for record in unfold(name, element):
                    count += 1
                    yield record
    except (ijson.JSONError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"The source {source!r} sent broken JSON: it cannot be read to its end.", detail=str(error)
        ) from error
    if not count:
        raise InvalidInput(f"The source {source!r} sent a large document without a list {names[0]!r} in it.")


def _lists(file: BinaryIO, names: tuple[str, ...]) -> list[str]:
    """Return which of the lists may be there: a key of such a name with a list stands somewhere in the file."""
    reader, found, rest = _Utf8(file), set(), b""
    pattern = re.compile(b'"(' + b"|".join(name.encode() for name in names) + rb')"\s{0,200}:\s{0,200}\[')
    while piece := reader.read(_CHUNK):
        found |= {match.group(1).decode() for match in pattern.finditer(rest + piece)}
        rest = piece[-500:]
    return [name for name in names if name in found]


class _Utf8:
    """A file from its start as UTF-8, whatever Unicode encoding it is in; undecodable bytes become U+FFFD."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        encoding = json.detect_encoding(file.read(4)).replace("utf-8-sig", "utf-8")
        file.seek(0)
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._first = True

    def read(self, size: int = -1) -> bytes:
        if size == 0:  # how ijson asks whether it gets bytes
            return b""
        while True:
            chunk = self._file.read(size)
            text = self._decoder.decode(chunk, final=not chunk)
            if self._first and text:
                text, self._first = text.removeprefix("\ufeff"), False
            if text or not chunk:
                return text.encode()
