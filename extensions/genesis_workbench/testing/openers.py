"""What every opener must do, and a small file of each format to do it with."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis_workbench.catalog import cite
from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.core.errors import GenesisError, InvalidInput, PermissionRefused

CITATION = "Doe, J. (2026). A sample. https://doi.org/10.1234/sample"


@dataclass
class Sample:
    """A small piece of data that an opener should open.

    Attributes
    ----------
    url : str
        Where it is.
    format : str
        Format as a distribution names it.
    total : float
        Sum of what :func:`total` adds up of the opened object.
    file : Path, optional
        The file to break, where it is one.
    private_hosts : tuple of str
        Hosts on loopback that it is served from.
    eager : bool
        Whether the format is read at once, as structures are.
    """

    url: str
    format: str
    total: float
    file: Path | None = None
    private_hosts: tuple[str, ...] = ()
    eager: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def record(self, **changes: Any) -> Dataset:
        """Return a record of the catalog that lists it."""
        distribution = Distribution(format=self.format, url=changes.pop("url", self.url))
        known: dict[str, Any] = {
            "id": "sample",
            "title": "A sample",
            "source": "contract",
            "licence": "CC0-1.0",
            "citation": CITATION,
            "doi": "10.1234/sample",
            "modified": "2026-01-02",
            "label": "restricted",
            "groups": ["testers"],
            "native_digest": "sha256:" + "0" * 64,
            "distributions": [distribution],
        }
        return Dataset(**{**known, **changes})


def total(opened: Any) -> float:
    """Add up every number of an opened object."""
    if hasattr(opened, "subtree"):
        return sum(total(node.to_dataset()) for node in opened.subtree)
    if hasattr(opened, "data_vars"):
        return float(sum(np.nansum(v.astype("f8").values) for v in opened.data_vars.values()))
    if hasattr(opened, "get_positions"):
        return float(opened.get_positions().sum())
    frame = opened.compute() if hasattr(opened, "compute") else opened.df()
    return float(frame.select_dtypes("number").to_numpy(dtype="f8").sum())


class OpenerContract:
    """Subclass it, and set `sample` to a :class:`Sample` and `places` to rules that open its folder."""

    sample: Sample
    places: Places

    def test_it_has_the_values(self) -> None:
        """What was written is read."""
        assert total(self.open()) == pytest.approx(self.sample.total, rel=1e-5)

    def test_nothing_is_computed_at_open(self) -> None:
        """Variables are on dask, tables are Dask's; only coordinates of dimensions are in memory."""
        opened = self.open()
        if self.sample.eager:
            assert hasattr(opened, "info")
            return
        if hasattr(opened, "subtree"):
            variables = [v for node in opened.subtree for v in node.data_vars.values()]
        elif hasattr(opened, "data_vars"):
            variables = list(opened.data_vars.values())
        else:
            assert hasattr(opened, "dask") or hasattr(opened, "relation")
            return
        assert variables
        assert all(v.chunks is not None for v in variables if v.ndim)

    def test_it_says_where_it_is_from(self) -> None:
        """Identifier, version, licence, citation, label and digest; a file's own words do not count."""
        opened = self.open()
        known = opened.attrs if hasattr(opened, "attrs") else opened.info
        assert known["genesis_dataset"] == "sample"
        assert known["identifier"] == "https://doi.org/10.1234/sample"
        assert known["version"] == "2026-01-02"
        assert known["licence"] == "CC0-1.0"
        assert known["label"] == "restricted"
        assert known["digest"] == "sha256:" + "0" * 64
        assert cite(opened) == CITATION
        for variable in getattr(opened, "data_vars", {}).values():
            assert variable.attrs["label"] == "restricted"

    def test_an_unknown_option_is_named(self) -> None:
        """With what there is instead."""
        with pytest.raises(InvalidInput, match="no such option"):
            self.open(nonsense=1)

    @pytest.mark.parametrize("broken", ["empty", "html", "noise", "half", "zeros"])
    def test_wrong_bytes_give_an_error_of_ours(self, broken: str) -> None:
        """At open or when it is computed: never another kind of error, never numbers."""
        file = self.sample.file
        if file is None:
            pytest.skip("this sample is no single file")
        whole = file.read_bytes()
        file.write_bytes(
            {
                "empty": b"",
                "html": b"<!DOCTYPE html><html><body>Please sign in</body></html>",
                "noise": np.random.default_rng(1).bytes(3000),
                "half": whole[: len(whole) * 2 // 5],
                "zeros": bytes(3000),
            }[broken]
        )
        try:
            with pytest.raises(GenesisError) as caught:
                total(self.open())
        finally:
            file.write_bytes(whole)
        assert len(str(caught.value)) > 30

    def test_a_file_outside_the_folders_is_refused(self, tmp_path: Path) -> None:
        """Also where it exists."""
        if not self.sample.url.startswith("file://"):
            pytest.skip("this sample is no file")
        elsewhere = Places(data_folders=(str(tmp_path / "another"),), cache=str(tmp_path))
        with pytest.raises(PermissionRefused):
            open_dataset(self.sample.record(), places=elsewhere, **self.sample.options)

    def test_it_travels_to_a_worker(self, client: Any) -> None:
        """Another process computes the same."""
        opened = self.open()
        if self.sample.eager:
            assert total(pickle.loads(pickle.dumps(opened))) == pytest.approx(self.sample.total)  # noqa: S301
            return
        assert client.scheduler_info()["workers"]
        assert total(opened) == pytest.approx(self.sample.total, rel=1e-5)

    def open(self, **options: Any) -> Any:
        """Open the sample."""
        return open_dataset(self.sample.record(), places=self.places, **{**self.sample.options, **options})


def _grid(**attributes: Any) -> Any:
    import xarray as xr

    values = np.arange(48.0, dtype="f4").reshape(2, 4, 6)
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), values, {"units": "K", "label": "export-controlled"})},
        {"time": [0, 1], "lat": np.linspace(-60, 60, 4), "lon": np.arange(6.0)},
        {"label": "export-controlled", "genesis_dataset": "another", **attributes},
    )


def _netcdf(folder: Path) -> Sample:
    path = folder / "sample.nc"
    _grid().to_netcdf(path, engine="h5netcdf", encoding={"t": {"zlib": True, "chunksizes": (1, 4, 6)}})
    return Sample(path.as_uri(), "netcdf", 1128, path)


def _netcdf3(folder: Path) -> Sample:
    path = folder / "classic.nc"
    _grid().to_netcdf(path, engine="scipy", format="NETCDF3_64BIT", unlimited_dims=["time"])
    return Sample(path.as_uri(), "netcdf", 1128, path)


def _hdf5(folder: Path) -> Sample:
    import h5py

    path = folder / "sample.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/values", data=np.arange(1000.0), chunks=(100,), compression="gzip")
    return Sample(path.as_uri(), "hdf5", 499500, path)


def _zarr(folder: Path) -> Sample:
    path = folder / "sample.zarr"
    _grid().to_zarr(path, zarr_format=2, consolidated=True)
    return Sample(path.as_uri(), "zarr", 1128)


def _icechunk(folder: Path) -> Sample:
    import icechunk

    path = folder / "sample.icechunk"
    session = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path))).writable_session(
        "main"
    )
    _grid().to_zarr(session.store, zarr_format=3, consolidated=False)
    session.commit("a sample")
    return Sample(path.as_uri(), "icechunk", 1128)


def _csv(folder: Path) -> Sample:
    path = folder / "sample.csv"
    path.write_text("name,x,y\n" + "".join(f'"a, {n}",{n},{n / 2}\n' for n in range(200)))
    return Sample(path.as_uri(), "csv", 29850, path)


def _parquet(folder: Path) -> Sample:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "sample.parquet"
    pq.write_table(pa.table({"name": ["a"] * 100, "x": list(range(100))}), path, row_group_size=30)
    return Sample(path.as_uri(), "parquet", 4950, path)


def _geotiff(folder: Path) -> Sample:
    import tifffile

    path = folder / "sample.tif"
    tags = [
        (33550, "d", 3, (0.5, 0.5, 0.0)),
        (33922, "d", 6, (0.0, 0.0, 0.0, 10.0, 50.0, 0.0)),
        (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)),
    ]
    values = np.arange(100 * 120, dtype="u2").reshape(100, 120)
    tifffile.imwrite(path, values, tile=(64, 64), compression="zlib", extratags=[(*t, True) for t in tags])
    return Sample(path.as_uri(), "geotiff", float(values.sum()), path)


def _fits(folder: Path) -> Sample:
    from astropy.io import fits

    path = folder / "sample.fits"
    image = fits.ImageHDU(np.arange(6000, dtype="i4").reshape(60, 100), name="SCI")
    column = fits.Column("flux", "E", "Jy", array=np.arange(10, dtype="f4"))
    fits.HDUList([fits.PrimaryHDU(), image, fits.BinTableHDU.from_columns([column], name="CAT")]).writeto(
        path
    )
    return Sample(path.as_uri(), "fits", 17997000 + 45, path)


def _grib(folder: Path) -> Sample:
    from genesis_workbench.catalog.openers.grib import ecmwf_library

    eccodes = ecmwf_library()
    path = folder / "sample.grib2"
    with path.open("wb") as file:
        for number in range(2):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            settings = {
                "Ni": 6, "Nj": 4, "latitudeOfFirstGridPointInDegrees": 60, "latitudeOfLastGridPointInDegrees": -60,
                "longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 50,
                "iDirectionIncrementInDegrees": 10, "jDirectionIncrementInDegrees": 40, "shortName": "2t",
                "dataDate": 20200101 + number, "bitsPerValue": 24,
            }  # fmt: skip
            for name, value in settings.items():
                eccodes.codes_set(message, name, value)
            eccodes.codes_set_values(message, np.arange(24.0) + 24 * number)
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)
    return Sample(path.as_uri(), "grib", 1128, path)


def _structure(folder: Path) -> Sample:
    path = folder / "POSCAR"
    path.write_text("NaCl\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    return Sample(path.as_uri(), "poscar", 6, path, eager=True)


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "fits": _fits,
    "geotiff": _geotiff,
    "grib": _grib,
    "hdf5": _hdf5,
    "icechunk": _icechunk,
    "netcdf": _netcdf,
    "netcdf3": _netcdf3,
    "parquet": _parquet,
    "structure": _structure,
    "table": _csv,
    "zarr": _zarr,
}
"""A writer of a sample by the name of the opener, and one more for what an opener reads besides."""
