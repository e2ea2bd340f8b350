"""A transformer that fills in what is unknown of a series (masked modelling; blocks as in Vaswani et al. 2017, norm first)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.models.formats._base import Tensor

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

EPSILON = 1e-5


class MaskedSeriesConfig(BaseModel):
    """What the weights are weights of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int = Field(ge=2, le=4096, description="Values of a series.")
    width: int = Field(ge=1, le=2048, description="Features of a value.")
    blocks: int = Field(ge=1, le=48, description="Blocks of attention and perceptron.")
    heads: int = Field(ge=1, le=64, description="Heads of attention; they divide the width.")

    @model_validator(mode="after")
    def _heads_divide(self) -> MaskedSeriesConfig:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}.")
        return self


class MaskedSeriesArchitecture:
    """Tensors ``value``, ``unknown``, ``place``, ``<b>.{query,key,mix,up,down}``, norms and ``read``."""

    name: ClassVar[str] = "masked_series"
    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = MaskedSeriesConfig

    def shapes(self, config: MaskedSeriesConfig) -> dict[str, tuple[int, ...]]:
        """Return which tensors it needs. See :class:`~genesis_workbench.models.architectures._base.Architecture`."""
        wide = config.width
        layers = {"value": (1, wide), "read": (wide, 1)}
        shapes: dict[str, tuple[int, ...]] = {"unknown": (wide,), "place": (config.length, wide)}
        norms = ["norm"]
        for b in range(config.blocks):
            layers |= {f"{b}.attend": (wide, 3 * wide), f"{b}.mix": (wide, wide)}
            layers |= {f"{b}.up": (wide, 4 * wide), f"{b}.down": (4 * wide, wide)}
            norms += [f"{b}.norm.0", f"{b}.norm.1"]
        for name, (takes, gives) in layers.items():
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (takes, gives), (gives,)
        for name in norms:
            shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (wide,)
        return shapes

    def build(
        self, config: MaskedSeriesConfig, weights: Mapping[str, np.ndarray], signature: Signature
    ) -> MaskedSeriesModel:
        """Make it runnable."""
        return MaskedSeriesModel(config, weights, signature)


class MaskedSeriesModel:
    """Takes ``values`` and ``known`` (1 where a value is known, else 0), both (series, length); gives all values."""

    def __init__(
        self, config: MaskedSeriesConfig, weights: Mapping[str, np.ndarray], signature: Signature
    ) -> None:
        self._config, self._weights = config, weights
        if len(signature.outputs) != 1:
            raise VerificationFailed(
                f"The network has one output; the signature has {len(signature.outputs)}."
            )
        self.inputs = tuple(Tensor(name, "float32", (None, config.length)) for name in ("values", "known"))
        self.outputs = (Tensor(signature.outputs[0].name, "float32", (None, config.length)),)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return the output by name."""
        import numpy as np

        values, known = (np.asarray(inputs[name], "float32") for name in ("values", "known"))
        if values.ndim != 2 or values.shape[1] != self._config.length or known.shape != values.shape:
            raise InvalidInput(
                f"The model takes values and known of the shape (series, {self._config.length}); they have {values.shape} and "
                f"{known.shape}."
            )
        if not np.isin(known, (0, 1)).all() or not known.any(axis=1).all():
            raise InvalidInput("'known' must be 0 or 1, and at least one value of each series must be known.")
        w = self._weights
        count = known.sum(1, keepdims=True)
        mean = (values * known).sum(1, keepdims=True) / count
        scale = np.sqrt((((values - mean) * known) ** 2).sum(1, keepdims=True) / count + EPSILON)
        x = ((values - mean) / scale * known)[..., None]
        hidden = (
            self._linear("value", x) * known[..., None] + w["unknown"] * (1 - known[..., None]) + w["place"]
        )
        for b in range(self._config.blocks):
            hidden = hidden + self._attended(b, self._norm(f"{b}.norm.0", hidden))
            bent = _silu(self._linear(f"{b}.up", self._norm(f"{b}.norm.1", hidden)))
            hidden = hidden + self._linear(f"{b}.down", bent)
        answer = self._linear("read", self._norm("norm", hidden))[..., 0] * scale + mean
        return {self.outputs[0].name: answer.astype("float32")}

    def _attended(self, block: int, x: np.ndarray) -> np.ndarray:
        import numpy as np

        batch, length, wide = x.shape
        heads = self._config.heads
        shape = (batch, length, 3, heads, wide // heads)
        query, key, value = self._linear(f"{block}.attend", x).reshape(shape).transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(wide // heads)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        return self._linear(f"{block}.mix", mixed.transpose(0, 2, 1, 3).reshape(batch, length, wide))

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        answer: np.ndarray = x @ self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return answer

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        import numpy as np

        centred = x - x.mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        answer: np.ndarray = unit * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return answer


def _silu(x: np.ndarray) -> np.ndarray:
    import numpy as np

    bent: np.ndarray = x / (1 + np.exp(-np.clip(x, -80, 80)))
    return bent
