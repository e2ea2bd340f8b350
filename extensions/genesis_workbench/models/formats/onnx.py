"""ONNX models, run by onnxruntime on one core. The operators of the standard only, and nothing outside the file."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, VerificationFailed
from genesis_workbench.models.formats._base import Tensor, installed, library, refuse_carriers

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_TAKEN = ("ai.onnx", "com.microsoft", "com.ms")
"""Domains whose names no function of a file may take: a runtime could mean an operator of its own by them."""
_WANTED = "one ONNX file"
_BITS = {"FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8, "FLOAT16": 16,
         "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
         "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "UINT4": 4, "INT4": 4}  # fmt: skip
_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class OnnxFormat:
    """One self-contained ONNX file."""

    name: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    extra: ClassVar[str] = "onnx"

    def check(self, data: bytes) -> None:
        """Refuse what is no ONNX model, reaches outside its file, or needs operators that are not of the standard.

        Raises
        ------
        TooLarge
            If it has more than 256 MB.
        VerificationFailed
            With the reason, for everything else.
        """
        refuse_carriers(data, _WANTED)
        onnx = library("onnx", self.extra)
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except Exception as error:  # protobuf raises its own kind, which differs between its implementations
            raise VerificationFailed(
                f"The artifact is no ONNX model, or only a part of one: {error}. Export it again.",
            ) from error
        if not model.graph.node or not model.opset_import:
            raise VerificationFailed(
                f"The artifact holds no graph of operators, so it is no ONNX model. Export {_WANTED}."
            )
        functions = {
            (each.domain, each.name) for each in model.functions if not each.domain.startswith(_TAKEN)
        }
        for message in _messages(model):
            _check_message(message, onnx.TensorProto.DataType, functions)
        size, known = model.ByteSize(), onnx.ModelProto()
        known.CopyFrom(model)  # protobuf in pure Python goes on with the size that it has once worked out
        known.DiscardUnknownFields()
        if known.ByteSize() != size:
            raise VerificationFailed(
                f"The artifact carries {size - known.ByteSize():,} bytes that ONNX {onnx.__version__} does not know. "
                "Export it for an older version of ONNX, without anything appended."
            )
        try:
            onnx.checker.check_model(model)
        except Exception as error:
            raise VerificationFailed(
                f"The artifact is no valid ONNX model: {_first(error)} Export it again."
            ) from error

    def load(self, data: bytes, signature: Signature) -> OnnxSession:
        """Make it runnable. Call :meth:`check` first. The file names its own inputs and outputs."""
        return OnnxSession(data)

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        return tuple(installed(name, self.extra) for name in ("onnx", "onnxruntime"))

    def warm(self) -> None:
        """Import the libraries that check and run it."""
        for name in ("onnx.checker", "onnxruntime"):
            library(name, self.extra)


class OnnxSession:
    """A model in onnxruntime, on the processor, with one thread: whoever calls decides how many calls run at once."""

    def __init__(self, data: bytes) -> None:
        self._runtime = library("onnxruntime", OnnxFormat.extra)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            self._session = self._runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's kinds have no common root
            raise VerificationFailed(
                f"onnxruntime {self._runtime.__version__} cannot load the model: {_first(error)} "
                "Export it for the operators of this version."
            ) from error
        self.inputs = tuple(_tensor(each) for each in self._session.get_inputs())
        self.outputs = tuple(_tensor(each) for each in self._session.get_outputs())

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name. See :class:`~genesis_workbench.models.formats._base.Loaded`."""
        options = self._runtime.RunOptions()
        options.log_severity_level = 4
        late = threading.Event()

        def stop() -> None:
            late.set()
            options.terminate = True

        timer = threading.Timer(deadline_s, stop) if deadline_s is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            results = self._session.run(None, dict(inputs), options)
        except Exception as error:
            if late.is_set():
                raise DeadlineExceeded(f"The model did not answer within {deadline_s} s.") from error
            raise InvalidInput(f"The model cannot take these inputs: {_first(error)}") from error
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        return {tensor.name: result for tensor, result in zip(self.outputs, results, strict=True)}

    __call__ = run


def _messages(message: Any) -> Iterator[Any]:
    """Walk through all messages inside one, whatever graphs and functions they are nested in."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            # A repeated field is a container, a single one a message.
            waiting.extend([value] if hasattr(value, "ListFields") else value)


def _check_message(message: Any, types: Any, functions: set[tuple[str, str]]) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto":
        _check_tensor(message, types)
    if kind == "NodeProto":
        known = (message.domain, message.op_type) in functions
    elif kind in ("OperatorSetIdProto", "FunctionProto"):
        known = any(domain == message.domain for domain, _ in functions)
    else:
        return
    if not known and message.domain not in DOMAINS:
        raise VerificationFailed(
            f"The model needs operators of the domain {message.domain!r}, which are not of the ONNX standard. "
            "Export it with standard operators only (domains '', 'ai.onnx' and 'ai.onnx.ml') and functions that it defines."
        )


def _check_tensor(tensor: Any, types: Any) -> None:
    """Refuse numbers that lie elsewhere, and a length that is not the one its axes say."""
    name = tensor.name or "(without a name)"
    if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
        raise VerificationFailed(
            f"The tensor {name!r} is kept outside the file (external data), where the "
            "hash does not cover it. Export the model with its weights inside."
        )
    bits = _BITS.get(types.Name(tensor.data_type) if tensor.data_type in types.values() else "")
    if any(axis < 0 for axis in tensor.dims) or (tensor.raw_data and bits is None):
        raise VerificationFailed(
            f"The tensor {name!r} has no type or shape that numbers have. Export it again."
        )
    if tensor.raw_data and len(tensor.raw_data) != (math.prod(tensor.dims) * (bits or 0) + 7) // 8:
        raise VerificationFailed(
            f"The tensor {name!r} has {len(tensor.raw_data):,} bytes, which is not what its shape "
            f"{tuple(tensor.dims)} needs. Export the model again."
        )


def _tensor(declared: Any) -> Tensor:
    shape = tuple(axis if isinstance(axis, int) else None for axis in declared.shape)
    return Tensor(declared.name, _DTYPES.get(declared.type, declared.type), shape)


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0][:300].strip() if lines else type(error).__name__
    return text if text.endswith(".") else text + "."
