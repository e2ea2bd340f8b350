"""A multilayer perceptron, or an ensemble of them with mean and spread (Lakshminarayanan et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.models.formats._base import Tensor

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature


class MlpConfig(BaseModel):
    """What the weights are weights of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: tuple[int, ...] = Field(
        min_length=2, max_length=20, description="Width of each layer, the inputs first and the outputs last."
    )
    activation: Literal["relu", "tanh", "silu"] = Field("tanh", description="Between layers.")
    members: int = Field(1, ge=1, le=64, description="Networks in the ensemble.")
    spread: bool = Field(
        False, description="Whether each output is followed by the members' standard deviation."
    )
    spread_factor: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="What the standard deviation is multiplied by, where it was calibrated.",
    )


class MlpArchitecture:
    """Tensors ``input.mean``, ``input.scale``, ``output.mean``, ``output.scale``, ``<i>.weight`` and ``<i>.bias``."""

    name: ClassVar[str] = "mlp"
    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = MlpConfig

    def shapes(self, config: MlpConfig) -> dict[str, tuple[int, ...]]:
        """Return which tensors it needs. See :class:`~genesis_workbench.models.architectures._base.Architecture`."""
        layers, members = config.layers, config.members
        ends = {"input": layers[0], "output": layers[-1]}
        shapes: dict[str, tuple[int, ...]] = {
            f"{end}.{part}": (width,) for end, width in ends.items() for part in ("mean", "scale")
        }
        for i, (wide, next_wide) in enumerate(pairwise(layers)):
            shapes[f"{i}.weight"], shapes[f"{i}.bias"] = (members, wide, next_wide), (members, 1, next_wide)
        return shapes

    def build(self, config: MlpConfig, weights: Mapping[str, np.ndarray], signature: Signature) -> MlpModel:
        """Make it runnable."""
        return MlpModel(config, weights, signature)


class MlpModel:
    """Inputs are columns in the order of the signature; so are outputs, each with its spread where there is one."""

    def __init__(self, config: MlpConfig, weights: Mapping[str, np.ndarray], signature: Signature) -> None:
        self._config, self._weights = config, weights
        per_output = 2 if config.spread else 1
        if (len(signature.inputs), len(signature.outputs)) != (
            config.layers[0],
            config.layers[-1] * per_output,
        ):
            raise VerificationFailed(
                f"The network has {config.layers[0]} inputs and {config.layers[-1] * per_output} outputs; the signature "
                f"has {len(signature.inputs)} and {len(signature.outputs)}."
            )
        if config.spread and config.members < 2:
            raise VerificationFailed("One network has no spread: an ensemble needs at least two members.")
        self.inputs = tuple(Tensor(spec.name, "float32", (None,)) for spec in signature.inputs)
        self.outputs = tuple(Tensor(spec.name, "float32", (None,)) for spec in signature.outputs)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name."""
        import numpy as np

        w = self._weights
        try:
            x = np.stack([np.asarray(inputs[tensor.name]) for tensor in self.inputs], axis=-1)
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"The model cannot take these inputs: {error}.") from error
        hidden = ((x - w["input.mean"]) / w["input.scale"])[None]
        last = len(self._config.layers) - 2
        for i in range(last + 1):
            hidden = hidden @ w[f"{i}.weight"] + w[f"{i}.bias"]
            if i < last:
                hidden = _activated(hidden, self._config.activation)
        members = hidden * w["output.scale"] + w["output.mean"]
        columns = [members.mean(axis=0)]
        if self._config.spread:
            columns.append(members.std(axis=0, ddof=1) * self._config.spread_factor)
        answer = np.stack(columns, axis=-1).reshape(len(x), -1).astype("float32")
        return {tensor.name: answer[:, i] for i, tensor in enumerate(self.outputs)}


def _activated(x: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    if name == "tanh":
        bent: np.ndarray = np.tanh(x)
        return bent
    positive: np.ndarray = np.maximum(x, 0) if name == "relu" else x / (1 + np.exp(-np.clip(x, -80, 80)))
    return positive
