"""The classic NetCDF formats (CDF-1, CDF-2, CDF-5), read lazily by their own short description.

No library is at work on the bytes, so broken ones cannot crash the process, and a remote file is read piece by piece.
Source: NetCDF Classic Format Specification, docs.unidata.ucar.edu/nug/current/file_format_specifications.html.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog.content import Content
from genesis_workbench.catalog.openers._base import MAX_BLOCK_BYTES, block_sizes, lazy
from genesis_workbench.core.errors import InvalidInput, TooLarge

_MAX_HEADER = 32 * 2**20
_MAX_ITEMS = 100_000
_TYPES = {
    1: "i1",
    2: "S1",
    3: ">i2",
    4: ">i4",
    5: ">f4",
    6: ">f8",
    7: "u1",
    8: ">u2",
    9: ">u4",
    10: ">i8",
    11: ">u8",
}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12


@dataclass(frozen=True)
class Variable:
    """Where the values of one variable are.

    Attributes
    ----------
    offset : int
        First byte.
    record_bytes : int
        Bytes from one record to the next; 0 where it has no record dimension.
    """

    content: Content
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    record_bytes: int

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what `key` selects; only rows of the first axis that it needs are read."""
        key = key if isinstance(key, tuple) else (key,)
        if not self.shape:
            return self._rows(0, 1).reshape(())
        first, rest = key[0], key[1:]
        rows = np.arange(self.shape[0])[first]
        if rows.size == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        low, high = int(rows.min()), int(rows.max())
        data = self._rows(low, high + 1).reshape(high + 1 - low, *self.shape[1:])
        return np.asarray(data[rows - low][(slice(None),) * rows.ndim + rest])

    def _rows(self, low: int, high: int) -> NDArray[Any]:
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if (high - low) * row > MAX_BLOCK_BYTES:
            raise TooLarge(f"{(high - low) * row:,} bytes at once are too many. Select a smaller part first.")
        with self.content.open() as stream:
            if self.record_bytes in (0, row):
                data = stream.read_at(self.offset + low * row, (high - low) * row)
            else:
                data = b"".join(
                    stream.read_at(self.offset + n * self.record_bytes, row) for n in range(low, high)
                )
        if len(data) < (high - low) * row:
            raise InvalidInput(f"{self.content.name!r} ends before its data do: it is cut off. Get it again.")
        return np.frombuffer(data, self.dtype)


def open_netcdf3(content: Content, *, chunks: Any) -> Any:
    """Return an xarray.Dataset. `chunks` as for the other formats; None is the same as automatic."""
    import xarray as xr

    from genesis_workbench.catalog.openers._hdf5 import cut

    attributes, variables = _Header(content).read()
    made = {}
    for name, (variable, known) in variables.items():
        blocks = block_sizes(variable.shape, variable.dtype.itemsize, _native(variable))
        array = lazy(variable, blocks, f"{content.state}/{name}") if variable.shape else variable[()]
        made[name] = xr.Variable(variable.dims, array, known)
    coordinates = {n: v.compute() for n, v in made.items() if v.dims == (n,)}
    dataset = xr.Dataset({n: v for n, v in made.items() if n not in coordinates}, coordinates, attributes)
    return cut(xr.decode_cf(dataset), chunks or "auto")


def _native(variable: Variable) -> tuple[int, ...] | None:
    return (1, *variable.shape[1:]) if variable.record_bytes else None


class _Header:
    """Reads the header from the beginning of the file on."""

    def __init__(self, content: Content) -> None:
        self._content = content
        with content.open() as stream:
            self._data = stream.read_at(0, min(content.size, _MAX_HEADER))
        self._at = 4
        self._wide = self._data[3] == 5
        self._far = self._data[3] in (2, 5)

    def read(self) -> tuple[dict[str, Any], dict[str, tuple[Variable, dict[str, Any]]]]:
        """Return the global attributes, and each variable with its own."""
        try:
            return self._read()
        except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, InvalidInput | TooLarge):
                raise
            raise InvalidInput(
                f"{self._content.name!r} begins as a NetCDF file, but its header is broken or cut off. Get it again.",
                detail=repr(error),
            ) from error

    def _read(self) -> tuple[dict[str, Any], dict[str, tuple[Variable, dict[str, Any]]]]:
        records = self._length()
        dims = [(self._name(), self._length()) for _ in range(self._list(_DIMENSIONS))]
        attributes = self._attributes()
        listed = [self._variable() for _ in range(self._list(_VARIABLES))]
        unlimited = {number for number, (_, length) in enumerate(dims) if length == 0}
        in_records = [v for v in listed if v[1] and v[1][0] in unlimited]
        sizes = [self._padded(v, dims, unlimited) for v in in_records]
        # One record variable alone is not padded to four bytes.
        record = (
            sum(sizes) if len(in_records) > 1 else sum(self._plain(v, dims, unlimited) for v in in_records)
        )
        if records in (0xFFFFFFFF, 2**64 - 1):  # written as a stream: counted from the size of the file
            begin = min((v[4] for v in in_records), default=self._content.size)
            records = (self._content.size - begin) // record if record else 0
        made = {}
        for name, axes, known, kind, begin in listed:
            shape = tuple(records if number in unlimited else dims[number][1] for number in axes)
            moving = bool(axes) and axes[0] in unlimited
            names = tuple(dims[number][0] for number in axes)
            dtype = np.dtype(_TYPES[kind])
            found = Variable(self._content, names, shape, dtype, begin, record if moving else 0)
            self._check(name, found)
            made[name] = (found, known)
        return attributes, made

    def _check(self, name: str, found: Variable) -> None:
        row = math.prod(found.shape[1:]) * found.dtype.itemsize
        count = found.shape[0] if found.shape else 1
        step = found.record_bytes or row
        if count and found.offset + (count - 1) * step + row > self._content.size:
            raise InvalidInput(
                f"{self._content.name!r} has {self._content.size:,} bytes, too few for its variable {name!r}: it is cut "
                "off. Get it again."
            )

    def _plain(self, variable: Any, dims: list[tuple[str, int]], unlimited: set[int]) -> int:
        lengths = [dims[number][1] for number in variable[1] if number not in unlimited]
        return int(math.prod(lengths) * np.dtype(_TYPES[variable[3]]).itemsize)

    def _padded(self, variable: Any, dims: list[tuple[str, int]], unlimited: set[int]) -> int:
        return -(-self._plain(variable, dims, unlimited) // 4) * 4

    def _variable(self) -> tuple[str, list[int], dict[str, Any], int, int]:
        name = self._name()
        axes = [self._length() for _ in range(self._limited(self._length()))]
        known = self._attributes()
        (kind,) = self._take(">i")
        self._length()  # its size, which overflows for large ones and follows from the shape
        (begin,) = self._take(">q" if self._far else ">i")
        if begin < 0:
            raise ValueError("a negative position")
        return name, axes, known, kind, begin

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self._list(_ATTRIBUTES)):
            name = self._name()
            (kind,) = self._take(">i")
            dtype = np.dtype(_TYPES[kind])
            count = self._length()
            raw = self._bytes(count * dtype.itemsize)
            if kind == 2:
                found[name] = raw.rstrip(b"\x00").decode("utf-8", "replace")
            else:
                values = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))
                found[name] = values[0] if len(values) == 1 else values
        return found

    def _list(self, expected: int) -> int:
        (tag,) = self._take(">i")
        count = self._limited(self._length())
        if tag not in (0, expected) or (tag == 0 and count):
            raise ValueError(f"a list of kind {tag} where {expected} belongs")
        return count

    def _limited(self, count: int) -> int:
        if count > _MAX_ITEMS:
            raise ValueError(f"{count} entries in one list")
        return count

    def _name(self) -> str:
        return self._bytes(self._length()).decode("utf-8")

    def _length(self) -> int:
        return int(self._take(">Q" if self._wide else ">I")[0])

    def _bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("it ends too early")
        data, self._at = self._data[self._at : end], self._at + -(-count // 4) * 4
        return data

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values
