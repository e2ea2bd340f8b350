"""The models that come with the workbench do what their cards say, and loading the room is light."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pvlib
import pytest
import xarray as xr

from genesis_workbench import models
from genesis_workbench.core.service import service

POINTS = [  # latitude, month, turbidity, altitude
    (0.0, 3, 3.0, 0.0), (35.2, 6, 2.7, 1600.0), (-33.9, 12, 3.3, 40.0), (52.5, 1, 2.9, 50.0), (19.5, 4, 2.2, 4200.0),
    (-54.8, 6, 2.4, 30.0), (64.1, 7, 2.6, 60.0), (28.6, 5, 6.5, 220.0), (-15.8, 9, 3.1, 1170.0), (40.0, 10, 4.4, 800.0),
]  # fmt: skip


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Use the public calls outside a hub, with a state folder of their own."""
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    monkeypatch.delenv("GENESIS_SERVICE_URL", raising=False)
    service.cache_clear()
    models._zoo.cache_clear()
    yield models
    models._zoo().ledger.close()
    models._zoo.cache_clear()
    service.cache_clear()


def pvlib_daily(latitude, month, turbidity, altitude_m):
    place = pvlib.location.Location(latitude, 0, "UTC", altitude_m)
    times = pd.date_range(f"2025-{month:02d}-15 00:05", periods=144, freq="10min", tz="UTC")
    return place.get_clearsky(times, linke_turbidity=turbidity)["ghi"].sum() / 6 / 1000


def test_the_clear_sky_surrogate_agrees_with_pvlib(room):
    model = room.model("clear-sky-irradiation@1")
    error = {metric.name: metric for metric in model.card.metrics}
    assert error["RMSE"].value < 0.05
    assert error["RMSE"].unit == "kW*h/m**2/day"
    latitude, month, turbidity, altitude_m = map(np.array, zip(*POINTS, strict=True))
    answer = model(latitude_deg=latitude, month=month, linke_turbidity=turbidity, altitude_m=altitude_m)
    expected = [pvlib_daily(*point) for point in POINTS]
    np.testing.assert_allclose(answer, expected, atol=error["largest absolute error"].value, rtol=0)


def test_its_card_says_what_it_is(room):
    (found,) = room.search("clear sky pvlib")
    card = room.get("clear-sky-irradiation").card
    assert found.card == card
    assert "pvlib" in card.surrogate_of
    assert "no measurements" in card.trained_on
    assert card.licence == "BSD-3-Clause"
    assert "Solar Energy 73(3)" in card.citation
    assert found.lineage["simulated"] is True
    assert found.size_bytes < 500_000
    assert room.search("no-such-model") == []


def test_it_is_made_by_the_script_beside_it():
    import hashlib
    import json
    from importlib.resources import files

    folder = files("genesis_workbench.models") / "builtin" / "clear_sky_irradiation"
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((folder / "train.py").read_bytes()).hexdigest()
    assert record["lineage"]["code_digest"] == f"sha256:{digest}", "train.py has changed: run it again"


def test_a_lazy_map_with_the_attributes_that_catalogs_give(room):
    import dask.array as da

    model = room.model("clear-sky-irradiation")
    turbidity = xr.DataArray(
        da.full((12, 4, 6), 3.0, chunks=(12, 2, 3)),
        dims=("month", "latitude", "longitude"),
        coords={
            "month": ("month", np.arange(1, 13), {"units": "1"}),
            "latitude": ("latitude", np.array([-75.0, -20, 20, 60]), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(6.0), {"units": "degrees_east"}),
        },
        attrs={"units": "1", "label": "public"},
    )
    y = model(latitude_deg=turbidity.latitude, month=turbidity.month, linke_turbidity=turbidity,
              altitude_m=xr.DataArray(0.1, attrs={"units": "km"}), flag=True)  # fmt: skip
    assert y.clear_sky_irradiation.chunks is not None
    assert y.clear_sky_irradiation.sizes == turbidity.sizes
    assert y.clear_sky_irradiation.attrs["surrogate_of"]
    done = y.compute()
    assert float(done.clear_sky_irradiation.min()) >= 0
    assert bool(done.outside_domain.sel(latitude=-75.0).all())
    assert not bool(done.outside_domain.sel(latitude=20.0).any())
    june, december = done.clear_sky_irradiation.sel(latitude=60.0, longitude=0).sel(month=[6, 12])
    assert june > december


def test_importing_the_room_is_light():
    heavy = [
        "numpy",
        "xarray",
        "dask",
        "onnx",
        "onnxruntime",
        "pandas",
        "pint",
        "sqlalchemy",
        "pvlib",
        "sklearn",
    ]
    code = f"import sys, genesis_workbench.models as m; m.Model, m.ModelCard; print(*sorted(set(sys.modules) & set({heavy!r})))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_the_function_is_not_hidden_by_the_file_of_the_same_name():
    code = (
        "import genesis_workbench.models as m; from genesis_workbench.models.zoo import LocalZoo; "
        "from genesis_workbench.models.model import Model; import genesis_workbench.models.prediction; "
        "assert callable(m.model) and m.Model is Model"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
