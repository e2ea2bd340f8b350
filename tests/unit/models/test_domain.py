"""Outside the domain and how far off: fitted at registration, told by predictions, lazily too."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from genesis_workbench import models
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.record import ModelVersion

from .conftest import PEOPLE


@pytest.fixture
def here(zoo, monkeypatch):
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: PEOPLE["ada"])
    return zoo


def training(rows=400, seed=0):
    """Two inputs that go together: b is about twice a."""
    random = np.random.default_rng(seed)
    a = random.uniform(0, 10, rows)
    return {"a": a, "b": 2 * a + random.normal(0, 0.5, rows)}


def test_an_unusual_combination_of_usual_values_is_outside():
    domain = Domain.fit(training())
    assert domain.outside({"a": [5.0, 5.0, 30.0], "b": [10.0, 1.0, 60.0]}).tolist() == [False, True, True]
    fresh = training(2000, seed=1)
    assert domain.outside(fresh).mean() < 0.03


def test_rows_that_are_not_finite_are_left_out_and_not_flagged():
    rows = training()
    rows["a"][:50] = np.nan
    domain = Domain.fit(rows)
    assert domain.rows == 350
    assert domain.outside({"a": [np.nan, 5.0], "b": [1.0, 10.0]}).tolist() == [False, False]


def test_a_column_that_never_changed_flags_what_is_new_in_it():
    domain = Domain.fit({"a": np.full(100, 3.0), "b": np.random.default_rng(0).normal(size=100)})
    assert domain.outside({"a": [3.0, 4.0], "b": [0.0, 0.0]}).tolist() == [False, True]


def test_inputs_of_several_numbers_are_columns_of_their_own():
    random = np.random.default_rng(0)
    domain = Domain.fit({"field": random.normal(size=(300, 2, 3)), "depth": random.normal(size=300)})
    assert domain.widths == (6, 1)
    assert domain.distance({"field": np.zeros((4, 2, 3)), "depth": np.zeros(4)}).shape == (4,)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"a": np.zeros(10)}, "at least 20 complete training rows, not 10"),
        ({"a": np.zeros((500, 129))}, "at most 128"),
        ({"a": np.zeros(30), "b": np.zeros(31)}, "same number of samples"),
        ({"a": np.full(30, np.nan)}, "not 0"),
    ],
)
def test_what_no_domain_can_be_fitted_to_is_refused(inputs, reason):
    with pytest.raises(InvalidInput, match=reason):
        Domain.fit(inputs)


@pytest.mark.parametrize(
    "change",
    [
        {"widths": (3,)},
        {"limit": float("inf")},
        {"limit": 0},
        {"centre": (float("nan"), 0.0)},
        {"whitening": ((1.0,), (0.0, 1.0))},
        {"method": "pickle"},
    ],
)
def test_a_domain_that_was_made_up_is_refused(change):
    good = Domain.fit(training()).model_dump()
    assert Domain.model_validate(good)
    with pytest.raises(ValidationError):
        Domain.model_validate({**good, **change})


def test_a_prediction_is_flagged_by_ranges_and_by_the_domain_also_lazily(here, tiny, parts):
    version = models.register("tiny", "onnx", tiny, **parts(), training_inputs=training())
    assert version.domain.rows == 400
    assert ModelVersion.model_validate_json(version.model_dump_json()) == version
    model = models.model("tiny")
    a = xr.DataArray([5.0, 5.0, 11.0, np.nan], dims="x")
    b = xr.DataArray([10.0, 1.0, 22.0, 10.0], dims="x")
    wanted = [False, True, True, False]  # a is above 10 in the third
    found = model(a=a, b=b, flag=True)
    assert found.outside_domain.values.tolist() == wanted
    lazy = model(a=a.chunk(x=2), b=b.chunk(x=2), flag=True)
    assert lazy.outside_domain.chunks == ((2, 2),)
    assert lazy.outside_domain.compute().values.tolist() == wanted
    grid = model(
        a=xr.DataArray([1.0, 9.0], dims="i"), b=xr.DataArray([2.0, 18.0], dims="j").chunk(j=1), flag=True
    )
    assert grid.outside_domain.compute().transpose("i", "j").values.tolist() == [[False, True], [True, False]]
    assert model.outside({"a": np.array([5.0]), "b": np.array([1.0])}).tolist() == [True]


def test_training_inputs_in_other_units_are_converted(here, tiny, parts):
    rows = training()
    given = xr.Dataset({"a": ("x", rows["a"] * 100, {"units": "cm"}), "b": ("x", rows["b"], {"units": "m"})})
    version = models.register("tiny", "onnx", tiny, **parts(), training_inputs=given)
    assert version.domain.centre[0] == pytest.approx(rows["a"].mean())
    import pandas as pd

    same = models.register("frame", "onnx", tiny, **parts(), training_inputs=pd.DataFrame(rows))
    assert same.domain.centre == pytest.approx(version.domain.centre)


def test_a_domain_about_other_inputs_is_refused(zoo, tiny, parts):
    domain = Domain.fit({"b": training()["b"], "a": training()["a"]})
    with pytest.raises(InvalidInput, match="about b, a; the model takes a, b"):
        zoo.register("tiny", "onnx", tiny, **parts(), actor="ada", domain=domain)


def test_without_a_domain_only_ranges_count_and_run_says_so(here, tiny, parts):
    models.register("tiny", "onnx", tiny, **parts())
    model = models.model("tiny")
    assert not bool(model(a=5.0, b=1.0, flag=True).outside_domain)
    with pytest.raises(NotFound, match="No domain was fitted"):
        model.outside({"a": np.array([5.0]), "b": np.array([1.0])})


def measured(inputs, seed):
    return {"y": 2 * inputs["a"] + inputs["b"] + np.random.default_rng(seed).normal(0, 0.3, len(inputs["a"]))}


def test_intervals_hold_the_true_value_as_often_as_they_say(here, tiny, parts):
    inputs = training(500, seed=2)
    models.register("tiny", "onnx", tiny, **parts(), held_out=(inputs, measured(inputs, 3)))
    model = models.model("tiny")
    fresh = training(4000, seed=4)
    true = measured(fresh, 5)["y"]
    for level in (0.5, 0.9, 0.99):
        found = model(
            **{name: xr.DataArray(values, dims="x") for name, values in fresh.items()}, interval=level
        )
        inside = ((found.y_lower <= true) & (true <= found.y_upper)).mean()
        assert float(inside) == pytest.approx(level, abs=0.03)
    assert found.y_upper.attrs["units"] == "m"
    assert "0.99" in found.y_upper.attrs["long_name"]
    both = model(a=xr.DataArray([1.0, 2.0], dims="x").chunk(x=1), b=2.0, interval=0.9, flag=True)
    assert set(both.data_vars) == {"y", "y_lower", "y_upper", "outside_domain"}
    assert both.y_lower.chunks == ((1, 1),)


def test_intervals_cover_on_average_over_many_small_calibrations():
    """The guarantee is about the average, for ten held-out rows as for a thousand."""
    random = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        residuals = np.abs(random.standard_t(3, 11))
        fitted = Intervals.fit({"y": residuals[:10]}, {"y": np.zeros(10)})
        covered.append(residuals[10] <= fitted.margin("y", 0.8))
    assert np.mean(covered) == pytest.approx(9 / 11, abs=0.03)  # ceil(11 x 0.8) = 9


def test_a_level_that_the_data_cannot_carry_is_refused(here, tiny, parts):
    inputs = {name: values[:19] for name, values in training().items()}
    models.register("tiny", "onnx", tiny, **parts(), held_out=(inputs, measured(inputs, 3)))
    model = models.model("tiny")
    assert float(model(a=1, b=1, interval=0.95).y_upper) > 3
    with pytest.raises(InvalidInput, match=r"up to 0\.9500, not 0\.96"):
        model(a=1, b=1, interval=0.96)
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        model(a=1, b=1, interval=90)
    models.register("bare", "onnx", tiny, **parts())
    with pytest.raises(InvalidInput, match="no intervals"):
        models.model("bare")(a=1, b=1, interval=0.9)


@pytest.mark.parametrize("residuals", [(1.0,) * 9, (-1.0,) * 10, (2.0, 1.0) * 10, (float("inf"),) * 10])
def test_residuals_that_were_made_up_are_refused(residuals):
    with pytest.raises(ValidationError):
        Intervals(residuals={"y": residuals}, rows=20)


def test_held_out_data_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="at least 10"):
        Intervals.fit({"y": np.zeros(5)}, {"y": np.zeros(5)})
    with pytest.raises(InvalidInput, match="no values of y"):
        Intervals.fit({"y": np.zeros(50)}, {})
    with pytest.raises(InvalidInput, match="one number of y"):
        Intervals.fit({"y": np.zeros(50)}, {"y": np.zeros(49)})


def test_domain_and_intervals_go_through_the_service(served, tiny, parts, monkeypatch):
    from genesis_workbench.core.access import Person
    from genesis_workbench.models.remote import RemoteZoo

    remote = RemoteZoo(served("ada"))
    monkeypatch.setattr(models, "_zoo", lambda: remote)
    monkeypatch.setattr(models, "_person", lambda: Person(""))
    inputs = training()
    version = models.register(
        "tiny", "onnx", tiny, **parts(), training_inputs=inputs, held_out=(inputs, measured(inputs, 3))
    )
    assert (version.domain.rows, version.intervals.rows) == (400, 400)
    found = models.model("tiny")(a=5.0, b=1.0, flag=True, interval=0.9)
    assert bool(found.outside_domain)
    assert float(found.y_lower) < 11 < float(found.y_upper)
