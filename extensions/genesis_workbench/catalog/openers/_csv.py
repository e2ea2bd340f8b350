"""CSV files that nobody described: columns and types from their beginning, rows in blocks of bounded size.

Guarded: rows longer than a megabyte, blocks larger than 33, quotes that go over a block's end, more columns than anybody
means. A table out of gzip is read at once, up to 256 MiB.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesis_workbench.catalog.content import Content
from genesis_workbench.catalog.content.file import kind, unpacked
from genesis_workbench.catalog.openers._base import reading
from genesis_workbench.core.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    import pandas as pd

BLOCK_BYTES = 32 * 2**20
LINE_BYTES = 2**20
_SAMPLE_BYTES = 2**20
_MAX_COLUMNS = 20_000


@dataclass(frozen=True)
class Table:
    """How the rows of one file are read."""

    content: Content
    separator: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    start: int
    """First byte after the line of names."""
    encoding: str


def describe(content: Content, dtype: dict[str, str]) -> tuple[Table, pd.DataFrame]:
    """Read the beginning and return how the rest is read, with an empty frame of the same types.

    Raises
    ------
    InvalidInput
        If it is no table: binary, HTML, rows of different lengths.
    TooLarge
        If a row is longer than a megabyte.
    """
    import pandas as pd

    with content.open() as stream:
        raw = stream.read_at(0, _SAMPLE_BYTES)
    found = kind(raw)
    if found != "something else" or b"\x00" in raw:
        raise InvalidInput(
            f"{content.name!r} should be a CSV table, but is {found if found != 'something else' else 'binary'}. Look at "
            "the dataset's page, and open another of its distributions."
        )
    encoding = _encoding(raw, len(raw) == content.size)
    if b"\r" in raw and b"\n" not in raw:
        raise InvalidInput(
            f"The lines of {content.name!r} end as those of old Macintoshes did, with CR alone, which is not read in parts. Open it "
            "with pandas by hand, or another distribution of the dataset."
        )
    if len(raw) < content.size:
        end = raw.rfind(b"\n")
        if end < 0:
            raise _long(content)
        raw = raw[: end + 1]
    head = raw.partition(b"\n")[0]
    if len(head) > LINE_BYTES:
        raise _long(content)
    separator = _separator(head.decode(encoding, "replace"))
    with reading(content.name):
        sample = pd.read_csv(io.BytesIO(raw), sep=separator, encoding=encoding, low_memory=False)
    if len(sample.columns) > _MAX_COLUMNS:
        raise TooLarge(
            f"{content.name!r} has {len(sample.columns):,} columns; at most {_MAX_COLUMNS:,} are read."
        )
    if not isinstance(sample.index, pd.RangeIndex):
        raise InvalidInput(
            f"The rows of {content.name!r} have more values than its first line has names: that line is no header. Read "
            "the file with pandas by hand, or open another distribution of the dataset."
        )
    whole = len(raw) == content.size
    types = tuple(
        dtype.get(str(n), _type(t, whole)) for n, t in zip(sample.columns, sample.dtypes, strict=True)
    )
    table = Table(content, separator, tuple(map(str, sample.columns)), types, len(head) + 1, encoding)
    return table, pd.DataFrame({n: pd.Series(dtype=t) for n, t in zip(table.names, types, strict=True)})


def blocks(table: Table) -> list[tuple[int, int]]:
    """Return where each block begins and ends; rows belong to the block that they begin in."""
    size = table.content.size
    return [(at, min(at + BLOCK_BYTES, size)) for at in range(table.start, size, BLOCK_BYTES)] or [
        (size, size)
    ]


def read_block(place: tuple[int, int], table: Table, attrs: dict[str, Any]) -> pd.DataFrame:
    """Read the rows that begin in one block."""
    import pandas as pd

    name = table.content.name
    with reading(name):
        raw = _rows(table, *place) or b"\n"
        frame = pd.read_csv(
            io.BytesIO(raw),
            sep=table.separator,
            header=None,
            names=list(table.names),
            encoding=table.encoding,
            dtype=dict(zip(table.names, table.types, strict=True)),
            index_col=False,
        )
    frame.attrs.update(attrs)
    return frame


def unpacked_frame(content: Content, attrs: dict[str, Any], limit: int = 256 * 2**20) -> pd.DataFrame:
    """Read a table out of gzip, which cannot be read from the middle."""
    import pandas as pd

    with reading(content.name):
        raw = unpacked(content, limit)
        encoding = _encoding(raw[:_SAMPLE_BYTES], len(raw) <= _SAMPLE_BYTES)
        head = raw[:LINE_BYTES].splitlines()[:1]
        separator = _separator(head[0].decode(encoding, "replace")) if head else ","
        frame = pd.read_csv(io.BytesIO(raw), sep=separator, encoding=encoding, low_memory=False)
    frame.attrs.update(attrs)
    return frame


def _encoding(raw: bytes, whole: bool) -> str:
    """Return how the beginning of a table, or all of it, is encoded: UTF-8, unless it cannot be."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(raw) - 4 or whole:  # a letter may be cut off at the end of what was read
            return "latin-1"
    return "utf-8-sig"


def _rows(table: Table, start: int, end: int) -> bytes:
    with table.content.open() as stream:
        raw = stream.read_at(start - 1, end - start + 1 + LINE_BYTES)
    whole = start - 1 + len(raw) >= table.content.size

    def after(at: int) -> int:
        found = raw.find(b"\n", at)
        if found < 0 and not whole:
            raise _long(table.content)
        return found + 1 or len(raw)

    # A row begins after the first line end of a block, and goes on to the first one of the next.
    raw = raw[1 if start == table.start else after(0) : after(end - start)]
    if raw.count(b'"') % 2:
        raise InvalidInput(
            f"A quoted value of {table.content.name!r} goes over the end of a block. Read the file with engine='duckdb', "
            "which needs no blocks."
        )
    return raw


def _separator(head: str) -> str:
    try:
        return csv.Sniffer().sniff(head, ",\t;|").delimiter
    except csv.Error:
        return ","


def _type(dtype: Any, whole: bool) -> str:
    if dtype.kind in "iu" and not whole:
        return "Int64"  # a missing value may come later
    if dtype.kind in "iufb":
        return str(dtype) if dtype.kind != "b" or whole else "boolean"
    return "string"


def _long(content: Content) -> TooLarge:
    return TooLarge(
        f"A row of {content.name!r} is longer than {LINE_BYTES:,} bytes: the file is broken, or no table. At most that is "
        "read of one row."
    )
