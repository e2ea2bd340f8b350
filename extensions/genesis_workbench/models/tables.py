"""Prediction for each row of a table: of pandas at once, of Dask partition by partition.

A table has no units of its own. ``attrs["units"]``, where ``gw.open`` puts them, has the unit of each column that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask.utils import is_dataframe_like

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models import prediction
from genesis_workbench.models.conversion import conversion
from genesis_workbench.models.record import ModelVersion

if TYPE_CHECKING:
    import pandas as pd


def is_table(given: object) -> bool:
    """Whether it is a DataFrame, of pandas or of Dask."""
    return bool(is_dataframe_like(given))


def head(version: ModelVersion, table: Any, constants: Mapping[str, Any]) -> xr.Dataset:
    """Return what a table says of the columns that a model takes, without rows: names, types, units, label.

    Raises
    ------
    InvalidInput
        If none of its columns is an input, one has no numbers or is there twice, or a constant is no single number.
    """
    wrong = [name for name, value in constants.items() if np.ndim(value)]
    if wrong:
        raise InvalidInput(
            f"{', '.join(wrong)} has more than one value: beside a table only single numbers can be given. Make it a column."
        )
    told = _told(table)
    empty = _columns(version, getattr(table, "_meta", table).iloc[:0], told.pop("units"))
    return empty.assign_attrs(told)


def predict(
    version: ModelVersion,
    artifact: bytes,
    table: Any,
    constants: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    flag: bool,
    interval: float | None = None,
) -> Any:
    """Run a verified model over each row; lazy where the table is.

    Names, types and units are checked now, on the table without its rows. To the workers goes the artifact once, not with each
    partition, and each loads it once.

    Parameters
    ----------
    constants : mapping
        A number, in the unit of the signature, for each input that is the same in all rows.
    """
    prediction.check_single(version)
    units = _told(table)["units"]
    linear = {spec.name: conversion(units.get(spec.name), spec) for spec in version.signature.inputs}
    margins = {} if interval is None else prediction.margins(version, interval)
    rows = Rows(version, dict(constants), linear, margins, dict(attributes), flag)
    if not hasattr(table, "map_partitions"):
        return rows(table, artifact)
    empty = rows(table._meta, artifact)
    answer = table.map_partitions(rows, prediction.carried(version, artifact), meta=empty)
    # Dask's DataFrame has none of its own; what is computed gets them from the partition.
    answer.attrs = empty.attrs
    return answer


@dataclass(frozen=True, repr=False)
class Rows:
    """What goes to Dask's workers: everything but the artifact. Gives the answers of one partition, with its index.

    Attributes
    ----------
    linear : dict
        By what a column is multiplied, and what is added, so that it is in the unit of the signature.
    margins : dict
        Half width of the interval of each output; empty where none is asked for.
    """

    version: ModelVersion
    constants: dict[str, Any]
    linear: dict[str, tuple[float, float]]
    margins: dict[str, float]
    attributes: dict[str, Any]
    flag: bool

    def __call__(self, table: pd.DataFrame, artifact: bytes) -> pd.DataFrame:
        """Predict for one partition."""
        import pandas as pd

        values = [self._values(table, spec.name) for spec in self.version.signature.inputs]
        answer = prediction.Evaluation(self.version)(artifact, *values)
        answers = answer if isinstance(answer, tuple) else (answer,)
        found: dict[str, np.ndarray] = {}
        units: dict[str, str] = {}
        for spec, numbers in zip(self.version.signature.outputs, answers, strict=True):
            columns = {spec.name: numbers}
            if self.margins:
                half = self.margins[spec.name]
                columns |= {f"{spec.name}_lower": numbers - half, f"{spec.name}_upper": numbers + half}
            found |= columns
            units |= dict.fromkeys(columns, spec.unit) if spec.unit else {}
        if self.flag:
            found["outside_domain"] = prediction.Outside(self.version)(*values)
        frame = pd.DataFrame(found, index=table.index, copy=False)
        frame.attrs.update(self.attributes, units=units)
        return frame

    def _values(self, table: pd.DataFrame, name: str) -> np.ndarray:
        if name in self.constants:
            return np.asarray(self.constants[name])
        values, (scale, zero) = _numbers(table, name), self.linear[name]
        return values if (scale, zero) == (1.0, 0.0) else values * scale + zero

    def __repr__(self) -> str:
        return "predict"  # dask names its tasks so, and takes no '-' in it

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        told = (self.constants, self.linear, self.margins, self.attributes, self.flag)
        return ("genesis-model-rows", self.version.model_dump_json(), repr(told))


def _told(table: Any) -> dict[str, Any]:
    """Return what a table says of itself. Dask's own attributes are lost where columns are chosen, its empty table's are not."""
    empty, own = getattr(getattr(table, "_meta", None), "attrs", {}), getattr(table, "attrs", {})
    units = {**(empty.get("units") or {}), **(own.get("units") or {})}
    return {**empty, **own, "units": {str(name): str(unit) for name, unit in units.items()}}


def _columns(version: ModelVersion, table: pd.DataFrame, units: Mapping[str, str]) -> xr.Dataset:
    names = [spec.name for spec in version.signature.inputs]
    found = {}
    for name in (name for name in names if name in table.columns):
        told = {"units": units[name]} if name in units else {}
        found[name] = xr.DataArray(_numbers(table, name), dims="row", attrs=told)
    if not found:
        raise InvalidInput(
            f"The table has none of the columns {', '.join(names)}; it has {', '.join(map(str, table.columns))[:300]}. "
            "Rename some."
        )
    return xr.Dataset(found)


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    from pandas.api.types import is_numeric_dtype

    column = table[name]
    if column.ndim != 1:
        raise InvalidInput(f"The table has the column {name!r} more than once. Rename the others.")
    if not is_numeric_dtype(column.dtype):
        raise InvalidInput(f"The column {name!r} has the type {column.dtype}: numbers are needed.")
    if isinstance(column.dtype, np.dtype):
        return column.to_numpy()
    return column.to_numpy(dtype="float64", na_value=np.nan)  # pandas' own types, which may lack a value
