"""Open many files as one cube: from kept references where they still fit, made or mended where they do not."""

from __future__ import annotations

import hashlib
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.catalog.content import LocalContent, Places
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
    from genesis_workbench.catalog.cubes.store import CubeStore

    name = hashlib.sha256(f"{distribution.url}\n{listing.folder}\n{dim}".encode()).hexdigest()[:32]
    own = CubeStore(Path(places.own_cubes or places.cubes) / name, listing.folder)
    cube = CubeStore(Path(places.cubes) / name, listing.folder) if dataset.label == "public" else own
    try:
        manifest = _up_to_date(cube, listing, dim, started_ns)
    except PermissionError as error:  # this person may read the site's cubes, but not write there
        if isinstance(error, GenesisError) or cube is own:
            raise
        cube, manifest = own, _up_to_date(own, listing, dim, started_ns)
    return _read(cube.store(manifest), chunks)


def _up_to_date(cube: CubeStore, listing: Listing, dim: str, started_ns: int) -> dict[str, Any]:
    """Return the manifest of references that fit the files as they are, made or mended where they did not."""
    manifest = cube.current()
    if manifest is not None and _differences(manifest, listing) == {}:
        return manifest
    with cube.writing():
        manifest = cube.current()  # somebody may have made it while this one waited
        changed = None if manifest is None else _differences(manifest, listing)
        if changed is None or manifest is None or not _mended(cube, manifest, changed, dim, started_ns):
            _built(cube, listing, dim, started_ns)
        manifest = cube.current()
    if manifest is None:
        raise Unsuitable("the references could not be kept")
    return manifest


def _differences(manifest: dict[str, Any], listing: Listing) -> dict[int, LocalContent] | None:
    """Return the files that changed, by their place in the cube; None where others came or some went."""
    now = {content.file: content for content in listing.files}
    if {row[0] for row in manifest["files"]} != now.keys():
        return None
    changed = {}
    for number, (path, _length, *stamp) in enumerate(manifest["files"]):
        seen = now[path].stamp
        if stamp != [seen.size, seen.modified_ns, seen.changed_ns, seen.inode]:
            changed[number] = now[path]
    return changed


def _mended(
    cube: CubeStore, manifest: dict[str, Any], changed: dict[int, LocalContent], dim: str, started_ns: int
) -> bool:
    """Write the references of changed files anew; False where the cube must be made anew instead."""
    if not changed:
        return True
    if len(changed) > len(manifest["files"]) // 2:
        return False
    unchanged = next(n for n in range(len(manifest["files"])) if n not in changed)
    path, _length, *stamp = manifest["files"][unchanged]
    from genesis_workbench.catalog.content.local import Stamp

    try:
        first = scan(LocalContent(path, manifest["folder"], Stamp(*stamp)), dim)
        scans = {n: (content, scan(content, dim, first)) for n, content in changed.items()}
        if any(found.length != manifest["files"][n][1] for n, (_, found) in scans.items()):
            return False
        if any(found.units != manifest["units"] for _, found in scans.values()):
            return False
        cube.mend(manifest, scans, started_ns / 1e9)
    except (Unsuitable, Conflict):
        return False
    return True


def _built(cube: CubeStore, listing: Listing, dim: str, started_ns: int) -> None:
    first = scan(listing.files[0], dim)
    scans = [first, *(scan(content, dim, first) for content in listing.files[1:])]
    for found in scans[1:]:
        counted_alike(found, first)
    order = _order(scans, dim)
    scans[order[0]].attributes = first.attributes
    cube.build([listing.files[n] for n in order], [scans[n] for n in order], dim, started_ns / 1e9)


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
