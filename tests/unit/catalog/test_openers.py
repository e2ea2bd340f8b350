"""What each format gives: coordinates, units, groups, models; and what was opened says how to cite it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import genesis_workbench as gw
from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers.grib import ecmwf_library
from genesis_workbench.catalog.openers.opendap import parse_das, parse_dds
from genesis_workbench.catalog.opening import format_of, open_dataset
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, InvalidInput, MissingDependency
from genesis_workbench.testing.lying import LyingServer
from genesis_workbench.testing.openers import SAMPLES


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def opened(path: Path, form: str = "", **options: Any) -> Any:
    record = Dataset(
        id="x", title="X", source="s", agency="A", modified="2026",
        distributions=[Distribution(format=form, url=path.as_uri())],
    )  # fmt: skip
    return open_dataset(record, places=Places(data_folders=(str(path.parent),)), **options)


def test_a_geotiff_knows_where_its_cells_are(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    sample = SAMPLES["geotiff"](tmp_path)
    assert sample.file is not None
    found = opened(sample.file)
    assert found.attrs["epsg"] == 4326
    assert (float(found["x"][0]), float(found["y"][0])) == (10.25, 49.75)
    assert float(found["band_data"].sel(band=1, x=20.25, y=40.25)) == 19 * 120 + 20
    np.testing.assert_array_equal(
        found["band_data"][0, 60:70, ::7].values, found["band_data"].values[0, 60:70, ::7]
    )


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (32, 48)])
def test_bands_tiles_and_strips(tmp_path: Path, planar: str, tile: tuple[int, int] | None) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.arange(3 * 70 * 90, dtype="f4").reshape(3, 70, 90)
    data = values if planar == "separate" else np.moveaxis(values, 0, -1)
    layout = {"tile": tile} if tile else {"rowsperstrip": 16}
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        photometric="rgb",
        planarconfig=planar,
        compression="lzw",
        predictor=3,
        **layout,
    )
    found = opened(tmp_path / "a.tif")["band_data"]
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found[1, 30:40, 80:].values, values[1, 30:40, 80:])
    np.testing.assert_array_equal(found[:, [3, 50], 7].values, values[:, [3, 50], 7])


def test_missing_cells_and_overviews(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.arange(64 * 64, dtype="i2").reshape(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, tile=(32, 32), extratags=[(42113, "s", 0, "5", True)])
        file.write(values[::2, ::2].copy(), tile=(32, 32), subfiletype=1)
    found = opened(tmp_path / "a.tif")["band_data"]
    assert np.isnan(found[0, 0, 5])
    assert float(found[0, 0, 6]) == 6
    assert opened(tmp_path / "a.tif", overview=1)["band_data"].shape == (1, 32, 32)
    with pytest.raises(InvalidInput, match="overviews"):
        opened(tmp_path / "a.tif", overview=2)


def test_units_of_a_fits_file(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    scaled = fits.ImageHDU(np.arange(12, dtype="i2").reshape(3, 4), name="SCI")
    scaled.header["BUNIT"] = "adu"
    unsigned = fits.ImageHDU(np.arange(12, dtype="u2").reshape(3, 4), name="DQ")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("name", "4A", array=["ab", "cd"]),
            fits.Column("flux", "2E", "Jy", array=[[1, 2], [3, 4]]),
            fits.Column("parts", "PI()", array=[np.array([1]), np.array([1, 2])]),
        ],
        name="CAT",
    )
    fits.HDUList([fits.PrimaryHDU(), scaled, unsigned, table]).writeto(tmp_path / "a.fits")
    found = opened(tmp_path / "a.fits")
    assert isinstance(found, xr.DataTree)
    assert found["SCI/data"].attrs["units"] == "adu"
    np.testing.assert_array_equal(found["DQ/data"].values, np.arange(12).reshape(3, 4))
    assert found["CAT/flux"].attrs["units"] == "Jy"
    assert list(found["CAT/name"].values) == ["ab", "cd"]
    assert found["CAT"].attrs["columns_not_read"] == "parts"
    assert opened(tmp_path / "a.fits", hdu=1)["data"].shape == (3, 4)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_without_a_group_is_one_variable(tmp_path: Path, version: Any) -> None:
    zarr = pytest.importorskip("zarr")
    made = zarr.create_array(
        tmp_path / "image.zarr", shape=(4, 6), chunks=(2, 3), dtype="f8", zarr_format=version,
        dimension_names=("row", "column") if version == 3 else None, attributes={"unit": "K"},
    )  # fmt: skip
    made[:] = np.arange(24.0).reshape(4, 6)
    found = opened(tmp_path / "image.zarr", "zarr")["image.zarr"]
    assert found.dims == (("row", "column") if version == 3 else ("dim_0", "dim_1"))
    assert found.chunks == ((2, 2), (3, 3))
    assert found.attrs["unit"] == "K"
    np.testing.assert_array_equal(found.values, np.arange(24.0).reshape(4, 6))
    first = found.dims[0]
    assert opened(tmp_path / "image.zarr", "zarr", chunks={first: 4})["image.zarr"].chunks[0] == (4,)
    with pytest.raises(InvalidInput, match="no dimensions"):
        opened(tmp_path / "image.zarr", "zarr", chunks={"time": 1})


def test_a_process_that_read_grib_and_asked_postgresql_ends_well() -> None:
    script = (
        "from genesis_workbench.catalog.openers.grib import ecmwf_library\n"
        "ecmwf_library().codes_get_api_version()\n"
        "import psycopg\n"
        "try:\n    psycopg.connect('host=127.0.0.1 port=1 connect_timeout=1')\n"
        "except psycopg.OperationalError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n")


def test_a_grib_file_of_several_levels_is_a_tree(tmp_path: Path) -> None:
    eccodes = ecmwf_library()
    path = tmp_path / "a.grib2"
    with path.open("wb") as file:
        for level, height in (("heightAboveGround", 2), ("surface", 0)):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            for name, value in {
                "typeOfLevel": level,
                "level": height,
                "shortName": "2t" if height else "skt",
            }.items():
                eccodes.codes_set(message, name, value)
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)
    found = opened(path)
    parts = list(found.subtree)[1:] if isinstance(found, xr.DataTree) else [found]
    assert sum(len(part.data_vars) for part in parts) == 2
    only = opened(path, filter_by_keys={"typeOfLevel": "surface"})
    assert list(only.data_vars) == ["skt"]
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"6666")
    with pytest.raises(InvalidInput, match="Message 2"):
        opened(path)


MMCIF = """data_X
_cell.length_a 10.0
_cell.length_b 10.0
_cell.length_c 10.0
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
loop_
_atom_site.group_PDB
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.pdbx_PDB_model_num
ATOM N N MET A 1.0 2.0 3.0 1
ATOM C CA MET A 2.0 2.0 3.0 1
ATOM SE SE MSE A 3.0 2.0 3.0 2
"""
CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na 0 0 0
Cl 0.5 0.5 0.5
"""
PDB = "ATOM      1  N   MET A   1      27.340  24.430   2.614  1.00  9.67           N\nEND\n"


def test_structures_of_every_format_are_atoms(tmp_path: Path) -> None:
    ase = pytest.importorskip("ase")
    for name, text, formula in (
        ("a.cif", CIF, "NaCl"), ("b.cif", MMCIF, "NC"), ("c.pdb", PDB, "N"), ("poscar", "", "NaCl"),
    ):  # fmt: skip
        if text:
            (tmp_path / name).write_text(text)
        else:
            SAMPLES["structure"](tmp_path)
            name = "POSCAR"  # noqa: PLW2901 - the sample's name
        found = opened(tmp_path / name)
        assert isinstance(found, ase.Atoms)
        assert str(found.symbols) == formula
        assert gw.cite(found) == "A (2026). X."
    assert str(opened(tmp_path / "b.cif", index=1).symbols) == "Se"
    assert list(opened(tmp_path / "b.cif").arrays["chains"]) == ["A", "A"]
    with pytest.raises(InvalidInput, match="2 structures"):
        opened(tmp_path / "b.cif", index=2)


def test_columns_of_a_parquet_file(tmp_path: Path) -> None:
    sample = SAMPLES["parquet"](tmp_path)
    assert sample.file is not None
    assert opened(sample.file).npartitions == 4
    assert list(opened(sample.file, columns=["x"]).compute().columns) == ["x"]
    with pytest.raises(InvalidInput, match="no columns"):
        opened(sample.file, columns=["z"])
    pytest.importorskip("duckdb")
    assert opened(sample.file, engine="duckdb").query("select max(x) from data").fetchall() == [(99,)]


def test_a_table_without_a_record_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("Größe\tOrt\n1.5\tKöln\n2\tBonn\n".encode("latin-1"))
    found = opened(path)
    assert list(found.columns) == ["Größe", "Ort"]
    assert list(found.compute()["Ort"]) == ["Köln", "Bonn"]
    assert gw.cite(found) == gw.cite(found.compute()) == "A (2026). X."


def test_arrays_say_how_to_cite_them(tmp_path: Path) -> None:
    sample = SAMPLES["netcdf"](tmp_path)
    assert sample.file is not None
    found = opened(sample.file)
    assert gw.cite(found) == gw.cite(found["t"]) == found.genesis.cite() == "A (2026). X."
    assert found["t"].genesis.label == "public"
    assert found.genesis.identifier == "x"
    with pytest.raises(InvalidInput, match="does not say"):
        gw.cite(xr.Dataset())
    with pytest.raises(InvalidInput, match="does not say"):
        gw.cite(3)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://a.gov/x.nc", "netcdf"),
        ("https://a.gov/x.NC4?token=1", "netcdf"),
        ("https://a.gov/d/x.pdb.gz", "pdb"),
        ("https://a.gov/POSCAR", "poscar"),
        ("https://a.gov/x.zarr/", "zarr"),
        ("https://a.gov/x.exe", ""),
        ("https://a.gov/", ""),
    ],
)
def test_the_format_of_an_address(url: str, form: str) -> None:
    assert format_of(Distribution(url=url)) == form


def test_a_missing_package_answers_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        formats = ("fits",)

        def open(self, *_args: Any, **_options: Any) -> Any:
            raise ModuleNotFoundError("No module named 'astropy'", name="astropy")

    monkeypatch.setattr(plugins, "load", lambda _group, _name: Missing)
    monkeypatch.setattr(plugins, "names", lambda _group: ["fits"])
    (tmp_path / "a.fits").touch()
    with pytest.raises(MissingDependency, match=r'pip install "genesis-workbench\[fits\]"'):
        opened(tmp_path / "a.fits")


DDS = """Dataset {
    Float64 time[time = 3];
    Structure { Int32 inner[2]; } group;
    Sequence { Float32 depth; String name; } cast;
    String label;
    Grid {
      ARRAY:
        Int16 sst[time = 3][lat = 2];
      MAPS:
        Float64 time[time = 3];
        Float32 lat[lat = 2];
    } sst;
} peer;
"""


def test_a_description_of_an_opendap_server_is_read() -> None:
    arrays, skipped = parse_dds(DDS, "https://a.gov/x", Places())
    assert {name: array.shape for name, array in arrays.items()} == {"time": (3,), "sst": (3, 2), "lat": (2,)}
    assert arrays["sst"].dims == ("time", "lat")
    assert skipped == ["group", "cast", "label"]


def test_attributes_of_an_opendap_server_are_read() -> None:
    found = parse_das(
        'Attributes {\n NC_GLOBAL { String title "A \\"b\\"; c"; }\n sst { Float32 add_offset 1.5; Int16 range -1, 3; '
        "Float32 bad what; deep { String x 1; } }\n}"
    )
    assert found["NC_GLOBAL"]["title"] == 'A "b"; c'
    assert found["sst"]["add_offset"] == np.float32(1.5)
    assert list(found["sst"]["range"]) == [-1, 3]
    assert "bad" not in found["sst"]


@given(st.text('Dataset{}[]=;:,"\n Grid Float32 Int16 x1-', max_size=200))
def test_any_description_is_read_or_refused(text: str) -> None:
    parse_das(text)
    for candidate in (text, "Dataset {" + text):
        with suppress(InvalidInput):
            parse_dds(candidate, "https://a.gov/x", Places())


@pytest.fixture(scope="module")
def lying() -> Iterator[LyingServer]:
    dds = b"Dataset { Float32 t[x = 1000000]; } d;"
    with LyingServer({
        "/short.dds": dds, "/short.das": b"Attributes { }", "/short.dods": dds + b"\nData:\n" + bytes(50),
        "/error.dds": b'Error { code = 404; message = "no such dataset"; };', "/error.das": b"",
        "/page.dds": b"<html>sign in", "/page.das": b"",
        "/huge.dds": b"Dataset { Float32 t[x = 999999999999][y = 99999999]; } d;", "/huge.das": b"",
        "/minus.dds": b"Dataset { Float32 t[x = -5]; } d;", "/minus.das": b"",
    }) as server:  # fmt: skip
        yield server


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/short", "number of values|fewer values"),
        ("/error", "no such dataset"),
        ("/page", "HTML"),
        ("/huge", "blocks"),
        ("/minus", "broken description"),
        ("/missing", "nothing at"),
        ("/error500", "status"),
    ],
)
def test_an_opendap_server_that_lies(lying: LyingServer, path: str, reason: str) -> None:
    record = Dataset(
        id="x", title="X", source="s", distributions=[Distribution(format="opendap", url=lying.url(path))]
    )
    with pytest.raises(GenesisError, match=reason):
        open_dataset(record, places=Places(private_hosts=("127.0.0.1",)))["t"].compute()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_of_a_table_keeps_the_label_of_its_data(form: str, tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    path = tmp_path / f"table.{form}"
    table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path)
    record = Dataset(
        id="secret",
        title="Secret",
        source="s",
        label="controlled",
        groups=["g"],
        distributions=[Distribution(format=form, url=path.as_uri())],
    )
    opened = open_dataset(record, places=Places(data_folders=(str(tmp_path),)))
    assert opened.attrs["label"] == "controlled"
    assert opened[["a"]]._meta.attrs["label"] == "controlled"


def test_a_tile_that_is_not_there_is_missing_and_no_zero(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    data = np.full((32, 32), 5, "i2")
    data[:16, :16] = 0  # all zeros: a sparse file has no such tile
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(data, tile=(16, 16), extratags=[(42113, 2, 6, "-9999", True)])
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        counts = file.pages[0].tags[325]
        place, size = counts.valueoffset, {3: 2, 4: 4, 16: 8}[int(counts.dtype)]
    raw[place : place + size] = bytes(size)
    (tmp_path / "a.tif").write_bytes(raw)
    found = opened(tmp_path / "a.tif")["band_data"].values
    assert int(np.isnan(found).sum()) == 256
    assert float(np.nanmean(found)) == 5


def test_a_value_for_missing_ones_that_the_type_cannot_be_makes_nothing_missing(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    data = np.array([[0, 1], [2, 3]], "u1")
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=[(42113, 2, 6, "-9999", True)])
    np.testing.assert_array_equal(opened(tmp_path / "a.tif")["band_data"].values[0], data)


def test_missing_values_of_a_fits_table_are_no_numbers(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    counts = fits.Column("counts", "J", null=-999, array=np.array([10, 20, -999]))
    plain = fits.Column("plain", "J", array=np.array([1, 2, -999]))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([counts, plain])]).writeto(
        tmp_path / "a.fits"
    )
    found = opened(tmp_path / "a.fits")
    np.testing.assert_array_equal(found["counts"].values, [10, 20, np.nan])
    np.testing.assert_array_equal(found["plain"].values, [1, 2, -999])


@pytest.mark.parametrize(("separator", "encoding"), [("\t", "utf-8"), (";", "latin-1"), (",", "utf-8-sig")])
def test_a_table_in_gzip_is_read_as_the_same_table_without(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    text = f"a{separator}b\n1{separator}café\n3{separator}4\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    (tmp_path / "u.csv.gz").write_bytes(gzip.compress(text.encode(encoding)))
    plain, packed = opened(tmp_path / "t.csv").compute(), opened(tmp_path / "u.csv.gz")
    packed = packed.compute() if hasattr(packed, "compute") else packed
    assert list(packed.columns) == ["a", "b"]
    assert packed["b"].tolist() == plain["b"].tolist() == ["café", "4"]


def test_a_table_whose_lines_end_in_cr_alone_is_refused_and_not_read_as_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\r" + b"1,2\r" * 100)
    with pytest.raises(InvalidInput, match="CR alone"):
        opened(tmp_path / "t.csv")


def test_a_text_that_is_never_closed_is_one_text() -> None:
    assert list(parse_das('Attributes { x { String a "' + '\\"' * 50_000)) == ["x"]
    assert parse_das('Attributes {\n x {\n String a "one\ntwo";\n }\n}')["x"]["a"] == "one\ntwo"
