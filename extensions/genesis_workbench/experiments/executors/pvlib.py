"""A field of solar panels, simulated by pvlib: rows that shade each other under a cloudless sky.

Clear-sky irradiance: Ineichen and Perez (2002), Solar Energy 73(3), from monthly Linke turbidity. Rows: the infinite
sheds model of Mikofski et al. (2019), with shading of the direct beam and of the sky, both faces of the panels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ALBEDO, _BIFACIALITY, _WIDTH_M = 0.2, 0.7, 2.0


class PvArraySimulator(ProcessSimulator):
    """Twelve mid-month days in steps of half an hour, weighted by the days of each month."""

    name: ClassVar[str] = "pvlib"
    parameters: ClassVar[Mapping[str, str]] = {
        "tilt_deg": "degree",
        "azimuth_deg": "degree",
        "ground_coverage_ratio": "",
    }
    outcomes: ClassVar[Mapping[str, str]] = {
        "annual_insolation": "kW*h/m**2",
        "annual_energy_per_ground_area": "kW*h/m**2",
    }

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a place that is not on Earth. See :class:`Executor`."""
        _place(arguments)

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the sunlight that a square metre of panel, and one of ground, gets in a year."""
        import numpy as np
        import pandas as pd
        from pvlib import atmosphere, bifacial, clearsky, irradiance, solarposition

        latitude, longitude, altitude_m, turbidity = _place(arguments)
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
        sky = clearsky.ineichen(zenith, airmass, np.asarray(turbidity)[month - 1], altitude_m, extra)
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


def _place(arguments: Mapping[str, Any]) -> tuple[float, float, float, list[float]]:
    known = {"latitude", "longitude", "altitude_m", "linke_turbidity"}
    if set(arguments) != known:
        raise InvalidInput(
            f"The simulator needs exactly the arguments {', '.join(sorted(known))}; it was given "
            f"{', '.join(sorted(map(str, arguments))) or 'none'}."
        )
    try:
        latitude, longitude, altitude_m = (
            float(arguments[name]) for name in ("latitude", "longitude", "altitude_m")
        )
        turbidity = [float(value) for value in arguments["linke_turbidity"]]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"An argument of the simulator is no number: {error}.") from error
    if not (-66 <= latitude <= 66 and -180 <= longitude <= 180 and -450 <= altitude_m <= 6000):
        raise InvalidInput(
            f"The simulator covers latitudes from -66 to 66, longitudes from -180 to 180 and altitudes from -450 to 6000 "
            f"m, not {latitude}, {longitude} and {altitude_m}."
        )
    if len(turbidity) != 12 or not all(1 <= value <= 12 for value in turbidity):
        raise InvalidInput("linke_turbidity must be 12 monthly values between 1 and 12.")
    return latitude, longitude, altitude_m, turbidity


if __name__ == "__main__":
    run_as_job(PvArraySimulator)
