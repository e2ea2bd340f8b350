"""FITS files as lazy xarray objects: images by sections, tables by columns, headers as attributes.

Guarded: the number of units, the size of tables, files that end before their data do. Not guarded: compressed images are
unpacked by C code of astropy, and a section of one may need all of it in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import MAX_BLOCK_BYTES, block_sizes, lazy, reading, sniffed
from genesis_workbench.core.errors import InvalidInput, TooLarge

_MAX_UNITS = 2000


@dataclass(frozen=True)
class Section:
    """The image of one header-data unit, or one column of its table."""

    content: Content
    unit: int
    column: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what `key` selects; of a table, all its rows are read."""
        key = key if isinstance(key, tuple) else (key,)
        with reading(self.content.name), self.content.open() as stream, _units(stream) as units:
            found = units[self.unit]
            if self.column:
                values = np.asarray(found.data[self.column])[key]
            elif all(isinstance(part, slice) and part.step in (None, 1) for part in key):
                values = found.section[key]
            else:
                values = np.asarray(found.data)[key]
            return np.array(values, self.dtype)


class FitsOpener:
    """Opens all units of a file: a Dataset where one holds data, a DataTree of them otherwise."""

    formats: ClassVar[tuple[str, ...]] = ("fits",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        hdu: int | None = None,
    ) -> Any:
        """Open lazily. The last axis of a FITS image is the first here, as in numpy.

        Parameters
        ----------
        hdu : int, optional
            Number of the one unit to open.
        """
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut

        content = places.content(distribution)
        sniffed(content, "fits")
        parts: dict[str, Any] = {}
        with reading(content.name), content.open() as stream, _units(stream) as units:
            for number, unit in enumerate(units):
                if number > _MAX_UNITS:
                    raise TooLarge(f"{content.name!r} holds more than {_MAX_UNITS:,} units.")
                if hdu in (None, number):
                    _check_end(content, unit)
                    name = (
                        unit.name if unit.name and unit.name not in parts else f"{unit.name or 'HDU'}{number}"
                    )
                    parts[name.replace("/", "_")] = cut(_dataset(content, number, unit), chunks)
        if not parts:
            raise InvalidInput(f"{content.name!r} has no unit {hdu}.")
        full = {name: part for name, part in parts.items() if part.variables}
        if len(full) <= 1:
            only = next(iter(full.values()), next(iter(parts.values())))
            primary = next(iter(parts.values()))
            return only.assign_attrs({**primary.attrs, **only.attrs})
        return xr.DataTree.from_dict(parts)


def _units(stream: Any) -> Any:
    from astropy.io import fits

    # Not memory-mapped: what is read comes through the stream, which looks whether the file is still the same.
    return fits.open(stream, mode="readonly", memmap=False, lazy_load_hdus=True, ignore_missing_end=False)


def _check_end(content: Content, unit: Any) -> None:
    place = unit.fileinfo()
    if place and place["datLoc"] + place["datSpan"] > content.size:
        raise InvalidInput(
            f"{content.name!r} ends before the data of its unit {unit.name!r} do: it is cut off."
        )


def _dataset(content: Content, number: int, unit: Any) -> Any:
    import xarray as xr

    known = _header(unit.header)
    variables: dict[str, Any] = {}
    if unit.is_image and unit.shape:
        bitpix = np.dtype(
            {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}[unit.header["BITPIX"]]
        )
        scaled = any(k in unit.header for k in ("BSCALE", "BZERO", "BLANK"))
        dtype = (np.dtype("f8") if bitpix.itemsize > 2 else np.dtype("f4")) if scaled else bitpix
        names = (
            ("z", "y", "x")
            if len(unit.shape) <= 3
            else (*(f"axis{n}" for n in range(len(unit.shape), 3, -1)), "z", "y", "x")
        )
        array = Section(content, number, "", tuple(unit.shape), dtype)
        blocks = block_sizes(array.shape, dtype.itemsize)
        variables["data"] = (names[-len(unit.shape) :], lazy(array, blocks, f"{content.state}/{number}"))
        if unit.header.get("BUNIT"):
            variables["data"] = (*variables["data"], {"units": str(unit.header["BUNIT"])})
    elif not unit.is_image and hasattr(unit, "columns"):
        if unit.size > MAX_BLOCK_BYTES:
            raise TooLarge(
                f"The table {unit.name!r} has {unit.size:,} bytes; at most {MAX_BLOCK_BYTES:,} are read."
            )
        left_out = []
        for column in unit.columns:
            dtype = column.dtype
            if dtype.kind == "O" or "P" in str(column.format) or "Q" in str(column.format):
                left_out.append(column.name)
                continue
            base, inner = (dtype.subdtype or (dtype, ()))[0], (dtype.subdtype or (dtype, ()))[1]
            if column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0):
                base = np.dtype("f8")
            elif base.kind == "S":
                base = np.dtype(f"U{base.itemsize}")
            elif "L" in str(column.format):
                base = np.dtype(bool)
            array = Section(
                content, number, column.name, (unit.header["NAXIS2"], *inner), base.newbyteorder("=")
            )
            names = ("row", *(f"{column.name}_{n}" for n in range(len(inner))))
            values = lazy(array, array.shape, f"{content.state}/{number}/{column.name}")
            facts: dict[str, Any] = {"units": str(column.unit)} if column.unit else {}
            # Of scaled columns it is a stored value, which the reader has turned into another.
            if isinstance(column.null, int) and base.kind in "iu":
                facts["_FillValue"] = base.type(column.null)
            variables[column.name] = (names, values, facts)
        if left_out:
            known["columns_not_read"] = ", ".join(left_out)
    opened = xr.Dataset(variables, attrs=known)
    missing = any("_FillValue" in each.attrs for each in opened.variables.values())
    return xr.decode_cf(opened, decode_times=False, decode_coords=False) if missing else opened


def _header(header: Any) -> dict[str, Any]:
    return {
        card.keyword: card.value
        for card in header.cards
        if card.keyword
        and card.keyword not in ("COMMENT", "HISTORY", "END")
        and isinstance(card.value, str | int | float | bool)
    }
