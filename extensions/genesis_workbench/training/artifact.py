"""Trained weights as the zoo takes them: safetensors that declare their architecture, the same bytes for the same weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import BaseModel

from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.models.formats.safetensors import ARCHITECTURE, CONFIG


def weights_artifact(architecture: str, config: BaseModel, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return a safetensors file of float32 tensors.

    Written here because the library's writer puts the metadata in an order that differs from call to call (a hash map, as of
    safetensors 0.8), and a model is known by its hash.

    Parameters
    ----------
    architecture : str
        Name of an architecture of the zoo.
    config : BaseModel
        Its configuration.
    tensors : mapping of str to torch.Tensor
        The tensors that it needs.
    """
    header: dict[str, object] = {
        "__metadata__": {
            ARCHITECTURE: architecture,
            CONFIG: canonical_json(config.model_dump(mode="json")).decode(),
        }
    }
    parts, begin = [], 0
    for name, tensor in sorted(tensors.items()):
        part = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [begin, begin + len(part)],
        }
        parts.append(part)
        begin += len(part)
    text = canonical_json(header)
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight, as the format asks
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
