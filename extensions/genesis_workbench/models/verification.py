"""Whether an artifact is what its record says: hash, size, signature, and the self-test run again on this machine."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, VerificationFailed
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.identifiers import digest_json

if TYPE_CHECKING:
    from genesis_workbench.models.formats._base import Loaded, ModelFormat, Tensor
    from genesis_workbench.models.record import ModelVersion, TensorSpec

SELF_TEST_DEADLINE_S = 60.0
_KEPT = 8

_lock = threading.Lock()
_passed: set[tuple[str, ...]] = set()
_sessions: OrderedDict[tuple[str, str], Loaded] = OrderedDict()


def format_of(name: str) -> ModelFormat:
    """Return the format that records call `name`."""
    found: ModelFormat = plugins.load("model_formats", name)()
    return found


def loaded(digest: str, data: bytes, model_format: ModelFormat) -> Loaded:
    """Return the runnable artifact: loaded once in each process, after its hash and its bytes were checked.

    Raises
    ------
    VerificationFailed
        If `data` has another hash than `digest`, or the format refuses it.
    """
    key = (digest, model_format.name)
    with _lock:
        if key in _sessions:
            _sessions.move_to_end(key)
            return _sessions[key]
        _check_digest(digest, data)
        model_format.check(data)
        session = model_format.load(data)
        _sessions[key] = session
        while len(_sessions) > _KEPT:
            _sessions.popitem(last=False)
        return session


def verify(version: ModelVersion, data: bytes, model_format: ModelFormat) -> None:
    """Compare an artifact with its record. The part that takes time is done once for each record and process.

    Parameters
    ----------
    version : ModelVersion
        The record.
    data : bytes
        The artifact.
    model_format : ModelFormat
        Its format.

    Raises
    ------
    VerificationFailed
        If hash, size or signature differ, or the self-test gives other numbers here; says how far they are off.
    """
    _check_digest(version.artifact, data)
    if len(data) != version.size_bytes:
        raise VerificationFailed(
            f"The artifact of {version.reference} has {len(data):,} bytes; its record says {version.size_bytes:,}."
        )
    promised = digest_json(
        [version.signature.model_dump(mode="json"), version.self_test.model_dump(mode="json")]
    )
    key = (version.artifact, promised, *model_format.versions())
    if key in _passed:
        return
    session = loaded(version.artifact, data, model_format)
    _check_signature(version, "input", version.signature.inputs, session.inputs)
    _check_signature(version, "output", version.signature.outputs, session.outputs)
    _check_self_test(version, session, model_format)
    _passed.add(key)


def _check_digest(digest: str, data: bytes) -> None:
    seen = digest_of(data)
    if seen != digest:
        raise VerificationFailed(
            f"The artifact has the hash {seen}; its record says {digest}. It was changed or is damaged: "
            "register it again from its origin."
        )


def _check_signature(
    version: ModelVersion, kind: str, specs: tuple[TensorSpec, ...], tensors: tuple[Tensor, ...]
) -> None:
    promised = {spec.name: spec for spec in specs}
    declared = {tensor.name: tensor for tensor in tensors}
    if promised.keys() != declared.keys():
        raise VerificationFailed(
            f"{version.reference} has the {kind}s {_names(declared)}; its signature says {_names(promised)}."
        )
    for name, tensor in declared.items():
        spec = promised[name]
        if spec.dtype != tensor.dtype or not _agree(spec.shape, tensor.shape):
            raise VerificationFailed(
                f"The {kind} {name!r} of {version.reference} is {tensor.dtype} {_shape(tensor.shape)}; "
                f"its signature says {spec.dtype} {_shape(spec.shape)}."
            )


def _check_self_test(version: ModelVersion, session: Loaded, model_format: ModelFormat) -> None:
    import numpy as np

    test, signature = version.self_test, version.signature
    for given, specs in ((test.inputs, signature.inputs), (test.outputs, signature.outputs)):
        names = {spec.name for spec in specs}
        if given.keys() != names:
            raise VerificationFailed(
                f"The self-test of {version.reference} has numbers for {_names(given)}; it needs {_names(names)}."
            )
    try:
        inputs = {s.name: np.asarray(test.inputs[s.name], dtype=s.dtype) for s in signature.inputs}
        answers = session.run(inputs, deadline_s=SELF_TEST_DEADLINE_S)
    except (GenesisError, ValueError) as error:
        raise VerificationFailed(f"The self-test of {version.reference} cannot be run: {error}") from error
    for spec in signature.outputs:
        expected = np.asarray(test.outputs[spec.name], dtype="float64")
        answer = np.asarray(answers[spec.name], dtype="float64")
        if answer.shape != expected.shape:
            raise VerificationFailed(
                f"The self-test of {version.reference} gives {spec.name} the shape {answer.shape}; expected {expected.shape}."
            )
        if not np.allclose(answer, expected, rtol=test.rtol, atol=test.atol):
            difference = np.abs(answer - expected)
            worst = float(np.nanmax(difference)) if np.isfinite(difference).any() else float("nan")
            raise VerificationFailed(
                f"The self-test of {version.reference} fails on this machine: {spec.name} is off by up to "
                f"{worst:.6g} {spec.unit}".rstrip()
                + f"; allowed are {test.atol:g} and {test.rtol:g} of the value. "
                f"It ran with {', '.join(model_format.versions())}."
            )


def _agree(promised: tuple[int | None, ...], declared: tuple[int | None, ...]) -> bool:
    return len(promised) == len(declared) and all(
        a == b or a is None or b is None for a, b in zip(promised, declared, strict=True)
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if axis is None else str(axis) for axis in shape) + ")"


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"
