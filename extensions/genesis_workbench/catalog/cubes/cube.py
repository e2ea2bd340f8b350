"""Open many files as one cube: from kept references where they still fit, made or mended where they do not."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.catalog.content import HttpContent, Places
from genesis_workbench.catalog.cubes.listing import Listing, listed
from genesis_workbench.catalog.cubes.scan import FileScan, Unsuitable, counted_alike, scan
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import reading
from genesis_workbench.core.errors import Conflict, GenesisError

if TYPE_CHECKING:
    from genesis_workbench.catalog.cubes.store import CubeStore

_BLOCK_BYTES = 4 * 2**20


def open_cube(
    dataset: Dataset,
    distribution: Distribution,
    places: Places,
    *,
    chunks: Any = "auto",
    concat_dim: str = "time",
) -> Any:
    """Open the files that an address with wildcards names, one after the other along `concat_dim`.

    The first opening scans the files and keeps references to their pieces in the site's folder of cubes; later ones read
    those. At each opening every file is compared with how it was: changed ones are scanned again, files that came or
    went give a new cube. ``attrs["cube"]`` says what was done.

    Parameters
    ----------
    chunks : mapping, None or 'auto'
        Lengths of blocks; automatic ones hold about 4 MiB.

    Raises
    ------
    Conflict
        If all files are younger than two seconds: somebody seems to be writing them.
    """
    started_ns = time.time_ns()
    every = listed(distribution.url, places)
    listing = every.old_enough(started_ns)
    young = len(every.files) - len(listing.files)
    if not listing.files:
        raise Conflict(
            "These files were changed less than two seconds ago. Open the dataset again when they rest."
        )
    try:
        opened = _from_references(dataset, distribution, places, listing, concat_dim, chunks, started_ns)
        said = f"references to {len(listing.files)} files"
    except Unsuitable as reason:
        said = f"{len(listing.files)} files one by one, since {reason}"
        warnings.warn(
            f"{dataset.id} is opened as {said}: slower than by references.", UserWarning, stacklevel=4
        )
        opened = _one_by_one(listing, concat_dim, chunks)
    if young:
        said += f"; {young} changed less than two seconds ago and left out"
        warnings.warn(f"{dataset.id}: {young} files were changed less than two seconds ago and are left out. Open it "
                      "again when they rest.", UserWarning, stacklevel=4)  # fmt: skip
    opened.attrs["cube"] = said
    return opened


def _from_references(
    dataset: Dataset,
    distribution: Distribution,
    places: Places,
    listing: Listing,
    dim: str,
    chunks: Any,
    started_ns: int,
) -> Any:
    name = hashlib.sha256(f"{distribution.url}\n{listing.folder}\n{dim}".encode()).hexdigest()[:32]
    own = _kept(Path(places.own_cubes or places.cubes) / name, listing, places)
    cube = _kept(Path(places.cubes) / name, listing, places) if dataset.label == "public" else own
    try:
        manifest = _up_to_date(cube, listing, dim, started_ns)
    except PermissionError as error:  # this person may read the site's cubes, but not write there
        if isinstance(error, GenesisError) or cube is own:
            raise
        cube, manifest = own, _up_to_date(own, listing, dim, started_ns)
    return _read(cube.store(manifest), chunks)


def _kept(folder: Path, listing: Listing, places: Places) -> CubeStore:
    from genesis_workbench.catalog.cubes.far import FarCubeStore
    from genesis_workbench.catalog.cubes.store import CubeStore

    if listing.far:
        return FarCubeStore(folder, listing.folder, places)
    return CubeStore(folder, listing.folder)


def _up_to_date(cube: CubeStore, listing: Listing, dim: str, started_ns: int) -> dict[str, Any]:
    """Return the manifest of references that fit the files as they are, made or mended where they did not."""
    manifest = cube.current()
    if manifest is not None and _differences(manifest, listing) == []:
        return manifest
    with cube.writing():
        manifest = cube.current()  # somebody may have made it while this one waited
        changed = None if manifest is None else _differences(manifest, listing)
        if (
            changed is None
            or manifest is None
            or not _mended(cube, manifest, listing, changed, dim, started_ns)
        ):
            _built(cube, listing, dim, started_ns)
        manifest = cube.current()
    if manifest is None:
        raise Unsuitable("the references could not be kept")
    return manifest


def _differences(manifest: dict[str, Any], listing: Listing) -> list[int] | None:
    """Return the places in the cube of files that changed; None where others came or some went."""
    now = {each.place: each for each in listing.files}
    if {row[0] for row in manifest["files"]} != now.keys():
        return None
    return [
        number
        for number, (place, _length, *version) in enumerate(manifest["files"])
        if tuple(version) != now[place].version
    ]


def _mended(
    cube: CubeStore, manifest: dict[str, Any], listing: Listing, changed: list[int], dim: str, started_ns: int
) -> bool:
    """Write the references of changed files anew; False where the cube must be made anew instead."""
    if not changed:
        return True
    rows = manifest["files"]
    if len(changed) > len(rows) // 2:
        return False
    now = {each.place: each for each in listing.files}
    files = [now[row[0]] for row in rows]
    unchanged = next(n for n in range(len(rows)) if n not in changed)
    try:
        first = scan(files[unchanged], dim)
        found = _scans([files[n] for n in changed], dim, first)
        if any(each.length != rows[n][1] for n, each in zip(changed, found, strict=True)):
            return False
        if any(each.units != manifest["units"] for each in found):
            return False
        cube.mend(manifest, files, dict(zip(changed, found, strict=True)), started_ns / 1e9)
    except (Unsuitable, Conflict):
        return False
    return True


def _built(cube: CubeStore, listing: Listing, dim: str, started_ns: int) -> None:
    scans = _scans(listing.files, dim)
    for found in scans[1:]:
        counted_alike(found, scans[0])
    order = _order(scans, dim)
    scans[order[0]].attributes = scans[0].attributes
    cube.build([listing.files[n] for n in order], [scans[n] for n in order], dim, started_ns / 1e9)


def _scans(files: Sequence[Any], dim: str, first: FileScan | None = None) -> list[FileScan]:
    """Scan files, which must fit the `first`; the first of them where none is given."""
    from genesis_workbench.catalog.cubes.far import heads

    scans: list[FileScan] = []
    for content in heads(files) if isinstance(files[0], HttpContent) else files:
        scans.append(scan(content, dim, first))
        first = first or scans[0]
    return scans


def _order(scans: list[FileScan], dim: str) -> list[int]:
    """Return the files' numbers by their first value along `dim`; as they are where one has none."""
    order = list(range(len(scans)))
    if any(s.length == 0 for s in scans):
        return order
    return sorted(order, key=lambda n: float(scans[n].loaded[dim][0]))


def _read(store: Any, chunks: Any) -> Any:
    import xarray as xr

    from genesis_workbench.catalog.openers._hdf5 import cut

    with reading("the cube"), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Numcodecs codecs are not in the Zarr"
        )  # Icechunk's readers know them
        dataset = xr.open_zarr(store, consolidated=False, zarr_format=3, chunks=None, decode_times=True)
    return cut(dataset, chunks, _BLOCK_BYTES)


def _one_by_one(listing: Listing, dim: str, chunks: Any) -> Any:
    import xarray as xr

    from genesis_workbench.catalog.content.file import head, kind
    from genesis_workbench.catalog.openers._hdf5 import open_hdf5
    from genesis_workbench.catalog.openers._netcdf3 import open_netcdf3

    opened = [
        open_netcdf3(content, chunks=chunks)
        if kind(head(content)) == "netcdf3"
        else open_hdf5(content, group=None, chunks=chunks)
        for content in listing.files
    ]
    with reading("these files together"):
        return xr.combine_nested(
            opened,
            concat_dim=dim,
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
