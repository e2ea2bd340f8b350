"""Zarr stores, version 2 and 3, in folders and behind http(s) or s3, as lazy xarray datasets."""

from __future__ import annotations

import json
import warnings
from typing import Any, ClassVar

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import reading
from genesis_workbench.core.errors import InvalidInput


class ZarrOpener:
    """Opens a group of a store, or a store that is one array."""

    formats: ClassVar[tuple[str, ...]] = ("zarr",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        group: str | None = None,
    ) -> Any:
        """Open lazily.

        Parameters
        ----------
        chunks : mapping, None or 'auto'
            Lengths of blocks along some dimensions; None leaves cutting to you, for selecting first.
        group : str, optional
            Path of a group in the store.
        """
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut
        from genesis_workbench.catalog.openers._zarr import ContentStore

        store = ContentStore(distribution.url, places)
        if not group and _is_array(store):
            return _array(store, chunks)
        form, whole = _found(store, group)
        if form is None:
            raise InvalidInput(
                f"There is no Zarr store at {store.url.rpartition('/')[2]!r}: it has neither zarr.json nor .zgroup. "
                "Look at the dataset's page."
            )
        if not whole and not distribution.url.startswith("file://"):
            raise InvalidInput(
                "This Zarr store has no consolidated metadata, and over http nothing lists what is in it. Ask its "
                "publisher to consolidate it (zarr.consolidate_metadata)."
            )
        with reading(store.url.rpartition("/")[2]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr")
            opened = xr.open_zarr(store, group=group, consolidated=whole, zarr_format=form, chunks=None)
        return cut(opened, chunks)


def _is_array(store: Any) -> bool:
    third = store.fetch("zarr.json")
    if third is not None:
        return bool(json.loads(third).get("node_type") == "array")
    return store.fetch(".zgroup") is None and store.fetch(".zarray") is not None


def _array(store: Any, chunks: Any) -> Any:
    """Open an array that belongs to no group, such as one of a Tiled server: a Dataset with one variable of its name."""
    import dask.array as da
    import xarray as xr
    import zarr

    name = store.url.rpartition("/")[2]
    with reading(name):
        array = zarr.open_array(store, mode="r")
    attributes: dict[str, Any] = dict(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or attributes.pop("_ARRAY_DIMENSIONS", None)
    dims = tuple(map(str, named or (f"dim_{number}" for number in range(array.ndim))))
    asked = chunks if isinstance(chunks, dict) else {}
    unknown = sorted(set(asked) - set(dims))
    if unknown:
        raise InvalidInput(f"{unknown} are no dimensions: there are {sorted(dims)}.")
    sizes = tuple(asked.get(dim, length) for dim, length in zip(dims, array.chunks, strict=True))
    return xr.Dataset({name: (dims, da.from_array(array, chunks=sizes), attributes)})


def _found(store: Any, group: str | None) -> tuple[int | None, bool]:
    """Return the version of the store, and whether one piece of metadata describes all of it."""
    inner = f"{group.strip('/')}/" if group else ""
    third = store.fetch("zarr.json")
    if third is not None:
        return 3, not group and "consolidated_metadata" in json.loads(third)
    if store.fetch(".zmetadata") is not None:
        return 2, not group
    return (2 if store.fetch(f"{inner}.zgroup") is not None else None), False
