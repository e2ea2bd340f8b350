"""The data that come along: real files, opened lazily, with the values that their own package reads."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers import _base
from genesis_workbench.catalog.openers.hdf5 import Hdf5Array
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.sources.starter import RECORDS, StarterSource
from genesis_workbench.core.errors import InvalidInput, MissingDependency, NotFound, VerificationFailed

pytest.importorskip("pvlib")
pytest.importorskip("statsmodels")

PLACES = [(36.0, -106.0), (-33.9, 151.2), (64.1, -21.9), (0.01, 0.01), (89.99, 179.99), (-89.99, -179.99)]


@pytest.fixture(scope="module")
def starter() -> dict[str, Dataset]:
    return {r.id: r for page in StarterSource().pages() for r in page.records if isinstance(r, Dataset)}


def test_every_record_is_listed_with_what_a_reader_must_know(starter: dict[str, Dataset]) -> None:
    assert set(starter) == {record["id"] for record in RECORDS}
    for dataset in starter.values():
        assert dataset.openable
        assert dataset.licence
        assert dataset.citation
        assert dataset.agency
        assert dataset.keywords
        assert dataset.distributions[0].checksum.startswith("sha256:")
        assert dataset.distributions[0].size_bytes > 0


def test_linke_turbidity_is_lazy_and_has_the_values_that_pvlib_looks_up(starter: dict[str, Dataset]) -> None:
    import dask.array as da
    import pandas as pd
    from pvlib.clearsky import lookup_linke_turbidity

    opened = open_dataset(starter["linke-turbidity"])
    values = opened["linke_turbidity"]
    assert isinstance(values.data, da.Array)
    assert values.dims == ("month", "latitude", "longitude")
    assert values.shape == (12, 2160, 4320)
    assert all(n % 135 == 0 for n in values.chunksizes["latitude"])
    assert all(n % 270 == 0 for n in values.chunksizes["longitude"])
    assert opened["latitude"].attrs["units"] == "degrees_north"
    months = pd.date_range("2021-01-15", periods=12, freq="31D")
    for latitude, longitude in PLACES:
        expected = lookup_linke_turbidity(months, latitude, longitude, interp_turbidity=False)
        here = values.sel(latitude=latitude, longitude=longitude, method="nearest").compute()
        np.testing.assert_allclose(here.sel(month=months.month), expected, rtol=1e-6)


def test_altitude_has_the_values_that_pvlib_looks_up(starter: dict[str, Dataset]) -> None:
    import dask.array as da
    from pvlib.location import lookup_altitude

    altitude = open_dataset(starter["altitude"])["altitude"]
    assert isinstance(altitude.data, da.Array)
    assert altitude.attrs["units"] == "m"
    for latitude, longitude in [*PLACES, (27.99, 86.93), (31.5, 35.5)]:
        here = float(altitude.sel(latitude=latitude, longitude=longitude, method="nearest"))
        # pvlib gives 0 where there are no data, mostly at sea; here they are missing.
        assert (0 if np.isnan(here) else here) == pytest.approx(lookup_altitude(latitude, longitude))


def test_opened_data_say_where_they_are_from(starter: dict[str, Dataset]) -> None:
    for dataset in starter.values():
        attrs = open_dataset(dataset).attrs
        assert attrs["genesis_dataset"] == dataset.id
        assert attrs["digest"] == dataset.native_digest
        assert attrs["licence"] == dataset.licence
        assert attrs["citation"] == dataset.citation
        assert attrs["label"] == "public"


@pytest.mark.parametrize(
    ("name", "rows", "column", "expected"),
    [
        ("cec-pv-modules", 21535, "A_c", (1.3, "m**2")),
        ("mauna-loa-co2", 2284, "co2", (316.1, "ppm")),
        ("nino12-sst", 61, "JAN", (23.11, "degC")),
        ("sunspots", 309, "SUNACTIVITY", (5.0, "1")),
    ],
)
def test_tables_are_dask_frames_with_units(
    starter: dict[str, Dataset], name: str, rows: int, column: str, expected: tuple[float, str]
) -> None:
    import dask.dataframe as dd

    table = open_dataset(starter[name])
    assert isinstance(table, dd.DataFrame)
    computed = table.compute()
    assert len(computed) == rows
    first, unit = expected
    assert computed[column].iloc[0] == first
    assert table.attrs["units"][column] == unit
    assert computed.attrs["units"][column] == unit
    assert dict(table.dtypes.astype(str)) == dict(computed.dtypes.astype(str))


def test_units_of_every_column_are_known_to_pint(starter: dict[str, Dataset]) -> None:
    from genesis_workbench.core.units import registry

    units = registry()
    for dataset in starter.values():
        for unit in open_dataset(dataset).attrs.get("units", {}).values():
            units.parse_units(unit) if unit != "1" else None


def test_months_of_co2_are_dates(starter: dict[str, Dataset]) -> None:
    dates = open_dataset(starter["mauna-loa-co2"])["date"].compute()
    assert str(dates.iloc[0].date()) == "1958-03-29"
    assert str(dates.iloc[-1].date()) == "2001-12-29"


def test_a_block_travels_without_its_data_and_without_a_path(starter: dict[str, Dataset]) -> None:
    array = Hdf5Array(starter["altitude"].distributions[0], (2160, 4320))
    sent = pickle.dumps(array)
    assert len(sent) < 3000
    assert b"site-packages" not in sent
    block = pickle.loads(sent)[  # noqa: S301 - it was written three lines above
        (slice(640, 642), slice(880, 884))
    ]
    assert block.shape == (2, 4)


@pytest.mark.parametrize(
    "key",
    [
        (5, 648, 888),
        (slice(None), 648, slice(800, 900, 7)),
        (slice(None, None, -1), slice(10, 2, -3), 0),
        ([11, 0, 3], slice(640, 650), slice(880, 883)),
        (-1, slice(0, 0), slice(0, 5)),
        (np.arange(12) % 2 == 0, slice(0, 2), -1),
    ],
)
def test_any_selection_gives_what_the_whole_array_gives(
    starter: dict[str, Dataset], key: tuple[Any, ...]
) -> None:
    import h5py

    distribution = starter["linke-turbidity"].distributions[0]
    array = Hdf5Array(distribution, (2160, 4320, 12))
    with h5py.File(_base.package_file(distribution.url)) as file:
        whole = file["LinkeTurbidity"][:].transpose(2, 0, 1)
    np.testing.assert_allclose(array[key], whole[key] / 20, rtol=1e-6)


def test_blocks_can_be_chosen(starter: dict[str, Dataset]) -> None:
    opened = open_dataset(starter["altitude"], chunks={"latitude": 216})
    assert set(opened.chunksizes["latitude"]) == {216}
    with pytest.raises(InvalidInput, match="no dimensions"):
        open_dataset(starter["altitude"], chunks={"depth": 1})


def changed(dataset: Dataset, **fields: Any) -> Dataset:
    first = dataset.distributions[0].model_copy(update=fields)
    return dataset.model_copy(update={"distributions": [first]})


@pytest.mark.parametrize("name", ["altitude", "sunspots"])
def test_other_content_than_listed_is_refused(starter: dict[str, Dataset], name: str) -> None:
    with pytest.raises(VerificationFailed, match="not the file"):
        open_dataset(changed(starter[name], checksum="sha256:" + "0" * 64))
    with pytest.raises(VerificationFailed, match="no checksum"):
        open_dataset(changed(starter[name], checksum=None))


@pytest.mark.parametrize(
    "url",
    [
        "package://pvlib/../numpy/__init__.py",
        "package://pvlib//etc/passwd",
        "package://pvlib/data/../../numpy/__init__.py",
        "package://pvlib/",
        "package://../x",
        "package://os.path/x",
        "package://pvlib\\..\\x/y",
        "package://pvlib/..\\x",
        "file:///etc/passwd",
    ],
)
def test_paths_out_of_the_package_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        _base.package_file(url)


def test_a_link_out_of_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "linking_package"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(__file__, tmp_path / "secret")
    (package / "data").symlink_to(tmp_path / "secret")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidInput, match="leads out"):
        _base.package_file("package://linking_package/data")


def test_a_missing_package_answers_with_the_command() -> None:
    with pytest.raises(MissingDependency, match="pip install not_installed"):
        _base.package_file("package://not_installed/x")
    with pytest.raises(NotFound):
        _base.package_file("package://pvlib/data/none.h5")


def test_what_cannot_be_opened_says_where_to_look(starter: dict[str, Dataset]) -> None:
    listed = Dataset(
        id="far.away",
        title="Far away",
        source="far",
        formats=["shapefile"],
        landing_page="https://example.gov/far",
        distributions=[Distribution(format="shapefile", url="https://example.gov/far.shp")],
    )
    with pytest.raises(InvalidInput, match=r"https://example\.gov/far"):
        open_dataset(listed)


def test_a_variable_alone_still_knows_its_dataset_and_label(starter: dict[str, Dataset]) -> None:
    variable = open_dataset(starter["linke-turbidity"]).linke_turbidity
    assert (variable.attrs["genesis_dataset"], variable.attrs["label"]) == ("linke-turbidity", "public")
