"""NetCDF files, classic and NetCDF-4, as lazy xarray datasets; many of them as one cube."""

from __future__ import annotations

from typing import Any, ClassVar

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import sniffed


class NetcdfOpener:
    """Opens a file, or all files that an address with wildcards names."""

    formats: ClassVar[tuple[str, ...]] = ("netcdf",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        group: str | None = None,
        concat_dim: str = "time",
    ) -> Any:
        """Open lazily.

        Parameters
        ----------
        chunks : mapping, None or 'auto'
            Lengths of blocks along some dimensions; None leaves cutting to you, for selecting first.
        group : str, optional
            Path of a group in the file.
        concat_dim : str
            Dimension along which many files follow each other.
        """
        if _names_many(distribution.url):
            from genesis_workbench.catalog.cubes import open_cube

            return open_cube(dataset, distribution, places, chunks=chunks, concat_dim=concat_dim)
        from genesis_workbench.catalog.openers._hdf5 import open_hdf5
        from genesis_workbench.catalog.openers._netcdf3 import open_netcdf3

        content = places.content(distribution)
        if sniffed(content, "hdf5", "netcdf3") == "netcdf3":
            return open_netcdf3(content, chunks=chunks)
        return open_hdf5(content, group=group, chunks=chunks)


def _names_many(url: str) -> bool:
    """Whether an address has wildcards; in one of the web a question mark is none."""
    if url.startswith(("file://", "s3://")):
        return any(mark in url for mark in "*?[")
    return "*" in url.partition("?")[0]
