"""The network in torch: the same computation as the zoo's architecture ``schnet``."""

from __future__ import annotations

import math

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genesis_workbench.models.architectures.schnet import SchnetConfig


class Pair(torch.nn.Module):
    """Two layers with a SiLU between them."""

    def __init__(self, takes: int, wide: int, gives: int) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(takes, wide), torch.nn.Linear(wide, gives)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return both layers of x."""
        return self.second(functional.silu(self.first(x)))


class Interaction(torch.nn.Module):
    """What an atom learns of its neighbours, by filters that depend on their distances."""

    def __init__(self, config: SchnetConfig) -> None:
        super().__init__()
        wide = config.features
        self.filter, self.out = Pair(config.basis, wide, wide), Pair(wide, wide, wide)
        self.enter = torch.nn.Linear(wide, wide, bias=False)

    def forward(
        self, hidden: torch.Tensor, neighbours: torch.Tensor, spread: torch.Tensor, seen: torch.Tensor
    ) -> torch.Tensor:
        """Return the atoms' features after it, shape (structures, atoms, features)."""
        batch = torch.arange(len(hidden), device=hidden.device)[:, None, None]
        others = self.enter(hidden)[batch, neighbours]
        return hidden + self.out((others * self.filter(spread) * seen).sum(dim=2))


class Schnet(torch.nn.Module):
    """Graphs in, a property for each atom out, in standard units."""

    def __init__(self, config: SchnetConfig, *, recompute: bool = False) -> None:
        super().__init__()
        self.config, self.recompute = config, recompute
        self.embed = torch.nn.Embedding(config.elements, config.features)
        self.blocks = torch.nn.ModuleList(Interaction(config) for _ in range(config.blocks))
        self.read = Pair(config.features, config.features, 1)
        centres = torch.linspace(0, config.cutoff, config.basis)
        self.register_buffer("centres", centres, persistent=False)

    def forward(
        self, numbers: torch.Tensor, neighbours: torch.Tensor, distances: torch.Tensor
    ) -> torch.Tensor:
        """Return one number for each structure: the mean over its atoms."""
        cutoff = self.config.cutoff
        spread = torch.exp(
            -0.5 * ((distances[..., None] - self.centres) / (cutoff / (self.config.basis - 1))).square()
        )
        near = (distances > 0) & (distances < cutoff)
        seen = torch.where(near, 0.5 * (torch.cos(math.pi * distances / cutoff) + 1), 0)[..., None]
        hidden = self.embed(numbers)
        for block in self.blocks:
            if self.recompute and self.training:
                hidden = checkpoint(block, hidden, neighbours, spread, seen, use_reentrant=False)
            else:
                hidden = block(hidden, neighbours, spread, seen)
        atoms = (numbers > 0).to(hidden.dtype)
        return (self.read(hidden)[..., 0] * atoms).sum(1) / atoms.sum(1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights by the names of the zoo's architecture."""
        found = {"embed": self.embed.weight, **_layers("read", self.read)}
        for number, block in enumerate(self.blocks):
            found |= _layers(f"{number}.filter", block.filter) | _layers(f"{number}.out", block.out)
            found[f"{number}.in"] = block.enter.weight.T
        return {name: each.detach().clone().contiguous() for name, each in found.items()}

    def take(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over weights by those names."""
        with torch.no_grad():
            self.embed.weight.copy_(tensors["embed"])
            for name, pair in [("read", self.read)] + [
                (f"{number}.{part}", getattr(block, part))
                for number, block in enumerate(self.blocks)
                for part in ("filter", "out")
            ]:
                for layer, linear in enumerate((pair.first, pair.second)):
                    linear.weight.copy_(tensors[f"{name}.{layer}.weight"].T)
                    linear.bias.copy_(tensors[f"{name}.{layer}.bias"])
            for number, block in enumerate(self.blocks):
                block.enter.weight.copy_(tensors[f"{number}.in"].T)


def _layers(name: str, pair: Pair) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{number}.{part}": linear.weight.T if part == "weight" else linear.bias
        for number, linear in enumerate((pair.first, pair.second))
        for part in ("weight", "bias")
    }
