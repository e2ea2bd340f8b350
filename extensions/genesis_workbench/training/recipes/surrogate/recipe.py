"""The recipe: simulated points in shards, an ensemble that is trained as one model, and its spread made to be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.architectures.mlp import MlpConfig
from genesis_workbench.models.record import Metric, ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.training.artifact import weights_artifact
from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.recipe import Data, Parent, Product
from genesis_workbench.training.shards import MadeShards, MemoryShards, split

from . import pv_module as simulator
from .calibration import coverage, factor


class SurrogateConfig(Configuration):
    """What the surrogate can be told besides."""

    epochs: int = Field(30, gt=0, description="How often every sample is seen.")
    batch_size: int = Field(256, gt=0, description="Samples of one step, over all processes together.")
    learning_rate: float = Field(3e-3, gt=0, description="Learning rate after the warm-up.")
    recompute_activations: Literal[False] = Field(
        False, description="Not here: its networks are too small to save memory on."
    )
    shards: int = Field(20, ge=3, description="Shards of simulated points.")
    shard_size: int = Field(2048, gt=0, description="Points of one shard.")
    members: int = Field(5, ge=2, le=64, description="Networks in the ensemble.")
    width: int = Field(64, gt=0, description="Neurons of a hidden layer.")
    depth: int = Field(2, gt=0, le=18, description="Hidden layers.")


class Ensemble(torch.nn.Module):
    """Networks of the same shape that share nothing, computed together; inputs and outputs are in standard units."""

    def __init__(self, layers: Sequence[int], members: int) -> None:
        super().__init__()
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for wide, next_wide in pairwise(layers):
            bound = (6 / (wide + next_wide)) ** 0.5  # Glorot and Bengio 2010
            self.weights.append(torch.empty(members, wide, next_wide).uniform_(-bound, bound))
            self.biases.append(torch.zeros(members, 1, next_wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answers of all members, shape (members, samples, outputs)."""
        hidden = x.expand(len(self.weights[0]), -1, -1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if number + 1 < len(self.weights):
                hidden = torch.tanh(hidden)
        return hidden


class Surrogate:
    """Learns the simulator from points that it makes for the modules of a dataset."""

    name: ClassVar[str] = "surrogate"
    title: ClassVar[str] = "a surrogate of pvlib's photovoltaic module with calibrated uncertainty"
    Config: ClassVar[type[SurrogateConfig]] = SurrogateConfig

    def data(self, config: SurrogateConfig, opened: Sequence[Any], folder: Path) -> Data:
        """Return simulated points: of some modules for training, of others for validation and test."""
        if len(opened) != 1:
            raise InvalidInput(
                f"This recipe takes one dataset of modules; it was given {len(opened)}. Use data=['cec-pv-modules']."
            )
        modules = _modules(opened[0])
        import pvlib

        train, validation, test = split(len(modules), config.seed)
        held = {
            name: simulator.simulate(
                modules[np.resize(rows, 4096)], np.random.default_rng([config.seed, number])
            )
            for number, (name, rows) in enumerate({"validation": validation, "test": test}.items(), 1)
        }

        def make(shard: int) -> dict[str, np.ndarray]:
            random = np.random.default_rng([config.seed, 0, shard])
            return simulator.simulate(modules[random.choice(train, config.shard_size)], random)

        shards = MadeShards(folder / "simulated", [config.shard_size] * config.shards, make)
        first = shards.read(0)
        facts = {
            "x": _moments(first["x"]),
            "y": _moments(first["y"]),
            "low": first["x"].min(axis=0).tolist(),
            "high": first["x"].max(axis=0).tolist(),
            "modules": len(modules),
        }
        made_by = f"{simulator.NAME}, pvlib {pvlib.__version__}"
        return Data(shards, MemoryShards(held["validation"]), MemoryShards(held["test"]), facts, made_by)

    def model(self, config: SurrogateConfig, data: Data, parent: Parent | None) -> torch.nn.Module:
        """Return the ensemble; of a parent of the same shape, with its weights."""
        model = Ensemble(_layers(config), config.members)
        self._facts = {name: _tensors(data.facts[name]) for name in ("x", "y")}
        if parent is not None:
            for number, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
                weight.data.copy_(parent.weights[f"{number}.weight"])
                bias.data.copy_(parent.weights[f"{number}.bias"])
        return model

    def losses(self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the squared error in standard units, the mean over members."""
        (mean_x, scale_x), (mean_y, scale_y) = (
            [each.to(batch["x"].device) for each in self._facts[n]] for n in "xy"
        )
        answers = model((batch["x"] - mean_x) / scale_x)
        return (answers - (batch["y"] - mean_y) / scale_y).square().mean(dim=(0, 2))

    def product(self, model: torch.nn.Module, config: SurrogateConfig, data: Data) -> Product:
        """Return the ensemble with its spread scaled on the validation data, and its calibration on the test data."""
        mean, spread, y = self._predicted(model, data.validation)
        scale = factor(mean, spread, y)
        mean, spread, y = self._predicted(model, data.test)
        artifact = _artifact(model, config, data.facts, scale)
        signature = _signature(data.facts)
        return Product(
            "safetensors",
            artifact,
            signature,
            _card(data, mean, spread * scale, y),
            _self_test(artifact, signature, data),
        )

    def _predicted(self, model: torch.nn.Module, shards: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean, spread and truth in W."""
        columns = [shards.read(number) for number in range(len(shards.counts))]
        x, y = (torch.from_numpy(np.concatenate([each[name] for each in columns])) for name in "xy")
        (mean_x, scale_x), (mean_y, scale_y) = self._facts["x"], self._facts["y"]
        answers = model((x - mean_x) / scale_x) * scale_y + mean_y
        return answers.mean(0)[:, 0].numpy(), answers.std(0)[:, 0].numpy(), y[:, 0].numpy()


def _modules(table: Any) -> np.ndarray:
    columns = [*simulator.SHEET, *simulator.FITTED]
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise InvalidInput(
            f"The dataset has no column {', '.join(lacking)}: it is no list of modules of the CEC."
        )
    frame = table[columns].compute(scheduler="sync").dropna().drop_duplicates()
    records: np.ndarray = frame.to_records(index=False)
    return records


def _moments(columns: np.ndarray) -> list[list[float]]:
    return [columns.mean(axis=0).tolist(), columns.std(axis=0).tolist()]


def _tensors(moments: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(moments[0]), torch.tensor(moments[1])


def _layers(config: SurrogateConfig) -> tuple[int, ...]:
    return (len(simulator.INPUTS), *[config.width] * config.depth, 1)


def _artifact(model: torch.nn.Module, config: SurrogateConfig, facts: dict[str, Any], scale: float) -> bytes:
    (mean_x, scale_x), (mean_y, scale_y) = _tensors(facts["x"]), _tensors(facts["y"])
    tensors = {"input.mean": mean_x, "input.scale": scale_x, "output.mean": mean_y, "output.scale": scale_y}
    for number, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
        tensors[f"{number}.weight"], tensors[f"{number}.bias"] = weight.detach(), bias.detach()
    declared = MlpConfig(
        layers=_layers(config), activation="tanh", members=config.members, spread=True, spread_factor=scale
    )
    return weights_artifact("mlp", declared, tensors)


def _signature(facts: dict[str, Any]) -> Signature:
    ranges = zip(simulator.INPUTS.items(), facts["low"], facts["high"], strict=True)
    name, unit, text = simulator.OUTPUT
    return Signature(
        inputs=tuple(
            TensorSpec(name=key, unit=unit, low=low, high=high, description=text)
            for (key, (unit, text)), low, high in ranges
        ),
        outputs=(
            TensorSpec(name=name, unit=unit, description=text),
            TensorSpec(
                name=f"{name}_spread", unit=unit, description="Standard deviation of the answer, calibrated"
            ),
        ),
    )


def _card(data: Data, mean: np.ndarray, spread: np.ndarray, y: np.ndarray) -> ModelCard:
    where = f"{len(y)} simulated points of modules that it had not seen"
    error = mean - y
    metrics = [
        Metric(name="RMSE", value=float(np.sqrt(np.mean(error**2))), unit="W", data=where),
        Metric(name="R²", value=float(1 - np.mean(error**2) / np.var(y)), data=where),
    ]
    for level in (0.5, 0.9):
        share = coverage(mean, spread, y, level)
        metrics.append(Metric(name=f"share within the {level:.0%} interval", value=share, data=where))
    return ModelCard(
        title="Maximum power of a photovoltaic module from its data sheet",
        what_for="Fast estimates of the power of a module at any irradiance and temperature, each with its uncertainty.",
        trained_on=f"{sum(data.train.counts):,} points computed, not measured, by {data.simulator} for {data.facts['modules']:,} "
        "modules of the list of the California Energy Commission.",
        metrics=tuple(metrics),
        limits="Inside the ranges of its inputs only. It imitates the simulator: where that is wrong, so is this.",
        licence="BSD-3-Clause",
        surrogate_of=data.simulator,
        citation="Ensemble: Lakshminarayanan, B., Pritzel, A., Blundell, C. (2017). Simple and scalable predictive uncertainty "
        "estimation using deep ensembles. NeurIPS 30.",
    )


def _self_test(artifact: bytes, signature: Signature, data: Data) -> SelfTest:
    """Return test points with the answers of the architecture that will run it, not of torch."""
    from genesis_workbench.models.formats.safetensors import SafetensorsFormat

    x = data.test.read(0)["x"][:8]
    inputs = {spec.name: x[:, column] for column, spec in enumerate(signature.inputs)}
    outputs = SafetensorsFormat().load(artifact, signature).run(inputs)
    return SelfTest(
        inputs={name: each.tolist() for name, each in inputs.items()},
        outputs={name: each.tolist() for name, each in outputs.items()},
        rtol=1e-3,
        atol=1e-3,
    )
