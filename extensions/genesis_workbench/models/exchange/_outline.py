"""Names of the inputs and outputs of an ONNX file, from its outline alone.

A file that nobody has looked at is parsed in the quarantine only. What it calls its tensors is needed before that, and stands in
a few fields of protobuf's wire format, so those are read here: lengths are checked, and everything else is stepped over.
Source: onnx.proto (ModelProto.graph = 7, GraphProto.initializer = 5, input = 11, output = 12; name = 1 of values, 8 of tensors).
"""

from __future__ import annotations

from collections.abc import Iterator

from genesis_workbench.core.errors import VerificationFailed

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12
_VALUE_NAME, _TENSOR_NAME = 1, 8
_FIXED = {1: 8, 5: 4}
_MOST_BITS = 63


def tensors(data: bytes) -> tuple[list[str], list[str]]:
    """Return the names of inputs and outputs, in their order; weights that are listed as inputs are none.

    Raises
    ------
    VerificationFailed
        If it is no ONNX file.
    """
    found: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _INITIALIZER: []}
    for graph in _each(memoryview(data), {_GRAPH}):
        for kind, part in _fields(graph[1]):
            if kind in found:
                wanted = _TENSOR_NAME if kind == _INITIALIZER else _VALUE_NAME
                found[kind] += [_text(name) for _, name in _each(part, {wanted})]
    weights = set(found[_INITIALIZER])
    return [name for name in found[_INPUT] if name not in weights], found[_OUTPUT]


def _each(data: memoryview, kinds: set[int]) -> Iterator[tuple[int, memoryview]]:
    return ((kind, part) for kind, part in _fields(data) if kind in kinds)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field that has a length."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _number(data, at)
            continue
        size, at = (
            (_FIXED[kind], at) if kind in _FIXED else _number(data, at) if kind == 2 else (len(data) + 1, at)
        )
        if at + size > len(data):
            raise VerificationFailed("The artifact is no ONNX model, or only a part of one. Export it again.")
        if kind == 2:
            yield tag >> 3, data[at : at + size]
        at += size


def _number(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift <= _MOST_BITS:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise VerificationFailed("The artifact is no ONNX model, or only a part of one. Export it again.")


def _text(name: memoryview) -> str:
    return bytes(name[:500]).decode("utf-8", "replace")
