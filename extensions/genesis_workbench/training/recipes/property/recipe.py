"""The recipe: crystals with computed energies in shards, a linear model of the composition, and a network for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.architectures.schnet import SchnetConfig
from genesis_workbench.models.formats.safetensors import SafetensorsFormat
from genesis_workbench.models.record import Metric, ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.training.artifact import weights_artifact
from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.feeding import everything
from genesis_workbench.training.recipe import Data, Parent, Product
from genesis_workbench.training.shards import MadeShards

from . import alloys
from .network import Schnet

GRAPH = ("numbers", "neighbours", "distances")
ELEMENTS = 119


class PropertyConfig(Configuration):
    """What the property model can be told besides."""

    epochs: int = Field(30, gt=0, description="How often every sample is seen.")
    batch_size: int = Field(32, gt=0, description="Samples of one step, over all processes together.")
    learning_rate: float = Field(2e-3, gt=0, description="Learning rate after the warm-up.")
    shards: int = Field(
        12, ge=1, description="Shards of crystals for training; one more each for validation and test."
    )
    shard_size: int = Field(128, gt=0, description="Crystals of one shard.")
    features: int = Field(32, gt=0, le=1024, description="Features of an atom.")
    blocks: int = Field(3, gt=0, le=12, description="Interactions.")
    basis: int = Field(20, ge=2, le=256, description="Gaussians that a distance is expanded in.")
    cutoff_angstrom: float = Field(
        4.5, gt=1, le=20, description="Distance from which atoms do not see each other."
    )
    neighbours: int = Field(
        24, gt=0, le=200, description="Neighbours of an atom that are seen, the nearest ones."
    )


class PropertyModel:
    """Learns the energy of crystals of seven metals."""

    name: ClassVar[str] = "property"
    title: ClassVar[str] = "energies of alloys by a graph network, from ASE's effective-medium theory"
    Config: ClassVar[type[PropertyConfig]] = PropertyConfig

    def data(self, config: PropertyConfig, opened: Sequence[Any], folder: Path) -> Data:
        """Return crystals in shards, each made when it is first needed."""
        if opened:
            raise InvalidInput(
                f"This recipe computes its own data; it was given {len(opened)} datasets. Leave data out."
            )
        import ase

        def part(number: int, shards: int) -> MadeShards:
            def make(shard: int) -> dict[str, np.ndarray]:
                seed = [config.seed, number, shard]
                return alloys.simulate(config.shard_size, seed, config.cutoff_angstrom, config.neighbours)

            return MadeShards(folder / "simulated" / str(number), [config.shard_size] * shards, make)

        train = part(0, config.shards)
        facts = _fitted(train.read(0))
        return Data(train, part(1, 1), part(2, 1), facts, f"{alloys.NAME}, ase {ase.__version__}")

    def model(self, config: PropertyConfig, data: Data, parent: Parent | None) -> torch.nn.Module:
        """Return the network; with the parent's weights, where there is one."""
        self._reference = torch.tensor(data.facts["reference"])
        self._scale = data.facts["scale"]
        model = Schnet(_declared(config), recompute=config.recompute_activations)
        if parent is not None:
            last = {name: parent.weights[name] / self._scale for name in ("read.1.weight", "read.1.bias")}
            model.take({**parent.weights, **last})
        return model

    def losses(self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the squared error of what the composition does not explain, in units of its spread."""
        target = (batch["energy"] - self._baseline(batch["numbers"])) / self._scale
        return (model(*(batch[name] for name in GRAPH)) - target).square()

    def product(self, model: Schnet, config: PropertyConfig, data: Data) -> Product:
        """Return the network for the zoo, beside what the composition alone explains."""
        batch = next(everything(data.test, 10**6))
        predicted = model(*(batch[name] for name in GRAPH)) * self._scale + self._baseline(batch["numbers"])
        composition = self._baseline(batch["numbers"])
        errors = {
            name: (each - batch["energy"]).numpy() * 1000
            for name, each in (("network", predicted), ("composition", composition))
        }
        artifact, signature = self._artifact(model, config), _signature(config)
        return Product(
            "safetensors", artifact, signature, _card(data, errors), _self_test(artifact, signature, batch)
        )

    def _baseline(self, numbers: torch.Tensor) -> torch.Tensor:
        atoms = (numbers > 0).float()
        return (self._reference.to(numbers.device)[numbers] * atoms).sum(1) / atoms.sum(1)

    def _artifact(self, model: Schnet, config: PropertyConfig) -> bytes:
        tensors = model.tensors()
        for part in ("weight", "bias"):  # out of standard units
            tensors[f"read.1.{part}"] = tensors[f"read.1.{part}"] * self._scale
        tensors["reference"] = self._reference[:, None].clone()
        return weights_artifact("schnet", _declared(config), tensors)


def _declared(config: PropertyConfig) -> SchnetConfig:
    return SchnetConfig(
        features=config.features, blocks=config.blocks, basis=config.basis, cutoff=config.cutoff_angstrom,
        elements=ELEMENTS,
    )  # fmt: skip


def _fitted(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the energy that each element brings along (least squares over the composition), and the spread of the rest."""
    share = np.stack([np.bincount(each, minlength=ELEMENTS) / len(each) for each in columns["numbers"]])
    reference = np.linalg.lstsq(share, columns["energy"], rcond=1e-6)[0]
    rest = columns["energy"] - share @ reference
    return {"reference": reference.astype("float32").tolist(), "scale": float(rest.std())}


def _signature(config: PropertyConfig) -> Signature:
    graph = (None, None, None)
    return Signature(
        inputs=(
            TensorSpec(name="numbers", dtype="int64", shape=(None, None), low=0, high=ELEMENTS - 1, description="Atomic numbers; 0 for none"),
            TensorSpec(name="neighbours", dtype="int64", shape=graph, low=0, description="Indices of each atom's neighbours"),
            TensorSpec(
                name="distances", shape=graph, unit="angstrom", low=0, high=config.cutoff_angstrom,
                description=f"How far they are, over periodic boundaries, the {config.neighbours} nearest; 0 for none",
            ),
        ),
        outputs=(TensorSpec(name="energy_per_atom", unit="eV", description="Potential energy for each atom"),),
    )  # fmt: skip


def _card(data: Data, errors_mev: Mapping[str, np.ndarray]) -> ModelCard:
    where = f"{sum(data.test.counts)} crystals that it had not seen"
    rmse = {name: float(np.sqrt(np.mean(each**2))) for name, each in errors_mev.items()}
    return ModelCard(
        title="Energy of face-centred cubic alloys of seven metals",
        what_for="Fast estimates of the potential energy of strained and disordered crystals of Al, Ni, Cu, Pd, Ag, Pt and Au.",
        trained_on=f"{sum(data.train.counts):,} crystals of {alloys.ATOMS} atoms, with energies computed, not measured, by {data.simulator}.",
        metrics=(
            Metric(name="RMSE", value=rmse["network"], unit="meV", data=f"for each atom, {where}"),
            Metric(
                name="RMSE of the composition alone",
                value=rmse["composition"],
                unit="meV",
                data=f"for each atom, {where}",
            ),
        ),
        limits="These seven metals, near their lattices (95 to 108 % of the mean length). It imitates a simple theory of metals: where that "
        "is wrong, so is this.",
        licence="BSD-3-Clause",
        surrogate_of=data.simulator,
        citation="Schütt, K. T., Sauceda, H. E., Kindermans, P.-J., Tkatchenko, A., Müller, K.-R. (2018). SchNet: a deep learning "
        "architecture for molecules and materials. Journal of Chemical Physics 148, 241722.",
    )


def _self_test(artifact: bytes, signature: Signature, batch: Mapping[str, torch.Tensor]) -> SelfTest:
    """Return crystals with the answers of the architecture that will run it, not of torch."""
    inputs = {name: batch[name][:3].numpy() for name in GRAPH}
    outputs = SafetensorsFormat().load(artifact, signature).run(inputs)
    return SelfTest(
        inputs={name: each.tolist() for name, each in inputs.items()},
        outputs={name: each.tolist() for name, each in outputs.items()},
        rtol=1e-3,
        atol=1e-4,
    )
