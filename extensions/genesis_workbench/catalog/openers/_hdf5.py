"""HDF5 and NetCDF-4 files as lazy xarray objects, after a look at what in them reaches outside.

Guarded: external links, external storage and virtual datasets, which read other files of the machine; pieces larger than
memory; arrays that could not be cut into blocks. Not guarded: a bug of the HDF5 library on hostile bytes can end the
process, and a compressed piece may unpack to a thousand times its size before its declared size is compared. Open data of
unknown origin in a process that may die, such as a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genesis_workbench.catalog.content import Content
from genesis_workbench.catalog.content.file import more_filters
from genesis_workbench.catalog.openers._base import BLOCK_BYTES, Guarded, block_sizes, lazy, reading
from genesis_workbench.core.errors import InvalidInput, MissingDependency, TooLarge, VerificationFailed

_MAX_OBJECTS = 50_000


def open_hdf5(content: Content, *, group: str | None, chunks: Any, decode: bool = True) -> Any:
    """Return an xarray.Dataset of one group, or a DataTree where the root holds groups but no variables.

    Parameters
    ----------
    group : str, optional
        Path of a group.
    chunks : mapping, None or 'auto'
        Lengths of blocks; None leaves the arrays to xarray, for selecting first.
    """
    import xarray as xr

    check_references(content)
    with reading(content.name):
        keys: dict[str, Any] = {"engine": "h5netcdf", "phony_dims": "access", "decode_times": decode}
        if group is None and _only_groups(content):
            groups = xr.open_groups(content.open(), **keys)
            return xr.DataTree.from_dict(
                {path: cut(each, chunks, read_from=(content, path)) for path, each in groups.items()}
            )
        opened = xr.open_dataset(content.open(), group=group, **keys)
        return cut(opened, chunks, read_from=(content, group or "/"))


def cut(
    dataset: Any,
    chunks: Any = "auto",
    block_bytes: int = BLOCK_BYTES,
    read_from: tuple[Content, str] | None = None,
) -> Any:
    """Return `dataset` with every variable in blocks; only the coordinates of dimensions are in memory.

    Parameters
    ----------
    chunks : mapping, None or 'auto'
        Lengths of blocks along some dimensions; None changes nothing.
    block_bytes : int
        Size towards which the other lengths are chosen.
    read_from : tuple, optional
        File and group, where a library's errors over its content are to become ours.
    """
    if chunks is None:
        return dataset
    asked: Mapping[str, int] = {} if chunks == "auto" else chunks
    unknown = set(asked) - set(dataset.dims)
    if unknown:
        raise InvalidInput(
            f"{sorted(unknown)} are no dimensions: there are {sorted(map(str, dataset.dims))}."
        )
    made = {}
    for name, variable in dataset.variables.items():
        if name in dataset.xindexes or not variable.dims or variable.chunks is not None:
            continue
        native = variable.encoding.get("preferred_chunks") or {}
        pieces = tuple(native.get(d, variable.sizes[d]) for d in variable.dims) if native else None
        found = block_sizes(variable.shape, max(variable.dtype.itemsize, 1), pieces, block_bytes)
        sizes = {
            **dict(zip(variable.dims, found, strict=True)),
            **{d: asked[d] for d in variable.dims if d in asked},
        }
        if read_from is None or variable.dtype.kind in "OT":  # texts of any length are xarray's to handle
            made[name] = variable.chunk(sizes)
        else:
            content, group = read_from
            array = lazy(
                Guarded(content.name, variable), tuple(sizes.values()), f"{content.state}/{group}/{name}"
            )
            made[name] = type(variable)(variable.dims, array, variable.attrs, variable.encoding)
    return dataset.assign({n: v for n, v in made.items() if n not in dataset.coords}).assign_coords(
        {n: v for n, v in made.items() if n in dataset.coords}
    )


def check_references(content: Content) -> None:
    """Look at every link and dataset of the file.

    Raises
    ------
    VerificationFailed
        If one reaches into another file.
    TooLarge
        If it has more objects than are looked at.
    InvalidInput
        If it is no HDF5 file, or a broken one.
    """
    import h5py

    more_filters()
    with reading(content.name), content.open() as stream, h5py.File(stream, "r") as file:
        for number, (path, found) in enumerate(_walk(file)):
            if number > _MAX_OBJECTS:
                raise TooLarge(
                    f"{content.name!r} holds more than {_MAX_OBJECTS:,} objects. Name a group of it."
                )
            if found:
                raise VerificationFailed(
                    f"{path!r} in {content.name!r} is {found}: it would read another file of this machine, which is "
                    "refused. Ask the publisher for a file that holds its data."
                )


def _walk(file: Any) -> Iterator[tuple[str, str]]:
    """Yield each path with what is wrong with it; each object once, also where links go round."""
    import h5py

    waiting, seen = [("", file["/"].id)], set()
    while waiting:
        path, group = waiting.pop()
        for raw in group:
            name = f"{path}/{raw.decode(errors='replace')}"
            link = group.links.get_info(raw)
            if link.type == h5py.h5l.TYPE_EXTERNAL:
                yield name, "an external link"
            elif link.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
                yield name, "a link of an unknown kind"
            elif link.type == h5py.h5l.TYPE_HARD:
                found = h5py.h5o.open(group, raw)
                place = h5py.h5o.get_info(found).addr
                if place not in seen:
                    seen.add(place)
                    yield name, _outside(found)
                    if isinstance(found, h5py.h5g.GroupID):
                        waiting.append((name, found))


def _outside(found: Any) -> str:
    import h5py

    if not isinstance(found, h5py.h5d.DatasetID):
        return ""
    made = found.get_create_plist()
    for number in range(made.get_nfilters()):
        code, _flags, _values, name = made.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise MissingDependency(
                f"The file is compressed with {name.decode(errors='replace')[:60] or code} (HDF5 filter {code}), which "
                f'needs the package hdf5plugin. Install it with: pip install "genesis-workbench[hdf5]"'
            )
    if made.get_external_count():
        return "a dataset in external storage"
    if made.get_layout() == h5py.h5d.VIRTUAL:
        sources = {made.get_virtual_filename(n) for n in range(made.get_virtual_count())}
        if sources - {"."}:
            return "a virtual dataset"
    return ""


def _only_groups(content: Content) -> bool:
    import h5py

    with content.open() as stream, h5py.File(stream, "r") as file:
        kinds = [file.get(name, getclass=True) for name in file]
    return bool(kinds) and not any(kind is h5py.Dataset for kind in kinds)
