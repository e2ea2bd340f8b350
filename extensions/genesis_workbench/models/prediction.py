"""From what people hold to what a model takes, and back: broadcasting, blocks, labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from genesis_workbench.core.access import Label
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.conversion import in_unit
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.verification import loaded

if TYPE_CHECKING:
    from genesis_workbench.models.formats._base import Loaded

_ROWS = 16_384
"""Samples that go through a model at once, so that its inner arrays stay in the processor's cache whatever the size of a
block."""


def gather(
    signature: Signature, dataset: xr.Dataset | Mapping[str, Any] | None, inputs: Mapping[str, Any]
) -> tuple[dict[str, xr.DataArray], list[Label], list[str]]:
    """Return the inputs in the units of the signature, the access labels they bring, and the datasets they are from."""
    names = [spec.name for spec in signature.inputs]
    unknown = sorted(set(inputs) - set(names))
    if unknown:
        raise InvalidInput(f"The model has no input {', '.join(unknown)}. It takes: {', '.join(names)}.")
    given: dict[str, Any] = {}
    attributes: list[Mapping[Any, Any]] = []
    if dataset is not None:
        if not isinstance(dataset, xr.Dataset | Mapping):
            raise InvalidInput(
                f"A {type(dataset).__name__} cannot be read by name. Give a Dataset, or each input by its name."
            )
        given = {name: dataset[name] for name in names if name in dataset}
        if isinstance(dataset, xr.Dataset):
            attributes.append(dataset.attrs)
    given.update(inputs)
    missing = [name for name in names if name not in given]
    if missing:
        raise InvalidInput(f"The model needs {', '.join(missing)} too. It takes: {', '.join(names)}.")
    arrays = _arrays(given)
    attributes += [array.attrs for array in arrays.values()]
    labels = [Label.parse(str(each["label"])) for each in attributes if each.get("label")]
    sources = sorted({str(each["genesis_dataset"]) for each in attributes if each.get("genesis_dataset")})
    converted = {spec.name: in_unit(arrays[spec.name], spec) for spec in signature.inputs}
    return converted, labels, sources


def predict(
    version: ModelVersion,
    artifact: bytes,
    values: Mapping[str, xr.DataArray],
    attributes: Mapping[str, Any],
    *,
    flag: bool,
    interval: float | None = None,
) -> xr.DataArray | xr.Dataset:
    """Run a verified model over inputs that :func:`gather` made ready."""
    check_single(version)
    outputs = version.signature.outputs
    evaluation = Evaluation(version)
    arrays = [values[spec.name] for spec in version.signature.inputs]
    lazy = any(array.chunks is not None for array in arrays)
    try:
        answer = xr.apply_ufunc(
            evaluation if lazy else partial(evaluation, artifact),
            *([_once(version, artifact)] if lazy else []),
            *arrays,
            dask="parallelized",
            output_core_dims=[()] * len(outputs),
            output_dtypes=list(evaluation.dtypes),
            keep_attrs=False,
        )
    except xr.AlignmentError as error:
        raise InvalidInput(
            f"The inputs are not on the same coordinates, so nothing says which values belong together: {error}. "
            "Use xarray's interp_like or reindex_like first."
        ) from error
    results = answer if isinstance(answer, tuple) else (answer,)
    for spec, result in zip(outputs, results, strict=True):
        result.name = spec.name
        result.attrs = {"units": spec.unit, **attributes}
        if spec.description:
            result.attrs["long_name"] = spec.description
    found = {result.name: result for result in results}
    if interval is not None:
        found |= _bounds(version, results, interval, attributes)
    if flag:
        found["outside_domain"] = _outside(version, values, results[0], attributes)
    return xr.Dataset(found, attrs=attributes) if len(found) > 1 else results[0]


def margins(version: ModelVersion, level: float) -> dict[str, float]:
    """Return the half width of the interval of each output.

    Raises
    ------
    InvalidInput
        If none was fitted when the model was registered, or not for this level.
    """
    if version.intervals is None:
        raise InvalidInput(
            f"{version.reference} has no intervals: none were fitted to held-out data when it was registered."
        )
    return {spec.name: version.intervals.margin(spec.name, level) for spec in version.signature.outputs}


def _bounds(
    version: ModelVersion, results: Sequence[xr.DataArray], level: float, attributes: Mapping[str, Any]
) -> dict[Any, xr.DataArray]:
    half = margins(version, level)
    bounds = {}
    for result in results:
        margin = half[str(result.name)]
        for end, bound in (("lower", result - margin), ("upper", result + margin)):
            told = f"{end} end of the conformal interval of {level:g}"
            bounds[f"{result.name}_{end}"] = bound.assign_attrs(
                {"units": result.attrs["units"], **attributes, "long_name": told}
            )
    return bounds


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What goes to dask's workers with each block. The artifact comes beside it; each process verifies and loads it once."""

    version: ModelVersion

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Types of the outputs: integers become float64, so that a missing value can be NaN."""
        return tuple(_dtype(spec) for spec in self.version.signature.outputs)

    def __call__(self, artifact: bytes, *blocks: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Evaluate one block; the arrays broadcast."""
        answers = evaluate(self.version, lambda: loaded(self.version, artifact), blocks)
        return answers if len(answers) > 1 else answers[0]

    def __repr__(self) -> str:
        return "predict"  # dask names its tasks so, and takes no '-' in it

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("genesis-model", self.version.model_dump_json())


def carried(version: ModelVersion, artifact: bytes) -> Any:
    """Return the artifact as one task of a graph: it goes to a worker once, and not with each block."""
    from dask.delayed import delayed

    return delayed(artifact, name=f"genesis-artifact-{version.artifact[7:]}", pure=True)


def _once(version: ModelVersion, artifact: bytes) -> xr.DataArray:
    """Return the artifact as an array without axes, which meets every block."""
    import dask.array as da

    return xr.DataArray(da.from_delayed(carried(version, artifact), shape=(), dtype=object))


def _arrays(given: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Make everything a DataArray; plain arrays get dimensions dim_0, dim_1, ... and broadcast as numpy does."""
    arrays: dict[str, xr.DataArray] = {}
    plain: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, xr.Dataset):
            raise InvalidInput(
                f"{name} is a Dataset: give one of its variables: {', '.join(map(str, value))}."
            )
        if isinstance(value, xr.Variable):
            arrays[name] = xr.DataArray(value)
        elif isinstance(value, xr.DataArray):
            arrays[name] = value
        elif type(value).__module__.startswith("pandas.") and hasattr(value, "index"):
            arrays[name] = xr.DataArray(value)
        else:
            plain[name] = value if hasattr(value, "__dask_graph__") else np.asarray(value)
    if arrays and any(array.ndim for array in plain.values()):
        names = ", ".join(name for name, array in plain.items() if array.ndim)
        raise InvalidInput(
            f"{names} has no named dimensions, and other inputs have. Give it as xarray.DataArray(values, dims=[...])."
        )
    arrays.update(_named(plain))
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise InvalidInput(f"{name} has the type {array.dtype}: numbers are needed.")
    return arrays


def _named(plain: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    try:
        shape = np.broadcast_shapes(*(array.shape for array in plain.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in plain.items())
        raise InvalidInput(f"The shapes of the inputs do not fit together: {shapes}.") from error
    named = {}
    for name, array in plain.items():
        axes = range(len(shape) - array.ndim, len(shape))
        spread = [f"dim_{i}" for i, length in zip(axes, array.shape, strict=True) if length != shape[i]]
        named[name] = xr.DataArray(array, dims=[f"dim_{i}" for i in axes]).isel(dict.fromkeys(spread, 0))
    return named


def _outside(
    version: ModelVersion,
    values: Mapping[str, xr.DataArray],
    like: xr.DataArray,
    attributes: Mapping[str, Any],
) -> xr.DataArray:
    arrays = [values[spec.name] for spec in version.signature.inputs]
    outside: xr.DataArray = xr.apply_ufunc(
        Outside(version), *arrays, dask="parallelized", output_dtypes=[bool]
    )
    outside = outside.transpose(*like.dims).rename("outside_domain")
    told = "whether an input is outside what the model was made for"
    return outside.drop_attrs().assign_attrs({"long_name": told, **attributes})


def evaluate(
    version: ModelVersion, session: Callable[[], Loaded], blocks: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Run a model over one block of each input, which broadcast; what is not finite gives NaN.

    Parameters
    ----------
    session : callable
        Gives the runnable artifact; called where there is something to run.
    """
    arrays = np.broadcast_arrays(*(np.asarray(block) for block in blocks))
    shape, outputs = arrays[0].shape, version.signature.outputs
    columns = [array.reshape(-1) for array in arrays]
    results = [np.empty(columns[0].size, dtype=_dtype(spec)) for spec in outputs]
    running: Loaded | None = None
    for start in range(0, columns[0].size, _ROWS):
        block = slice(start, start + _ROWS)
        taken = [column[block] for column in columns]
        good = np.isfinite(taken[0])
        for column in taken[1:]:
            good &= np.isfinite(column)
        # Most data have no gaps, and a whole block is not copied.
        whole = bool(good.all())
        rows = slice(None) if whole else np.flatnonzero(good)
        if not whole:
            for result in results:
                result[block] = np.nan
        if not good.any():
            continue
        running = running or session()
        answers = running.run(_feed(version, [column[rows] for column in taken]))
        for spec, result in zip(outputs, results, strict=True):
            result[block][rows] = answers[spec.name].reshape(-1)
    return tuple(result.reshape(shape) for result in results)


def _feed(version: ModelVersion, columns: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {
        spec.name: _cast(column, spec).reshape((-1,) + (1,) * (len(spec.shape) - 1))
        for spec, column in zip(version.signature.inputs, columns, strict=True)
    }


@dataclass(frozen=True, repr=False)
class Outside:
    """Whether inputs are outside their ranges, or together unlike the training inputs, block by block; the arrays broadcast."""

    version: ModelVersion

    def __call__(self, *blocks: np.ndarray) -> np.ndarray:
        """Look at one block."""
        arrays = np.broadcast_arrays(*(np.asarray(block) for block in blocks))
        flags = np.zeros(arrays[0].shape, dtype=bool)
        for spec, array in zip(self.version.signature.inputs, arrays, strict=True):
            if spec.low is not None:
                flags |= array < spec.low
            if spec.high is not None:
                flags |= array > spec.high
        return flags | self._unlike(arrays) if self.version.domain is not None else flags

    def _unlike(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        domain = cast("Domain", self.version.domain)
        names = [spec.name for spec in self.version.signature.inputs]
        columns = {name: array.reshape(-1) for name, array in zip(names, arrays, strict=True)}
        flags = np.zeros(arrays[0].size, dtype=bool)
        for start in range(0, flags.size, _ROWS):
            block = slice(start, start + _ROWS)
            flags[block] = domain.outside({name: columns[name][block] for name in domain.inputs})
        return flags.reshape(arrays[0].shape)

    def __repr__(self) -> str:
        return "outside"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("genesis-domain", self.version.model_dump_json())


def check_single(version: ModelVersion) -> None:
    """Refuse models that take or give more than one number for each sample."""
    for spec in (*version.signature.inputs, *version.signature.outputs):
        _check_one_number(version, spec)


def _check_one_number(version: ModelVersion, spec: TensorSpec) -> None:
    if not spec.shape or spec.shape[0] is not None or any(axis != 1 for axis in spec.shape[1:]):
        raise InvalidInput(
            f"{spec.name} of {version.reference} is not one number for each sample but has the shape {spec.shape}. "
            "Use model.run() with arrays of that shape."
        )


def _cast(column: np.ndarray, spec: TensorSpec) -> np.ndarray:
    cast = column.astype(spec.dtype, copy=False)
    if np.dtype(spec.dtype).kind in "iu" and not np.array_equal(cast, column):
        raise InvalidInput(f"{spec.name} takes whole numbers ({spec.dtype}). Round the values first.")
    return cast


def _dtype(spec: TensorSpec) -> str:
    return spec.dtype if np.dtype(spec.dtype).kind == "f" else "float64"
