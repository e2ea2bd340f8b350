"""Whether a loaded artifact has the signature of its record, and gives the numbers of its self-test here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, VerificationFailed

if TYPE_CHECKING:
    from genesis_workbench.models.formats._base import Loaded, ModelFormat, Tensor
    from genesis_workbench.models.record import ModelVersion
    from genesis_workbench.models.signature import TensorSpec

DEADLINE_S = 60.0


def format_of(name: str) -> ModelFormat:
    """Return the format that records call `name`."""
    found: ModelFormat = plugins.load("model_formats", name)()
    return found


def examine(version: ModelVersion, data: bytes, model_format: ModelFormat) -> Loaded:
    """Check, load and self-test an artifact in this process.

    Raises
    ------
    VerificationFailed
        If the format refuses it, the signature differs, or the self-test gives other numbers; says how far they are off.
    """
    model_format.check(data)
    session = model_format.load(data, version.signature)
    _check_signature(version, "input", version.signature.inputs, session.inputs)
    _check_signature(version, "output", version.signature.outputs, session.outputs)
    _check_self_test(version, session, model_format)
    return session


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
        answers = session.run(inputs, deadline_s=DEADLINE_S)
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
