"""A climatologist's analysis on eight workers of a real Slurm gives what one process gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from genesis_workbench import compute

SITE = """
name = "test"
[compute]
scheduler = "slurm"
interface = "lo"
worker_memory_bytes = 419430400
[compute.slurm]
poll_s = 0.3
"""
LATITUDES, LONGITUDES = np.arange(-60, 61, 7.5), np.arange(-180, 180, 11.25)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Three years of daily irradiation on a grid, a NetCDF file a month: simulated by pvlib's Haurwitz clear sky, with clouds
    from a seeded generator."""
    import pvlib

    folder = tmp_path_factory.mktemp("collection")
    clouds = np.random.default_rng(7)
    for month in pd.date_range("2021-01-01", "2023-12-01", freq="MS"):
        days = pd.date_range(month, month + pd.offsets.MonthEnd(0), freq="D")
        declination = pvlib.solarposition.declination_spencer71(days.day_of_year.to_numpy())
        latitude = np.radians(LATITUDES)[None, :]
        noon = np.cos(latitude - declination[:, None]).clip(0)
        clear = pvlib.clearsky.haurwitz(pd.Series(np.degrees(np.arccos(noon)).ravel()))["ghi"].to_numpy()
        sky = clouds.uniform(0.3, 1.0, size=(len(days), len(LATITUDES), len(LONGITUDES)))
        values = clear.reshape(noon.shape)[:, :, None] * sky
        coordinates = {"time": days, "latitude": LATITUDES, "longitude": LONGITUDES}
        data = xr.Dataset({"ghi": (tuple(coordinates), values, {"units": "W/m2"})}, coords=coordinates)
        data.to_netcdf(folder / f"ghi-{month:%Y-%m}.nc", engine="h5netcdf")
    return sorted(folder.glob("*.nc"))


def climatology_and_anomalies(data):
    months = data["ghi"].groupby("time.month")
    climatology = months.mean("time")
    return climatology, months - climatology


@pytest.mark.slow
def test_monthly_climatology_and_anomalies_are_those_of_one_process(slurm, collection, tmp_path, monkeypatch):
    (tmp_path / "site.toml").write_text(SITE)
    monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    with xr.open_mfdataset(collection, engine="h5netcdf", chunks=None, combine="by_coords") as whole:
        expected, anomalies = (each.compute() for each in climatology_and_anomalies(whole.load()))
    assert expected.sizes == {"month": 12, "latitude": 17, "longitude": 32}
    with compute.cluster(workers=8) as cluster:
        cluster.wait(timeout_s=120)
        with xr.open_mfdataset(
            collection, engine="h5netcdf", combine="by_coords", parallel=True
        ) as data:  # a chunk a file
            assert len(data.chunks["time"]) == len(collection) == 36
            found, departures = (each.compute() for each in climatology_and_anomalies(data))
        changes = cluster.client.run(lambda dask_worker: dask_worker.state.transition_counter)
    assert len(changes) == 8
    assert min(changes.values()) > 0  # every worker had its part
    xr.testing.assert_allclose(found, expected, rtol=1e-12)
    xr.testing.assert_allclose(departures, anomalies, rtol=1e-9, atol=1e-9)
    assert float(abs(departures).max()) > 10  # there was something to find
