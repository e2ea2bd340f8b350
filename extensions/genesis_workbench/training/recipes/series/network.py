"""The network in torch: the same computation as the zoo's architecture ``masked_series``."""

from __future__ import annotations

import math

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genesis_workbench.models.architectures.masked_series import EPSILON, MaskedSeriesConfig


class Block(torch.nn.Module):
    """Attention and perceptron, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width, EPSILON) for _ in range(2))
        self.attend, self.mix = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features after it, shape (series, length, width)."""
        batch, length, wide = x.shape
        parts = self.attend(self.norms[0](x)).view(batch, length, 3, self.heads, wide // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.mix(mixed.transpose(1, 2).reshape(batch, length, wide))
        return x + self.down(functional.silu(self.up(self.norms[1](x))))


class MaskedSeries(torch.nn.Module):
    """Series with unknown values in, all values out, in units of the known ones' mean and spread."""

    def __init__(self, config: MaskedSeriesConfig, *, recompute: bool = False) -> None:
        super().__init__()
        self.config, self.recompute = config, recompute
        self.value, self.read = torch.nn.Linear(1, config.width), torch.nn.Linear(config.width, 1)
        self.unknown = torch.nn.Parameter(torch.randn(config.width) * 0.02)
        self.place = torch.nn.Parameter(_waves(config.length, config.width))
        self.blocks = torch.nn.ModuleList(Block(config.width, config.heads) for _ in range(config.blocks))
        self.norm = torch.nn.LayerNorm(config.width, EPSILON)

    def forward(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return all values, shape (series, length), of x in standard units."""
        seen = known[..., None]
        hidden = self.value((x * known)[..., None]) * seen + self.unknown * (1 - seen) + self.place
        for block in self.blocks:
            if self.recompute and self.training:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            else:
                hidden = block(hidden)
        return self.read(self.norm(hidden))[..., 0]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights by the names of the zoo's architecture."""
        found = {"unknown": self.unknown, "place": self.place}
        for name, layer in self._layers().items():
            linear = isinstance(layer, torch.nn.Linear)
            found[f"{name}.weight"] = layer.weight.T if linear else layer.weight
            found[f"{name}.bias"] = layer.bias
        return {name: each.detach().clone().contiguous() for name, each in found.items()}

    def take(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over weights by those names."""
        with torch.no_grad():
            self.unknown.copy_(tensors["unknown"])
            self.place.copy_(tensors["place"])
            for name, layer in self._layers().items():
                weight = tensors[f"{name}.weight"]
                layer.weight.copy_(weight.T if isinstance(layer, torch.nn.Linear) else weight)
                layer.bias.copy_(tensors[f"{name}.bias"])

    def _layers(self) -> dict[str, torch.nn.Module]:
        found = {"value": self.value, "read": self.read, "norm": self.norm}
        for number, block in enumerate(self.blocks):
            found |= {f"{number}.{name}": getattr(block, name) for name in ("attend", "mix", "up", "down")}
            found |= {f"{number}.norm.{which}": norm for which, norm in enumerate(block.norms)}
        return found


def _waves(length: int, width: int) -> torch.Tensor:
    """Return waves of many lengths, from which places are told apart from the first step on (Vaswani et al. 2017, 3.5).

    Begun with small random numbers instead, hundreds of steps go by before anything is learnt.
    """
    turns = torch.arange(length)[:, None] * torch.exp(-math.log(1e4) * torch.arange(0, width, 2) / width)
    return torch.stack([torch.sin(turns), torch.cos(turns)], dim=2).flatten(1)[:, :width].clone()


def standard(values: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return series in units of what is known of them, with mean and spread, shape (series, 1)."""
    count = known.sum(1, keepdim=True)
    mean = (values * known).sum(1, keepdim=True) / count
    scale = torch.sqrt(((values - mean) * known).square().sum(1, keepdim=True) / count + EPSILON)
    return (values - mean) / scale, mean, scale
