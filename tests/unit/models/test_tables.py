"""predict on tables: pandas and Dask, columns, units, labels, indexes, and what goes to workers."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.model import Model


@pytest.fixture
def model(register, tiny):
    return Model(register(), tiny)


@pytest.fixture
def table():
    return pd.DataFrame(
        {"a": [1.0, 2, np.nan, 11], "b": [0, 1, 2, 3], "name": list("wxyz")}, index=[3, 5, 7, 9]
    )


def test_a_table_gives_a_table_with_its_index(model, table):
    answer = model(table, flag=True)
    assert list(answer.columns) == ["y", "outside_domain"]
    assert list(answer.index) == [3, 5, 7, 9]
    np.testing.assert_array_equal(answer.y, [2, 5, np.nan, 25])
    assert list(answer.outside_domain) == [False, False, False, True]
    assert answer.y.dtype == np.float32
    assert (answer.attrs["units"], answer.attrs["genesis_model"]) == ({"y": "m"}, "tiny@1")
    np.testing.assert_array_equal(model(table[["a"]], b=10).y, [12, 14, np.nan, 32])
    far = xr.DataArray(0.01, attrs={"units": "km"})
    np.testing.assert_array_equal(model(table[["a"]], b=far).y, [12, 14, np.nan, 32])


def test_a_dask_table_stays_lazy_with_its_divisions(model, table):
    read = []

    def part(start):
        read.append(start)
        return table.loc[start:].iloc[:2]

    lazy = dd.from_map(part, [3, 7], meta=table.iloc[:0], divisions=(3, 7, 9))
    answer = model(lazy, flag=True)
    assert read == []
    assert answer.divisions == (3, 7, 9)
    assert dict(answer.dtypes) == {"y": np.float32, "outside_domain": np.bool_}
    assert answer.attrs["units"] == {"y": "m"}
    done = answer.compute(scheduler="synchronous")
    pd.testing.assert_frame_equal(done, model(table, flag=True))
    assert done.attrs == answer.attrs
    chosen = answer[answer.outside_domain].compute(scheduler="synchronous")
    assert list(chosen.index) == [9]


def test_units_of_columns_are_converted_and_labels_inherited(model, table):
    table.attrs = {"units": {"a": "km"}, "label": "controlled", "genesis_dataset": "rooms"}
    for given in (table, dd.from_pandas(table, npartitions=2)):
        answer = model(given)
        assert (answer.attrs["label"], answer.attrs["genesis_datasets"]) == ("controlled", "rooms")
        assert list(answer.y)[:2] == [2000, 4001]
    # What is chosen from a table of Dask keeps what it says of itself.
    some = dd.from_pandas(table, npartitions=2)[["a", "b"]]
    assert model(some).attrs["label"] == "controlled"
    lazy = dd.from_map(lambda _: table, [0], meta=table.iloc[:0])
    lazy.attrs = {"units": {"a": "kg"}}
    with pytest.raises(InvalidInput, match="cannot be converted"):
        model(lazy)


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "int64[pyarrow]", "float16", "bool"])
def test_numbers_of_every_kind_are_taken(model, dtype):
    table = pd.DataFrame({"a": pd.array([1, 0], dtype=dtype), "b": [1, 1]})
    np.testing.assert_array_equal(model(table).y, [3, 1])
    if dtype in ("Int64", "int64[pyarrow]"):
        np.testing.assert_array_equal(model(table.assign(a=pd.array([1, None], dtype=dtype))).y, [3, np.nan])


def test_what_cannot_be_used_is_said_before_anything_is_read(model, table):
    def never(_):
        raise AssertionError("read")

    def lazy(**columns):
        return dd.from_map(never, [0], meta=table.assign(**columns).iloc[:0])

    twice = pd.concat([table, table[["a"]]], axis=1)
    for call, reason in [
        (lambda: model(lazy().drop(columns=["a", "b"])), "none of the columns a, b; it has name"),
        (lambda: model(lazy()[["a"]]), "needs b too"),
        (lambda: model(lazy(a="x")), "numbers are needed"),
        (lambda: model(lazy(a=pd.Timestamp(0))), "numbers are needed"),
        (lambda: model(lazy(), c=1), "no input c"),
        (lambda: model(lazy(), b=[1, 2]), "only single numbers"),
        (lambda: model(lazy(), interval=0.9), "has no intervals"),
        (lambda: model(twice), "more than once"),
    ]:
        with pytest.raises(InvalidInput, match=reason):
            call()


def test_intervals_stand_beside_each_output(zoo, tiny, parts):
    from genesis_workbench.models.intervals import Intervals

    fitted = Intervals.fit({"y": np.arange(20.0)}, {"y": np.zeros(20)})
    version = zoo.register("tiny", "onnx", tiny, **parts(), actor="ada", intervals=fitted)
    answer = Model(version, tiny)(pd.DataFrame({"a": [1.0], "b": [0.0]}), interval=0.5)
    assert list(answer.columns) == ["y", "y_lower", "y_upper"]
    assert (answer.y_upper - answer.y)[0] == fitted.margin("y", 0.5)
    assert set(answer.attrs["units"].values()) == {"m"}


def test_an_empty_table_gives_an_empty_one(model, table):
    answer = model(table.iloc[:0], flag=True)
    assert (len(answer), list(answer.columns)) == (0, ["y", "outside_domain"])


@pytest.mark.slow
def test_each_worker_of_a_cluster_loads_the_model_once(model, table, tmp_path):
    from distributed import Client, LocalCluster

    log = tmp_path / "loads"

    def watch():
        import os

        from genesis_workbench.models.formats.onnx import OnnxFormat

        load = OnnxFormat.load

        def counted(*given):
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            return load(*given)

        OnnxFormat.load = counted

    many = pd.DataFrame({"a": np.arange(400.0), "b": 1.0})
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(watch)
        answer = model(dd.from_pandas(many, npartitions=20), flag=True)
        np.testing.assert_array_equal(answer.y.compute(), 2 * many.a + 1)
        import dask.array as da

        field = model(a=da.arange(400, chunks=20), b=1.0).compute()
        np.testing.assert_array_equal(field, 2 * many.a + 1)
        workers = len(client.scheduler_info()["workers"])
    loads = log.read_text().split()
    assert workers == 2
    assert 1 <= len(loads) == len(set(loads)) <= 2
