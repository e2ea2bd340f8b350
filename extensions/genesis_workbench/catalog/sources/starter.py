"""Data that come along in packages: real, small, and there without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.catalog.openers._base import package_file
from genesis_workbench.catalog.sources._base import Page, native_digest, native_text
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.identifiers import digest_file
from genesis_workbench.core.site import SourceSection

SECTION = SourceSection(
    name="starter",
    kind="starter",
    title="Data that come with the workbench",
    agency="Several; each record names its own",
)
"""The section under which these data are listed where the site has none."""

_GRID = {
    "latitude": {"first": 90, "last": -90, "count": 2160, "units": "degrees_north"},
    "longitude": {"first": -180, "last": 180, "count": 4320, "units": "degrees_east"},
}
_PVLIB_PAPER = (
    "Anderson, K., Hansen, C., Holmgren, W., Jensen, A., Mikofski, M., Driesse, A. (2023). pvlib python: 2023 "
    "project update. Journal of Open Source Software 8(92), 5994."
)
_FLOAT, _TEXT, _INT = "float64", "string", "int64"
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]

RECORDS: tuple[dict[str, Any], ...] = (
    {
        "id": "linke-turbidity",
        "title": "Worldwide Linke turbidity, monthly climatology",
        "description": "Linke turbidity of the clear atmosphere for an air mass of 2: how many clean, dry "
        "atmospheres would weaken sunlight as much. One value for each month on a grid of 5 arc minutes, stored "
        "with a resolution of 0.05. It drives clear-sky models of solar irradiance.",
        "agency": "SoDa (MINES Paris, ARMINES)",
        "keywords": [
            "linke turbidity",
            "solar",
            "irradiance",
            "atmosphere",
            "aerosol",
            "clear sky",
            "energy",
        ],
        "licence": "Distributed with pvlib under BSD-3-Clause",
        "citation": "Remund, J., Wald, L., Lefèvre, M., Ranchin, T., Page, J. (2003). Worldwide Linke turbidity "
        "information. Proceedings of the ISES Solar World Congress 2003, Göteborg, Sweden. SoDa.",
        "landing_page": "https://www.soda-pro.com/help/general-knowledge/linke-turbidity-factor",
        "spatial": (-180.0, -90.0, 180.0, 90.0),
        "format": "hdf5",
        "url": "package://pvlib/data/LinkeTurbidities.h5",
        "options": {
            "variable": "linke_turbidity",
            "path": "LinkeTurbidity",
            "file_dims": ["latitude", "longitude", "month"],
            "dims": ["month", "latitude", "longitude"],
            "divide_by": 20,
            "offset": 0,
            "units": "1",
            "long_name": "Linke turbidity at air mass 2",
            "coordinates": {**_GRID, "month": {"values": list(range(1, 13)), "units": "1"}},
            "chunks": {"month": 12, "latitude": 270, "longitude": 540},
        },
    },
    {
        "id": "altitude",
        "title": "Altitude of the Earth's surface, coarse",
        "description": "Height of the land above sea level on a grid of 5 arc minutes, in steps of 28 m from -450 "
        "m. A coarse approximation: errors of 100 m and more occur in steep terrain. Cells without data, which is most of "
        "the sea, are missing (NaN).",
        "agency": "Mapzen (terrain tiles; NOAA, USGS, NASA and others)",
        "keywords": ["altitude", "elevation", "terrain", "topography", "solar", "energy"],
        "licence": "Distributed with pvlib under BSD-3-Clause; attributions of the terrain data in pvlib's "
        "lookup_altitude",
        "citation": "Mapzen terrain tiles (3DEP, GMTED2010 and SRTM courtesy of the U.S. Geological Survey; ETOPO1 of "
        f"NOAA; ArcticDEM; EU-DEM and others), downsampled for pvlib. {_PVLIB_PAPER}",
        "landing_page": "https://github.com/tilezen/joerd/blob/master/docs/data-sources.md",
        "spatial": (-180.0, -90.0, 180.0, 90.0),
        "format": "hdf5",
        "url": "package://pvlib/data/Altitude.h5",
        "options": {
            "variable": "altitude",
            "path": "Altitude",
            "file_dims": ["latitude", "longitude"],
            "dims": ["latitude", "longitude"],
            "multiply_by": 28,
            "offset": -450,
            "missing": 255,
            "units": "m",
            "long_name": "Height above sea level",
            "standard_name": "surface_altitude",
            "coordinates": _GRID,
            "chunks": {"latitude": 432, "longitude": 864},
        },
    },
    {
        "id": "cec-pv-modules",
        "title": "Photovoltaic modules: parameters of the CEC performance model",
        "description": "Parameters of the six-parameter single-diode model for the photovoltaic modules on the list "
        "of the California Energy Commission, as the System Advisor Model (SAM) library of 2019-03-05 has them.",
        "agency": "DOE National Renewable Energy Laboratory",
        "keywords": ["photovoltaic", "solar", "module", "single diode", "CEC", "SAM", "energy"],
        "licence": "SAM library, BSD-3-Clause; distributed with pvlib under BSD-3-Clause",
        "citation": "National Renewable Energy Laboratory (2019). System Advisor Model (SAM), CEC module library of "
        "2019-03-05, Golden, CO. Model: Dobos, A. (2012). An improved coefficient calculator for the California "
        "Energy Commission 6 parameter photovoltaic module model. Journal of Solar Energy Engineering 134(2), "
        "021011.",
        "landing_page": "https://sam.nrel.gov/photovoltaic.html",
        "modified": "2019-03-05",
        "format": "csv",
        "url": "package://pvlib/data/sam-library-cec-modules-2019-03-05.csv",
        "options": {
            "units_row": 1,
            "skip_rows": [1, 2],
            "units": {"A_c": "m**2", "T_NOCT": "degC", "R_s": "ohm", "R_sh_ref": "ohm"},
            "columns": {
                "Name": _TEXT,
                "Technology": _TEXT,
                "Bifacial": _INT,
                **dict.fromkeys(["STC", "PTC", "A_c", "Length", "Width"], _FLOAT),
                "N_s": _INT,
                **dict.fromkeys(
                    [
                        "I_sc_ref",
                        "V_oc_ref",
                        "I_mp_ref",
                        "V_mp_ref",
                        "alpha_sc",
                        "beta_oc",
                        "T_NOCT",
                        "a_ref",
                    ],
                    _FLOAT,
                ),
                **dict.fromkeys(["I_L_ref", "I_o_ref", "R_s", "R_sh_ref", "Adjust", "gamma_r"], _FLOAT),
                **dict.fromkeys(["BIPV", "Version", "Date"], _TEXT),
            },
        },
    },
    {
        "id": "mauna-loa-co2",
        "title": "Atmospheric carbon dioxide at Mauna Loa, weekly, 1958 to 2001",
        "description": "Weekly averages of carbon dioxide in the air at Mauna Loa Observatory, Hawaii, from "
        "continuous samples, as a mole fraction in dry air (ppm). Weeks without enough steady data are missing.",
        "agency": "DOE Carbon Dioxide Information Analysis Center",
        "keywords": ["carbon dioxide", "co2", "climate", "atmosphere", "keeling curve", "time series"],
        "licence": "Public domain",
        "citation": "Keeling, C.D. and T.P. Whorf (2004). Atmospheric CO2 concentrations derived from flask air samples "
        "at sites in the SIO network. In Trends: A Compendium of Data on Global Change. Carbon Dioxide Information "
        "Analysis Center, Oak Ridge National Laboratory, U.S. Department of Energy, Oak Ridge, Tennessee, U.S.A.",
        "landing_page": "https://www.statsmodels.org/stable/datasets/generated/co2.html",
        "spatial": (-155.58, 19.54, -155.58, 19.54),
        "temporal": ("1958-03-29", "2001-12-29"),
        "format": "csv",
        "url": "package://statsmodels/datasets/co2/co2.csv",
        "options": {
            "columns": {"date": _TEXT, "co2": _FLOAT},
            "dates": {"date": "%Y%m%d"},
            "units": {"co2": "ppm"},
        },
    },
    {
        "id": "nino12-sst",
        "title": "Sea surface temperature in the Niño 1+2 region, monthly, 1950 to 2010",
        "description": "Monthly mean sea surface temperature of the Pacific between 0 and 10 degrees South and 90 and "
        "80 degrees West (ERSST.v3b), one row for each year. El Niño and La Niña show in it.",
        "agency": "NOAA Climate Prediction Center",
        "keywords": ["sea surface temperature", "el niño", "enso", "ocean", "climate", "time series"],
        "licence": "Public domain",
        "citation": "National Oceanic and Atmospheric Administration, Climate Prediction Center. ERSST.V3B dataset, "
        "Nino 1+2.",
        "landing_page": "https://www.cpc.ncep.noaa.gov/data/indices/",
        "spatial": (-90.0, -10.0, -80.0, 0.0),
        "temporal": ("1950-01", "2010-12"),
        "format": "csv",
        "url": "package://statsmodels/datasets/elnino/elnino.csv",
        "options": {
            "columns": {"YEAR": _INT, **dict.fromkeys(_MONTHS, _FLOAT)},
            "units": dict.fromkeys(_MONTHS, "degC"),
        },
    },
    {
        "id": "sunspots",
        "title": "Sunspot number, yearly, 1700 to 2008",
        "description": "Yearly mean international sunspot number: the activity of the Sun in cycles of about eleven "
        "years.",
        "agency": "SILSO, Royal Observatory of Belgium (through NOAA NGDC)",
        "keywords": ["sunspots", "sun", "solar cycle", "space weather", "time series"],
        "licence": "Public domain",
        "citation": "International sunspot number, World Data Center SILSO, Royal Observatory of Belgium, Brussels, as "
        "distributed by the National Geophysical Data Center, NOAA.",
        "landing_page": "https://www.sidc.be/SILSO/datafiles",
        "temporal": ("1700", "2008"),
        "format": "csv",
        "url": "package://statsmodels/datasets/sunspots/sunspots.csv",
        "options": {"columns": {"YEAR": _INT, "SUNACTIVITY": _FLOAT}, "units": {"SUNACTIVITY": "1"}},
    },
)


class StarterSource:
    """Lists files of installed packages, each with the checksum of the file that is there."""

    kind: ClassVar[str] = "starter"
    protocol: ClassVar[str] = "files of installed packages"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection = SECTION, fetcher: Fetcher | None = None) -> None:
        self._section = section

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the one page there is."""
        made = [(self._read(record), record) for record in RECORDS]
        natives = {found.id: native_text(record) for found, record in made if isinstance(found, Dataset)}
        yield Page([found for found, _ in made], natives=natives)

    def _read(self, record: dict[str, Any]) -> Dataset | Rejected:
        fields = {k: v for k, v in record.items() if k not in ("format", "url", "options")}
        try:
            path = package_file(record["url"])
        except GenesisError as error:
            return Rejected(record["id"], error.message)
        status = path.stat()
        distribution = Distribution(
            format=record["format"],
            url=record["url"],
            title=path.name,
            size_bytes=status.st_size,
            checksum=_checksum(path, status.st_size, status.st_mtime_ns),
            options=record["options"],
        )
        return Dataset(
            **fields,
            source=self._section.name,
            formats=[distribution.format],
            label=self._section.label,
            groups=self._section.groups,
            distributions=[distribution],
            native_digest=native_digest([record, distribution.checksum]),
            openable=True,
        )


@lru_cache(maxsize=32)
def _checksum(path: Path, _size: int, _modified_ns: int) -> str:
    return digest_file(path)
