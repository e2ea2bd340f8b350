"""A trained model has the same hash wherever and whenever it is written, and is what safetensors' own library reads."""

from __future__ import annotations

import pytest

from genesis_workbench.models.architectures.mlp import MlpConfig
from genesis_workbench.models.formats.safetensors import SafetensorsFormat
from genesis_workbench.training.artifact import weights_artifact

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize("width", range(1, 40))
def test_weights_are_read_by_the_zoo_and_by_the_library(width):
    from safetensors.torch import load

    tensors = {name: torch.rand(1) for name in ("input.mean", "input.scale", "output.mean", "output.scale")}
    tensors |= {"0.weight": torch.rand(1, 1, width), "0.bias": torch.rand(1, 1, width)}
    tensors |= {"1.weight": torch.rand(1, width, 1), "1.bias": torch.rand(1, 1, 1)}
    data = weights_artifact("mlp", MlpConfig(layers=(1, width, 1)), dict(reversed(tensors.items())))
    assert data == weights_artifact("mlp", MlpConfig(layers=(1, width, 1)), tensors)
    SafetensorsFormat().check(data)
    found = load(data)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
