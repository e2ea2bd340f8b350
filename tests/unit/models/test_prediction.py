"""predict: numbers, arrays, dask, units, labels, missing values and the domain."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models import verification
from genesis_workbench.models.formats.onnx import OnnxFormat
from genesis_workbench.models.model import Model
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec


@pytest.fixture
def model(register, tiny):
    return Model(register(), tiny)


def test_numbers_and_plain_arrays(model):
    one = model.predict(a=1, b=0.5)
    assert (one.name, one.shape, float(one)) == ("y", (), 2.5)
    column, row = np.arange(3.0)[:, None], np.arange(4)
    both = model(a=column, b=row)
    assert both.dtype == np.float32
    np.testing.assert_allclose(both, 2 * column + row)
    np.testing.assert_allclose(model({"a": [1, 2], "b": 1}), [3, 5])
    assert model(a=np.empty((0, 3)), b=1).shape == (0, 3)


def test_names_of_dimensions_decide_how_inputs_meet(model):
    a = xr.DataArray([0.0, 1, 2], dims="x", coords={"x": [10, 20, 30]})
    b = xr.DataArray([0, 1], dims="t")
    y = model(a=a, b=b)
    assert y.dims == ("x", "t")
    assert y.sel(x=30, t=1) == 5
    xr.testing.assert_allclose(y, model(xr.Dataset({"a": a, "b": b, "other": ("z", [1])})))
    assert float(model(xr.Dataset({"a": a, "b": b}), b=7.0)[0]) == 7


def test_the_result_says_where_it_is_from(model):
    y = model(xr.Dataset({"a": ("x", [1.0]), "b": ("x", [1.0])}, attrs={"genesis_dataset": "one"}))
    assert y.attrs == {
        "units": "m",
        "genesis_model": "tiny@1",
        "genesis_model_digest": model.version.artifact,
        "label": "public",
        "genesis_datasets": "one",
        "long_name": "Their sum, the first counted twice",
    }
    assert "tiny@1" in model.cite()
    assert model.version.artifact in model.cite()
    assert repr(model) == "<Model tiny@1: predict(a [0 to 10 m], b [m]) -> y [m]>"


def test_the_strictest_label_is_inherited(model, register, tiny):
    closed = xr.DataArray([1.0], dims="x", attrs={"label": "controlled"})
    assert model(a=closed, b=1).attrs["label"] == "controlled"
    assert (
        model(xr.Dataset({"a": 1.0, "b": 1.0}, attrs={"label": "restricted"})).attrs["label"] == "restricted"
    )
    strict = Model(register("strict", label="export-controlled", groups=["g"]), tiny)
    assert strict(a=closed, b=1, flag=True).attrs["label"] == "export-controlled"
    with pytest.raises(InvalidInput, match="access label"):
        model(a=closed.assign_attrs(label="whatever"), b=1)


def test_arrays_on_dask_stay_there_until_they_are_computed(model):
    import dask
    import dask.array as da

    read = []

    def block(block_id):
        read.append(block_id)
        return np.full((2, 5), sum(block_id), dtype=float)

    a = xr.DataArray(da.map_blocks(block, chunks=((2, 2), (5, 5)), dtype=float, meta=np.empty((0, 0))), dims=("t", "x"),
                     attrs={"units": "km"})  # fmt: skip
    with dask.config.set(scheduler="synchronous"):
        y = model.predict(a=a, b=xr.DataArray(np.arange(4), dims="t"), flag=True)
        assert read == []
        assert y.y.chunks == ((2, 2), (5, 5))
        assert y.outside_domain.chunks == ((2, 2), (5, 5))
        assert y.y.dtype == np.float32
        done = y.compute()
    assert read
    assert float(done.y[3, 9]) == 2 * 2000 + 3
    assert bool(done.outside_domain[3, 9])
    assert not bool(done.outside_domain[0, 0])


def test_what_goes_to_workers_is_small_and_loads_the_model_once_there(model, monkeypatch):
    import dask.array as da

    y = model(a=da.ones(40, chunks=10), b=1)
    graph = y.__dask_graph__()
    assert len(pickle.dumps(graph)) < 20_000
    again = model(a=da.ones(40, chunks=10), b=1)
    assert y.data.name == again.data.name
    monkeypatch.setattr(verification, "_sessions", type(verification._sessions)())
    loads = []
    load = OnnxFormat.load
    monkeypatch.setattr(OnnxFormat, "load", lambda *a: loads.append(1) or load(*a))
    clone = pickle.loads(pickle.dumps(y))  # noqa: S301 - our own, as dask sends it
    np.testing.assert_array_equal(clone.compute(), 3)
    assert loads == [1]


def test_units_are_converted_where_they_differ(model):
    a = xr.DataArray([1.0, 2.0], dims="x", attrs={"units": "km"})
    np.testing.assert_allclose(model(a=a, b=0), [2000, 4000])
    assert a.attrs == {"units": "km"}
    flagged = model(a=xr.DataArray(2.0, attrs={"units": "cm"}), b=0, flag=True)
    assert not bool(flagged.outside_domain)
    for unit in ("kg", "degree", "1", "", "wibble", "m**2", "m; import os"):
        with pytest.raises(InvalidInput):
            model(a=a.assign_attrs(units=unit), b=0)


def test_offsets_cf_names_and_angles():
    from genesis_workbench.models.conversion import in_unit

    def converted(value, unit, to):
        return float(in_unit(xr.DataArray(value, attrs={"units": unit}), TensorSpec(name="t", unit=to)))

    assert converted(20.0, "degC", "kelvin") == pytest.approx(293.15)
    assert converted(45.0, "degrees_north", "degree") == 45
    assert converted(np.pi, "radian", "degree") == pytest.approx(180)
    assert converted(50.0, "percent", "") == pytest.approx(0.5)
    assert converted(3, "1", "") == 3
    # As CF and UDUNITS write them.
    assert converted(2.0, "kW m-2", "W/m**2") == pytest.approx(2000)
    assert converted(36.0, "km h-1", "m/s") == pytest.approx(10)
    assert converted(1.0, "m3 m-3", "") == 1
    assert converted(5.0, "kg m-2 s-1", "kg/m**2/s") == 5
    for unit, to in [("1", "degree"), ("degrees_east", ""), ("degC", "m")]:
        with pytest.raises(InvalidInput):
            converted(1.0, unit, to)


def test_what_is_not_finite_gives_nan_and_does_not_spoil_the_rest(model):
    y = model(a=np.array([1, np.nan, np.inf, 2]), b=np.array([0, 0, 0, np.nan]))
    np.testing.assert_array_equal(y, [2, np.nan, np.nan, np.nan])


def test_values_outside_the_domain_are_flagged(model):
    flagged = model(a=np.array([-1, 0, 5, 10, 10.5, np.nan]), b=1e9, flag=True)
    np.testing.assert_array_equal(flagged.outside_domain, [True, False, False, False, True, False])
    assert flagged.outside_domain.dtype == bool
    assert set(flagged.data_vars) == {"y", "outside_domain"}


def test_wrong_inputs_are_refused_with_what_would_do(model):
    named = xr.DataArray([1.0], dims="x", coords={"x": [0]})
    for call, reason in [
        (lambda: model(a=1), "needs b too"),
        (lambda: model(a=1, b=2, c=3), "no input c"),
        (lambda: model(5), "cannot be read by name"),
        (lambda: model(a=[1, 2], b=[1, 2, 3]), "do not fit together"),
        (lambda: model(a=named, b=[1, 2]), "no named dimensions"),
        (lambda: model(a=named, b=named.assign_coords(x=[1])), "same coordinates"),
        (lambda: model(a="one", b=2), "numbers are needed"),
        (lambda: model(a=np.array(["2020-01-01"], dtype="datetime64[s]"), b=2), "numbers are needed"),
        (lambda: model(a=xr.Dataset({"q": 1}), b=2), "is a Dataset"),
        (lambda: model.run({"a": np.ones(2)}), "cannot take these inputs"),
    ]:
        with pytest.raises(InvalidInput, match=reason):
            call()


def test_blocks_larger_than_one_batch_are_whole(model):
    a = np.arange(150_001, dtype=float)
    np.testing.assert_allclose(model(a=a, b=1), 2 * a + 1, rtol=1e-6)


def test_columns_whole_numbers_and_several_outputs(zoo):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Add", ["n", "n"], ["twice"]),
            helper.make_node("Cast", ["n"], ["same"], to=TensorProto.DOUBLE),
        ],
        "whole",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [None, 1])],
        [
            helper.make_tensor_value_info("twice", TensorProto.INT64, [None, 1]),
            helper.make_tensor_value_info("same", TensorProto.DOUBLE, [None, 1]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    data = made.SerializeToString()
    version = zoo.register(
        "whole", "onnx", data,
        Signature(inputs=[TensorSpec(name="n", dtype="int64", shape=(None, 1))],
                  outputs=[TensorSpec(name="twice", dtype="int64", shape=(None, 1)),
                           TensorSpec(name="same", dtype="float64", shape=(None, 1))]),
        ModelCard(title="Whole", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
        SelfTest(inputs={"n": [[1], [2]]}, outputs={"twice": [[2], [4]], "same": [[1], [2]]}),
        actor="ada",
    )  # fmt: skip
    model = Model(version, data)
    both = model(n=np.array([[1.0, np.nan], [3, 4]]))
    np.testing.assert_array_equal(both.twice, [[2, np.nan], [6, 8]])
    np.testing.assert_array_equal(both.same, [[1, np.nan], [3, 4]])
    import dask.array as da

    lazy = model(n=da.arange(6, chunks=2), flag=True)
    assert lazy.twice.chunks == ((2, 2, 2),)
    np.testing.assert_array_equal(lazy.twice, np.arange(6) * 2)
    with pytest.raises(InvalidInput, match="whole numbers"):
        model(n=1.5)
    wide = version.model_copy(
        update={
            "signature": Signature(
                inputs=[TensorSpec(name="n", dtype="int64", shape=(None, 3))],
                outputs=version.signature.outputs,
            )
        }
    )
    loaded = Model(version, data)
    loaded.version = wide
    with pytest.raises(InvalidInput, match=r"Use model\.run"):
        loaded(n=1)
