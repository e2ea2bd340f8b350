"""Nested state of models and optimisers as named tensors and JSON, and back: what torch.save would pickle."""

from __future__ import annotations

from typing import Any

import torch

from genesis_workbench.core.errors import InvalidInput

_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


def pack(value: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Split `value` into JSON and tensors; the tensors are copies on the processor.

    Raises
    ------
    InvalidInput
        If something in it is neither a tensor nor what JSON can hold.
    """
    tensors: dict[str, torch.Tensor] = {}
    return _pack(value, tensors), tensors


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = f"{len(tensors):06}"
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            # By name: a state that was read back has its keys in another order, and must give the same bytes.
            return {key: _pack(value[key], tensors) for key in sorted(value)}
        return {_PAIRS: [[_pack(key, tensors), _pack(each, tensors)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_pack(each, tensors) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidInput(
        f"A checkpoint cannot hold a {type(value).__name__}: only tensors, numbers, texts and what is made of them. Keep it "
        "as a tensor."
    )


def unpack(structure: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Put together what :func:`pack` took apart."""
    if isinstance(structure, list):
        return [unpack(each, tensors) for each in structure]
    if not isinstance(structure, dict):
        return structure
    if _TENSOR in structure:
        return tensors[structure[_TENSOR]]
    if _PAIRS in structure:
        return {unpack(key, tensors): unpack(each, tensors) for key, each in structure[_PAIRS]}
    if _TUPLE in structure:
        return tuple(unpack(each, tensors) for each in structure[_TUPLE])
    return {key: unpack(each, tensors) for key, each in structure.items()}
