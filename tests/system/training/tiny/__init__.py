"""A recipe that starts at once: a small network with dropout on the diabetes data of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from genesis_workbench.models.architectures.mlp import MlpConfig
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.training.artifact import weights_artifact
from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.recipe import Data, Product
from genesis_workbench.training.shards import MemoryShards, split


class Recipe:
    name, title, Config = "tiny", "a small network", Configuration

    def data(self, config, opened, folder):
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        x, y = (x / x.std(0)).astype("float32"), ((y - y.mean()) / y.std()).astype("float32")[:, None]
        parts = [MemoryShards({"x": x[rows], "y": y[rows]}, 32) for rows in split(len(x), config.seed)]
        return Data(*parts)

    def model(self, config, data, parent):
        return torch.nn.Sequential(
            torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1)
        )

    def losses(self, model, batch):
        return (model(batch["x"]) - batch["y"]).square().mean(1)

    def product(self, model, config, data):
        tensors = {name: torch.full((width,), value) for name, width, value in ENDS}
        for number, layer in enumerate((model[0], model[3])):
            tensors[f"{number}.weight"] = layer.weight.detach().T[None].contiguous()
            tensors[f"{number}.bias"] = layer.bias.detach()[None, None]
        declared = MlpConfig(layers=(10, 32, 1), activation="tanh")
        x = data.test.read(0)["x"][:4]
        y = model(torch.from_numpy(x)).numpy()
        return Product(
            "safetensors",
            weights_artifact("mlp", declared, tensors),
            Signature(
                inputs=tuple(TensorSpec(name=f"x{n}") for n in range(10)), outputs=(TensorSpec(name="y"),)
            ),
            ModelCard(
                title="Tiny", what_for="tests", trained_on="diabetes (measured)", limits="all", licence="MIT"
            ),
            SelfTest(
                inputs={f"x{n}": x[:, n].tolist() for n in range(10)}, outputs={"y": np.ravel(y).tolist()}
            ),
        )


ENDS = [("input.mean", 10, 0.0), ("input.scale", 10, 1.0), ("output.mean", 1, 0.0), ("output.scale", 1, 1.0)]
