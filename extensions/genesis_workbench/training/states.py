"""State of model and optimiser, by parameter names, whole: the same for one process, DDP and FSDP."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.distributed.checkpoint import state_dict as api

from genesis_workbench.training.workers import bare


def state(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return both states. All processes must call it; only the first gets the tensors where there are several."""
    weights, moments = api.get_state_dict(bare(model), optimiser, options=_whole())
    return {"model": weights, "optimiser": moments}


def load(model: torch.nn.Module, optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take over what :func:`state` gave, in every process."""
    api.set_state_dict(
        bare(model),
        optimiser,
        model_state_dict=saved["model"],
        optim_state_dict=saved["optimiser"],
        options=api.StateDictOptions(full_state_dict=True),
    )


def model_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of the weights, whole."""
    weights = api.get_model_state_dict(bare(model), options=_whole())
    return {name: each.detach().cpu().clone() for name, each in weights.items()}


def _whole() -> api.StateDictOptions:
    # Offloading under DDP leaves all but the first process without tensors, which none of them needs.
    return api.StateDictOptions(full_state_dict=True, cpu_offload=distributed.is_initialized())
