"""What a name and a size say of data that nobody has described: files of a folder, objects of a bucket."""

from __future__ import annotations

import re
from typing import Any

from genesis_workbench.catalog.sources._values import format_name

DATA_ENDINGS = frozenset(
    [
        "nc",
        "nc4",
        "cdf",
        "h5",
        "hdf5",
        "hdf",
        "he5",
        "zarr",
        "csv",
        "tsv",
        "parquet",
        "arrow",
        "feather",
        "tif",
        "tiff",
        "grib",
        "grib2",
        "grb",
        "grb2",
        "json",
        "geojson",
        "fits",
        "npy",
        "npz",
        "xlsx",
        "cif",
        "pdb",
        "xyz",
        "mat",
        "edf",
        "tdms",
        "las",
        "laz",
        "gpkg",
    ]
)
_ENDING_FORMAT = {
    "nc": "netcdf",
    "cdf": "netcdf",
    "nc4": "netcdf",
    "he5": "hdf5",
    "grb": "grib",
    "grb2": "grib",
}
_DAY = re.compile(r"(?<!\d)((?:19|20)\d{2})-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")


def ending(name: str) -> str:
    """Return the ending of a name in lower case, that of ``.csv.gz`` being ``csv``."""
    plain = name.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2")
    return plain.rpartition(".")[2] if "." in plain else ""


def described(name: str, size_bytes: int, modified: str) -> dict[str, Any]:
    """Return what `make_dataset` wants, and ``format``, of a file that has nothing but a name."""
    last = name.rstrip("/").rpartition("/")[2]
    kind = _ENDING_FORMAT.get(ending(last)) or format_name(ending(last)) or ending(last)
    size = f"{size_bytes:,} bytes" if size_bytes else "a store of many files"
    day = _DAY.search(last)
    parts = [part for part in re.split(r"[/_.\s-]+", name) if part and not part.isdigit()]
    return {
        "identifier": name,
        "title": last,
        "description": f"{kind} file, {size}. Nobody has described it; its place is {name}.",
        "keywords": [part.lower() for part in parts],
        "modified": modified,
        "temporal": ("-".join(day.groups()), "-".join(day.groups())) if day else None,
        "format": kind,
    }
