"""A field of solar panels, simulated by pvlib: rows that shade each other under a cloudless sky.

Clear-sky irradiance: Ineichen and Perez (2002), Solar Energy 73(3), from monthly Linke turbidity. Rows: the infinite
sheds model of Mikofski et al. (2019), with shading of the direct beam and of the sky, both faces of the panels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ALBEDO, _BIFACIALITY, _WIDTH_M = 0.2, 0.7, 2.0


class Site(Record):
    """Where the field is, and the air above it."""

    latitude: float = Field(ge=-66, le=66, description="Degrees north.")
    longitude: float = Field(ge=-180, le=180, description="Degrees east.")
    altitude_m: float = Field(ge=-450, le=6000, description="Metres above the sea.")
    linke_turbidity: tuple[Annotated[float, Field(ge=1, le=12)], ...] = Field(
        min_length=12,
        max_length=12,
        description="Turbidity of the air in each month, January first: 2 is clear, 6 is hazy.",
    )


class PvArraySimulator(ProcessSimulator):
    """Twelve mid-month days in steps of half an hour, weighted by the days of each month."""

    name: ClassVar[str] = "pvlib"
    settings: ClassVar[type[Record]] = Site
    parameters: ClassVar[Mapping[str, str]] = {
        "tilt_deg": "degree",
        "azimuth_deg": "degree",
        "ground_coverage_ratio": "",
    }
    outcomes: ClassVar[Mapping[str, str]] = {
        "annual_insolation": "kW*h/m**2",
        "annual_energy_per_ground_area": "kW*h/m**2",
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the sunlight that a square metre of panel, and one of ground, gets in a year."""
        import numpy as np
        import pandas as pd
        from pvlib import atmosphere, bifacial, clearsky, irradiance, solarposition

        site = read(Site, cls.name, arguments)
        latitude, longitude, altitude_m = site.latitude, site.longitude, site.altitude_m
        tilt, azimuth = float(parameters["tilt_deg"]), float(parameters["azimuth_deg"])
        coverage = float(parameters["ground_coverage_ratio"])
        # Local solar time within minutes: the hours of the day are shifted by the longitude.
        shift = pd.Timedelta(hours=-longitude / 15)
        times = pd.DatetimeIndex(
            np.concatenate(
                [
                    pd.date_range(f"2025-{month:02d}-15 00:15", periods=48, freq="30min", tz="UTC")
                    for month in range(1, 13)
                ]
            )
        )
        times = times.tz_localize("UTC") if times.tz is None else times
        month = times.month.to_numpy()
        times = times + shift
        sun = solarposition.get_solarposition(times, latitude, longitude, altitude_m)
        zenith = sun["apparent_zenith"]
        airmass = atmosphere.get_absolute_airmass(
            atmosphere.get_relative_airmass(zenith), atmosphere.alt2pres(altitude_m)
        )
        extra = irradiance.get_extra_radiation(times)
        sky = clearsky.ineichen(
            zenith, airmass, np.asarray(site.linke_turbidity)[month - 1], altitude_m, extra
        )
        up = (zenith < 89).to_numpy()
        rows = bifacial.infinite_sheds.get_irradiance(
            surface_tilt=tilt,
            surface_azimuth=azimuth,
            solar_zenith=zenith[up],
            solar_azimuth=sun["azimuth"][up],
            gcr=coverage,
            height=1.5,
            pitch=_WIDTH_M / coverage,
            ghi=sky["ghi"][up],
            dhi=sky["dhi"][up],
            dni=sky["dni"][up],
            albedo=_ALBEDO,
            model="haydavies",
            dni_extra=extra[up],
            bifaciality=_BIFACIALITY,
        )
        power = pd.Series(0.0, index=times)
        power[up] = rows["poa_global"].fillna(0.0).to_numpy()
        daily = power.groupby(month).sum() * 0.5 / 1000  # kWh/m² of one day in each month
        insolation = float((daily.to_numpy() * np.array(_DAYS)).sum())
        return {"annual_insolation": insolation, "annual_energy_per_ground_area": insolation * coverage}


if __name__ == "__main__":
    run_as_job(PvArraySimulator)
