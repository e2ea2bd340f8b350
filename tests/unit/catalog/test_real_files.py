"""What agencies and projects really publish: every file of a format that is opened here is read, or refused with a reason."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers.opendap import parse_das, parse_dds
from genesis_workbench.catalog.opening import format_of, known_formats, open_dataset
from genesis_workbench.core.errors import GenesisError

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real payloads is not here")
FOLDERS = (
    "arrays", "battery", "erddap", "experiments", "fusion", "materials", "pdb", "quantum", "semiconductor", "space",
    "thredds_opendap",
)  # fmt: skip

# Refused for what they are, with the words that say why. Everything else must be read.
REFUSED = {
    "MOD14.hdf4": "HDF4",
    "4Q9R_min.cif": "no structure",
    "header.pdb": "no structure",
    "a_structure.pdb": "cannot be read",  # by hand, with errors: its atoms lack elements
    "Wyckoff.csv": "cannot be read",  # rows of different lengths
    "46028_2005.csv": "cannot be read",  # comments before and between the rows
    "graphite_LGM50_ocp_Chen2020.csv": "no header",
    "lico2_ocp_Ai2020.csv": "no header",
    "nmc_LGM50_ocp_Chen2020.csv": "no header",
    "5128c_1_2_4_5_6.csv": "cannot be read",  # a report with tables in it
}


def manifest() -> list[dict[str, str]]:
    if not DATA.is_dir():
        return []
    with (DATA / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = set(known_formats())
    found = []
    for row in rows:
        if row["path"].partition("/")[0] in FOLDERS and ".zarr/" not in row["path"]:
            form = format_of(Distribution(url="file:///" + row["path"]))
            if row["path"].endswith(".hdf4"):
                form = "hdf5"
            if form in known - {"opendap"}:  # an answer of a server is no file
                found.append({**row, "format": form})
    return found


FILES = manifest()


def opened(path: Path, form: str) -> Any:
    record = Dataset(
        id="real", title="Real", source="s", distributions=[Distribution(format=form, url=path.as_uri())]
    )
    return open_dataset(record, places=Places(data_folders=(str(DATA),)))


def read(thing: Any) -> int:
    """Compute a corner of everything; return how many variables, columns or atoms there are."""
    if hasattr(thing, "subtree"):
        return sum(read(node.to_dataset()) for node in thing.subtree)
    if hasattr(thing, "data_vars"):
        for variable in thing.data_vars.values():
            variable.isel({d: slice(0, 3) for d in variable.dims}).compute()
        return len(thing.data_vars)
    if hasattr(thing, "get_positions"):
        assert np.isfinite(thing.get_positions()).all()
        return len(thing)
    return len(thing.compute().columns)


@pytest.mark.skipif(not FILES, reason="the folder of real payloads is not here")
def test_there_are_as_many_as_there_should_be() -> None:
    assert len(FILES) > 150
    assert {row["format"] for row in FILES} >= {
        "netcdf",
        "hdf5",
        "grib",
        "geotiff",
        "fits",
        "csv",
        "cif",
        "pdb",
        "poscar",
    }


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["path"])
def test_it_is_read_or_refused_with_a_reason(row: dict[str, str]) -> None:
    path = DATA / row["path"]
    broken = row["description_and_oddities"].startswith("BROKEN ON PURPOSE")
    reason = "broken" if broken else REFUSED.get(path.name)
    if reason is None:
        assert read(opened(path, row["format"])) > 0
        return
    with pytest.raises(GenesisError, match=reason):
        read(opened(path, row["format"]))


def test_a_zarr_store_without_consolidated_metadata() -> None:
    assert read(opened(DATA / "arrays/intake-xarray/blank.zarr", "zarr")) == 2


def test_values_are_those_of_other_readers() -> None:
    tifffile = pytest.importorskip("tifffile")
    path = DATA / "arrays/kerchunk/lcmap_tiny_cog_2019.tif"
    found = opened(path, "geotiff")
    np.testing.assert_array_equal(found["band_data"][0].values, tifffile.imread(path, key=0))
    assert found["x"].diff("x").values[0] == pytest.approx(30)
    netcdf4 = pytest.importorskip("netCDF4")
    for name in (
        "arrays/erddap/MWsstd1day.nc",
        "arrays/erddapTest/1900081_prof.nc",
        "arrays/xarray/bears.nc",
    ):
        ours = opened(DATA / name, "netcdf")
        with netcdf4.Dataset(DATA / name) as theirs:
            theirs.set_auto_maskandscale(False)
            for variable in theirs.variables.values():
                coded = {"_FillValue", "missing_value", "scale_factor"} & set(variable.ncattrs())
                dated = " since " in getattr(variable, "units", "")
                if variable.dtype.kind == "f" and not coded and not dated:
                    np.testing.assert_array_equal(ours[variable.name].values, variable[...])


@pytest.mark.parametrize("name", ["flatgroup.dds"])
def test_descriptions_of_opendap_servers(name: str) -> None:
    text = (DATA / "thredds_opendap/pydap" / name).read_text()
    arrays, skipped = parse_dds(text, "https://example.gov/x", Places())
    assert arrays or skipped


@pytest.mark.parametrize("name", ["rainfall_time_malaysia.cdp.das", "test.01.das"])
def test_attributes_of_opendap_servers(name: str) -> None:
    assert parse_das((DATA / "thredds_opendap/pydap" / name).read_text())
