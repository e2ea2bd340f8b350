"""A model folder of MLflow: ``MLmodel`` in YAML beside the artifact. MLflow itself is not needed.

Taken are its flavours whose files the zoo can run without unpickling: onnx, and sklearn where it was saved as skops.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from genesis_workbench.core import plain_yaml
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange._base import (
    MOST_TEXT_BYTES,
    RECORD,
    Incoming,
    has,
    read_file,
    read_record,
    record_of,
)
from genesis_workbench.models.formats._base import installed, read_json
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.signature import Signature

_ABOUT = "MLmodel"
_KEPT = ("model_uuid", "model_id", "run_id", "mlflow_version", "utc_time_created")
_COLUMNS = {"double": "float64", "float": "float32", "integer": "int32", "long": "int64", "boolean": "bool"}


def read(folder: Path) -> Incoming:
    """Read a folder.

    Raises
    ------
    InvalidInput
        If its flavours are none that the zoo takes, or it cannot be read.
    """
    about = read_file(folder, _ABOUT, MOST_TEXT_BYTES)
    told = plain_yaml.load(about, _ABOUT)
    if not isinstance(told, dict) or not isinstance(told.get("flavors"), dict):
        raise InvalidInput(f"{_ABOUT} names no flavours: {folder} is no model of MLflow.")
    name, format_name = _artifact(told["flavors"])
    artifact = read_file(folder, name)
    contents = {_ABOUT: about, name: artifact}
    if has(folder, RECORD):
        contents[RECORD] = read_file(folder, RECORD, MOST_TEXT_BYTES)
    source = {
        "layout": "mlflow",
        "files": {each: digest(content) for each, content in contents.items()},
        **{key: str(told[key])[:200] for key in _KEPT if told.get(key)},
    }
    known = read_record(contents[RECORD]) if RECORD in contents else {}
    signature = known.get("signature") or _signature(told.get("signature"))
    return Incoming(format_name, artifact, source, signature, known.get("card"), known.get("self_test"))


def write(version: ModelVersion, artifact: bytes, folder: Path) -> None:
    """Write a version into a new folder that ``mlflow.pyfunc.load_model`` opens.

    Raises
    ------
    InvalidInput
        If its format has no place in this layout.
    """
    if version.format != "onnx":
        raise InvalidInput(
            f"{version.reference} is in the format {version.format!r}; this layout takes onnx."
        )
    onnx = installed("onnx", "onnx").partition(" ")[2]
    about = {
        "flavors": {
            "onnx": {
                "data": "model.onnx",
                "onnx_version": onnx,
                "code": None,
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {"data": "model.onnx", "loader_module": "mlflow.onnx", "code": None},
        },
        "signature": {
            "inputs": json.dumps([_spec(spec) for spec in version.signature.inputs]),
            "outputs": json.dumps([_spec(spec) for spec in version.signature.outputs]),
            "params": None,
        },
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "ndarray"},
        "metadata": {
            "genesis": version.reference,
            "artifact": version.artifact,
            "licence": version.card.licence,
        },
    }
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(artifact)
    (folder / _ABOUT).write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")
    (folder / "input_example.json").write_text(json.dumps(version.self_test.inputs), encoding="utf-8")
    (folder / RECORD).write_text(record_of(version), encoding="utf-8")
    (folder / "requirements.txt").write_text("mlflow\nonnx\nonnxruntime\n", encoding="utf-8")


def _artifact(flavours: dict[str, Any]) -> tuple[str, str]:
    onnx, sklearn = flavours.get("onnx"), flavours.get("sklearn")
    if isinstance(onnx, dict):
        return _plain(onnx.get("data")), "onnx"
    if isinstance(sklearn, dict) and sklearn.get("serialization_format") == "skops":
        return _plain(sklearn.get("pickled_model") or "model.skops"), "skops"
    raise InvalidInput(
        f"The model has the flavours {', '.join(map(str, flavours))[:200]}, whose files are pickles or need code of their own. "
        "Taken are onnx, and sklearn saved with serialization_format='skops'."
    )


def _plain(name: Any) -> str:
    if not isinstance(name, str) or not name or Path(name).name != name or name in (".", ".."):
        raise InvalidInput(f"{_ABOUT} names the file {str(name)[:80]!r}, which is not one of its own folder.")
    return name


def _signature(told: Any) -> Signature | None:
    """Return what MLflow knows of inputs and outputs. It has no units: they count as pure numbers unless given.

    Where it could not tell a type it writes ``any``, and says nothing with that.
    """
    if not isinstance(told, dict) or not told.get("inputs") or not told.get("outputs"):
        return None
    try:
        told = {side: read_json(told[side].encode(), "The signature") for side in ("inputs", "outputs")}
        if any(each["type"] == "any" for side in told.values() for each in side):
            return None
        sides = {side: [_tensor(each, number) for number, each in enumerate(told[side])] for side in told}
        return Signature.model_validate(sides)
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        raise InvalidInput(f"The signature in {_ABOUT} cannot be used: {str(error)[:200]}.") from error


def _tensor(told: dict[str, Any], number: int) -> dict[str, Any]:
    name = told.get("name") or f"input_{number}"
    if told["type"] == "tensor":
        spec = told["tensor-spec"]
        return {
            "name": name,
            "dtype": spec["dtype"],
            "shape": [None if axis < 0 else axis for axis in spec["shape"]],
        }
    return {"name": name, "dtype": _COLUMNS[told["type"]]}


def _spec(spec: Any) -> dict[str, Any]:
    shape = [-1 if axis is None else axis for axis in spec.shape]
    return {"name": spec.name, "type": "tensor", "tensor-spec": {"dtype": spec.dtype, "shape": shape}}
