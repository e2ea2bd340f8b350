"""HDF5 files as lazy xarray datasets, read block by block where the computation runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import attributes, sniffed, verified_file
from genesis_workbench.catalog.openers._hdf5 import open_hdf5
from genesis_workbench.core.errors import InvalidInput

if TYPE_CHECKING:
    import xarray as xr


class Hdf5Array:
    """One array of an HDF5 file, decoded as it is read.

    It holds the address and the checksum, no open file and no path: a worker on another machine finds the file in its
    own installation and checks it there.
    """

    def __init__(self, distribution: Distribution, shape: tuple[int, ...]) -> None:
        self.url = distribution.url
        self.checksum = distribution.checksum
        self.options = distribution.options
        order = [self.options["file_dims"].index(name) for name in self.options["dims"]]
        self._order = order
        self.shape = tuple(shape[axis] for axis in order)
        self.ndim = len(order)
        self.dtype = np.dtype("float32")

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """Read what `key` selects: a number, a slice or a list of positions for each axis.

        dask hands down the selection of a later step, so that one cell is read instead of its block.
        """
        import h5py

        parts = [_selection(part, length) for part, length in zip(key, self.shape, strict=True)]
        inner: list[slice] = [slice(None)] * self.ndim
        for axis, (read, _) in zip(self._order, parts, strict=True):
            inner[axis] = read
        with h5py.File(verified_file(self.url, self.checksum), "r") as file:
            raw = file[self.options["path"]][tuple(inner)].transpose(self._order)
        for axis in reversed(range(self.ndim)):
            raw = raw[(slice(None),) * axis + (parts[axis][1],)]
        return self._decoded(np.asarray(raw))

    def _decoded(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        values = raw.astype(self.dtype) * self.dtype.type(self.options.get("multiply_by", 1))
        values = values / self.dtype.type(self.options.get("divide_by", 1))
        values = values + self.dtype.type(self.options.get("offset", 0))
        if "missing" in self.options:
            values = np.where(raw == self.options["missing"], self.dtype.type(np.nan), values)
        return np.asarray(values, self.dtype)


def _selection(part: Any, length: int) -> tuple[slice, Any]:
    """Return the smallest slice of an axis that holds what `part` selects, and `part` within that slice."""
    if isinstance(part, slice):
        chosen = range(length)[part]
        if not chosen:
            return slice(0, 0), slice(None)
        low, high = min(chosen), max(chosen)
        return slice(low, high + 1, abs(chosen.step)), slice(None, None, 1 if chosen.step > 0 else -1)
    positions = np.asarray(part)
    if positions.dtype == bool:
        positions = np.flatnonzero(positions)
    if positions.size == 0:
        return slice(0, 0), slice(None)
    positions = np.where(positions < 0, positions + length, positions)
    low, high = int(positions.min()), int(positions.max())
    return slice(low, high + 1), positions - low if positions.ndim else int(positions) - low


class Hdf5Opener:
    """Opens an HDF5 file, or the one array of it that the record describes, as a variable with coordinates."""

    formats: ClassVar[tuple[str, ...]] = ("hdf5",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Mapping[str, int] | Literal["auto"] | None = "auto",
        group: str | None = None,
    ) -> Any:
        """Open lazily. Values of a described array are 32-bit floats.

        Parameters
        ----------
        chunks : mapping, None or 'auto'
            Length of a block along some dimensions. Multiples of the file's own chunks read fastest.
        group : str, optional
            Path of a group in the file.
        """
        if "path" in distribution.options:
            return self._described(dataset, distribution, dict(chunks) if isinstance(chunks, Mapping) else {})
        content = places.content(distribution)
        sniffed(content, "hdf5")
        return open_hdf5(content, group=group, chunks=chunks)

    def _described(self, dataset: Dataset, distribution: Distribution, chunks: dict[str, int]) -> xr.Dataset:
        import dask.array as da
        import h5py
        import xarray as xr

        options = distribution.options
        unknown = set(chunks) - set(options["dims"])
        if unknown:
            raise InvalidInput(
                f"{sorted(unknown)} are no dimensions of {dataset.id}: it has {options['dims']}."
            )
        with h5py.File(verified_file(distribution.url, distribution.checksum), "r") as file:
            shape = file[options["path"]].shape
        array = Hdf5Array(distribution, shape)
        sizes = {**options["chunks"], **chunks}
        blocks = tuple(sizes.get(name, -1) for name in options["dims"])
        lazy = da.from_array(
            array,
            chunks=blocks,
            name=f"{dataset.id}-{(distribution.checksum or '')[-16:]}-{'-'.join(map(str, blocks))}",
            asarray=True,
            inline_array=True,
            meta=np.empty((0,) * array.ndim, array.dtype),
        )
        described: dict[str, Any] = {
            k: options[k] for k in ("units", "long_name", "standard_name") if k in options
        }
        variable = xr.Variable(options["dims"], lazy, described)
        coordinates = {name: _coordinate(name, options["coordinates"][name]) for name in options["dims"]}
        return xr.Dataset({options["variable"]: variable}, coordinates, attributes(dataset))


def _coordinate(name: str, known: Mapping[str, Any]) -> xr.Variable:
    import xarray as xr

    if "values" in known:
        return xr.Variable(name, np.asarray(known["values"]), {"units": known["units"]})
    step = (known["last"] - known["first"]) / known["count"]
    centres = known["first"] + step * (np.arange(known["count"]) + 0.5)
    return xr.Variable(name, centres, {"units": known["units"], "standard_name": name})
