"""A graph network over atoms and their distances: continuous-filter convolutions (SchNet, Schütt et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.models.formats._base import Tensor

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature


class SchnetConfig(BaseModel):
    """What the weights are weights of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: int = Field(ge=1, le=1024, description="Features of an atom.")
    blocks: int = Field(ge=1, le=12, description="Interactions.")
    basis: int = Field(ge=2, le=256, description="Gaussians that a distance is expanded in.")
    cutoff: float = Field(
        gt=0, le=20, description="Distance in angstrom from which atoms do not see each other."
    )
    elements: int = Field(119, ge=1, le=119, description="Atomic numbers that are embedded, 0 for no atom.")


class SchnetArchitecture:
    """Tensors ``embed``, ``reference``, ``<b>.filter.<0|1>.*``, ``<b>.in``, ``<b>.out.<0|1>.*`` and ``read.<0|1>.*``."""

    name: ClassVar[str] = "schnet"
    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = SchnetConfig

    def shapes(self, config: SchnetConfig) -> dict[str, tuple[int, ...]]:
        """Return which tensors it needs. See :class:`~genesis_workbench.models.architectures._base.Architecture`."""
        wide = config.features
        layers = {"read.0": (wide, wide), "read.1": (wide, 1)}
        shapes: dict[str, tuple[int, ...]] = {
            "embed": (config.elements, wide),
            "reference": (config.elements, 1),
        }
        for block in range(config.blocks):
            layers |= {f"{block}.filter.0": (config.basis, wide), f"{block}.filter.1": (wide, wide)}
            layers |= {f"{block}.out.0": (wide, wide), f"{block}.out.1": (wide, wide)}
            shapes[f"{block}.in"] = (wide, wide)
        for name, (takes, gives) in layers.items():
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (takes, gives), (gives,)
        return shapes

    def build(
        self, config: SchnetConfig, weights: Mapping[str, np.ndarray], signature: Signature
    ) -> SchnetModel:
        """Make it runnable."""
        return SchnetModel(config, weights, signature)


class SchnetModel:
    """Takes ``numbers`` (structures, atoms), ``neighbours`` and ``distances`` (structures, atoms, most neighbours).

    An atom number 0 and a distance 0 stand for nothing. The one output is a property of a structure, for each atom.
    """

    def __init__(self, config: SchnetConfig, weights: Mapping[str, np.ndarray], signature: Signature) -> None:
        self._config, self._weights = config, weights
        if len(signature.outputs) != 1:
            raise VerificationFailed(
                f"The network has one output; the signature has {len(signature.outputs)}."
            )
        self.inputs = (
            Tensor("numbers", "int64", (None, None)),
            Tensor("neighbours", "int64", (None, None, None)),
            Tensor("distances", "float32", (None, None, None)),
        )
        self.outputs = (Tensor(signature.outputs[0].name, "float32", (None,)),)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return the output by name."""
        import numpy as np

        numbers, neighbours, distances = (np.asarray(inputs[tensor.name]) for tensor in self.inputs)
        self._check(numbers, neighbours, distances)
        w = self._weights
        atoms = (numbers > 0)[..., None]
        spread, seen = _expanded(distances, self._config.basis, self._config.cutoff)
        hidden = w["embed"][numbers]
        batch = np.arange(len(numbers))[:, None, None]
        for block in range(self._config.blocks):
            filters = self._mlp(f"{block}.filter", spread) * seen
            others = (hidden @ w[f"{block}.in"])[batch, neighbours]
            hidden = hidden + self._mlp(f"{block}.out", (others * filters).sum(axis=2))
        each = (self._mlp("read", hidden) + w["reference"][numbers]) * atoms
        answer = each.sum(axis=(1, 2)) / atoms.sum(axis=(1, 2))
        return {self.outputs[0].name: answer.astype("float32")}

    def _mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        w = self._weights
        hidden = x @ w[f"{name}.0.weight"] + w[f"{name}.0.bias"]
        answer: np.ndarray = _silu(hidden) @ w[f"{name}.1.weight"] + w[f"{name}.1.bias"]
        return answer

    def _check(self, numbers: np.ndarray, neighbours: np.ndarray, distances: np.ndarray) -> None:
        shape = (*numbers.shape, distances.shape[-1] if distances.ndim else 0)
        if numbers.ndim != 2 or neighbours.shape != shape or distances.shape != shape:
            raise InvalidInput(
                f"The model cannot take numbers {numbers.shape}, neighbours {neighbours.shape} and distances {distances.shape}: give "
                "(structures, atoms) and twice (structures, atoms, neighbours)."
            )
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= self._config.elements:
            raise InvalidInput(
                f"Atomic numbers must be 0 to {self._config.elements - 1}; 0 stands for no atom."
            )
        if neighbours.min(initial=0) < 0 or neighbours.max(initial=0) >= max(numbers.shape[1], 1):
            raise InvalidInput("A neighbour must be the index of an atom of its structure.")
        if not (numbers > 0).any(axis=1).all():
            raise InvalidInput("A structure needs at least one atom.")


def _expanded(distances: np.ndarray, basis: int, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Return distances in Gaussians, and how much is seen over each distance: less and less towards the cutoff."""
    import numpy as np

    centres = np.linspace(0, cutoff, basis, dtype="float32")
    spread = np.exp(-0.5 * ((distances[..., None] - centres) / (cutoff / (basis - 1))) ** 2)
    near = (distances > 0) & (distances < cutoff)
    seen = np.where(near, 0.5 * (np.cos(np.pi * distances / cutoff) + 1), 0)
    return spread, seen[..., None]


def _silu(x: np.ndarray) -> np.ndarray:
    import numpy as np

    bent: np.ndarray = x / (1 + np.exp(-np.clip(x, -80, 80)))
    return bent
