"""What is fitted when a model is registered: its domain from training inputs, its intervals from held-out data.

This happens where the data are; the zoo gets the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.prediction import Evaluation, gather
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.verification import loaded, verify


def domain(signature: Signature, inputs: Any) -> Domain:
    """Fit the domain to training inputs: a mapping, an xarray Dataset or a DataFrame with the inputs by their names."""
    return Domain.fit(samples(signature, inputs))


def intervals(version: ModelVersion, artifact: bytes, inputs: Any, outputs: Mapping[str, Any]) -> Intervals:
    """Fit intervals to held-out data, after the model has been verified here.

    Parameters
    ----------
    version : ModelVersion
        What it will be registered as.
    artifact : bytes
        Its artifact.
    inputs : mapping, xarray.Dataset or DataFrame
        Inputs that it was not trained on.
    outputs : mapping
        What was so: numbers for each output, in its unit.
    """
    verify(version, artifact)
    given = samples(version.signature, inputs)
    names = [spec.name for spec in version.signature.outputs]
    if all(_one_number(spec) for spec in version.signature.inputs):
        answers = Evaluation(version)(artifact, *given.values())
        said = answers if isinstance(answers, tuple) else (answers,)
        predicted = dict(zip(names, said, strict=True))
    else:
        feed = {spec.name: given[spec.name].astype(spec.dtype) for spec in version.signature.inputs}
        predicted = loaded(version, artifact).run(feed)
    return Intervals.fit(
        {name: np.asarray(values).reshape(len(values), -1)[:, 0] if np.ndim(values) == 2 else values
         for name, values in predicted.items()},
        {name: np.asarray(outputs[name]) for name in names if name in outputs},
    )  # fmt: skip


def samples(signature: Signature, inputs: Any) -> dict[str, np.ndarray]:
    """Return the inputs with one row for each sample, converted to the units of the signature where they say theirs."""
    if hasattr(inputs, "columns"):
        inputs = {name: inputs[name] for name in inputs.columns}
    if all(_one_number(spec) for spec in signature.inputs):
        values, _, _ = gather(signature, inputs, {})
        spread = xr.broadcast(*values.values())
        return {name: each.values.ravel() for name, each in zip(values, spread, strict=True)}
    missing = [spec.name for spec in signature.inputs if spec.name not in inputs]
    if missing:
        raise InvalidInput(f"The inputs {', '.join(missing)} are missing.")
    return {spec.name: np.asarray(inputs[spec.name]) for spec in signature.inputs}


def _one_number(spec: TensorSpec) -> bool:
    return len(spec.shape) > 0 and spec.shape[0] is None and all(axis == 1 for axis in spec.shape[1:])
