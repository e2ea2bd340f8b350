"""Open a dataset: the first distribution that an installed opener understands, and that can be reached."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

from genesis_workbench.catalog import provenance
from genesis_workbench.catalog.content.places import SCHEMES, Places, site_places
from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import (
    GenesisError,
    InvalidInput,
    MissingDependency,
    NotFound,
    VerificationFailed,
)

_TRIED = 10
"""How many distributions are tried: a record may list hundreds, each of which can take its time to fail."""
_GUESSED = {
    "": "", "nc": "netcdf", "nc4": "netcdf", "cdf": "netcdf", "h5": "hdf5", "hdf5": "hdf5", "he5": "hdf5", "hdf": "hdf5",
    "csv": "csv", "tsv": "csv", "parquet": "parquet", "tif": "geotiff", "tiff": "geotiff", "zarr": "zarr",
    "grib": "grib", "grib2": "grib", "grb": "grib", "grb2": "grib", "cif": "cif", "mmcif": "cif", "pdb": "pdb",
    "ent": "pdb", "pdb1": "pdb", "vasp": "poscar", "poscar": "poscar", "fits": "fits", "fit": "fits", "fts": "fits", "dods": "opendap",
}  # fmt: skip
"""Format by the ending of an address, where the record names none."""


def open_dataset(
    dataset: Dataset,
    *,
    distribution: int | None = None,
    max_bytes: int | None = None,
    places: Places | None = None,
    **options: Any,
) -> Any:
    """Open `dataset` lazily.

    Parameters
    ----------
    dataset : Dataset
        Record from the catalog.
    distribution : int, optional
        Which of its distributions, counted from 0; the first that can be opened where not given.
    max_bytes : int, optional
        Most bytes read from one remote file, if other than the site's.
    places : Places, optional
        Where data may be read from; the site's rules where not given.
    **options
        For the opener, such as ``chunks={"latitude": 540}``.

    Raises
    ------
    InvalidInput
        If none of its distributions can be opened here, with the reason of each.
    MissingDependency
        If the package that holds or reads them is not installed.
    VerificationFailed
        If the content is not what the record says.
    """
    rules = (places or site_places()).limited(max_bytes)
    failures: list[GenesisError] = []
    for chosen in _chosen(dataset, distribution)[:_TRIED]:
        for name in _openers(chosen):
            try:
                opener = plugins.load("openers", name)()
                _check_options(opener, name, options)
                opened = opener.open(dataset, chosen, rules, **options)
            except VerificationFailed:
                raise  # not passed over in silence for another distribution
            except GenesisError as error:
                failures.append(error)
            except ImportError as error:
                failures.append(plugins.missing("openers", name, error))
            else:
                return provenance.carried(opened, dataset, chosen)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        reasons = " ".join(f"({n}) {error.message}" for n, error in enumerate(failures, 1))
        kind = MissingDependency if all(isinstance(e, MissingDependency) for e in failures) else InvalidInput
        raise kind(
            f"None of the distributions of {dataset.id!r} can be opened here. {reasons}"
        ) from failures[0]
    where = f" Its page is {dataset.landing_page}" if dataset.landing_page else ""
    raise InvalidInput(
        f"{dataset.id!r} is listed but cannot be opened in one call: it is offered as "
        f"{', '.join(dataset.formats) or 'nothing that names its format'}. What can be opened: "
        f"{', '.join(known_formats())}.{where}"
    )


def known_formats() -> list[str]:
    """Return the formats that the registered openers name."""
    return sorted({form for name in plugins.names("openers") for form in _formats(name) if "/" not in form})


def can_open(distribution: Distribution) -> bool:
    """Whether an opener is registered for the format and the address of `distribution`. Nothing is fetched."""
    return distribution.url.partition("://")[0] in SCHEMES and format_of(distribution) in _all_formats()


def say_openable(record: Dataset | Rejected) -> Dataset | Rejected:
    """Say of a record whether one call opens it here."""
    if isinstance(record, Rejected) or record.openable or not any(map(can_open, record.distributions)):
        return record
    return record.model_copy(update={"openable": True})


@cache
def _all_formats() -> frozenset[str]:
    return frozenset(form for name in plugins.names("openers") for form in _formats(name))


def format_of(distribution: Distribution) -> str:
    """Return the format that a distribution names, or the one that its address ends in."""
    if distribution.format:
        return distribution.format.lower()
    name = distribution.url.partition("?")[0].rstrip("/").rpartition("/")[2].lower().removesuffix(".gz")
    if name in ("poscar", "contcar"):
        return "poscar"
    return _GUESSED.get(name.rpartition(".")[2], "")


def _check_options(opener: Any, name: str, options: dict[str, Any]) -> None:
    parameters = inspect.signature(opener.open).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        raise InvalidInput(
            f"{', '.join(unknown)}: no such option for the format {name}. It has: {', '.join(known) or 'none'}; and "
            "distribution, max_bytes and places for every format."
        )


def _chosen(dataset: Dataset, number: int | None) -> list[Distribution]:
    known = [d for d in dataset.distributions if can_open(d)]
    if number is None:
        return known
    if not 0 <= number < len(dataset.distributions):
        raise NotFound(
            f"{dataset.id!r} has {len(dataset.distributions)} distributions; there is no {number}."
        )
    return [dataset.distributions[number]]


def _openers(distribution: Distribution) -> Iterator[str]:
    wanted = format_of(distribution)
    return (name for name in plugins.names("openers") if wanted and wanted in _formats(name))


def _formats(name: str) -> tuple[str, ...]:
    try:
        return tuple(plugins.load("openers", name).formats)
    except MissingDependency:  # somebody's plug-in that imports what it lacks: its name is the best guess
        return (name,)
