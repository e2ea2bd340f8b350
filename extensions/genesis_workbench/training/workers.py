"""The processes of one run: who this one is, how they agree, and how the model is laid over them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.place import launched, meeting


@dataclass(frozen=True)
class Workers:
    """This process among those of the run.

    Attributes
    ----------
    rank, count : int
        Number of this process, from 0, and how many there are.
    device : torch.device
        Where it computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def agree(self, wish: int) -> int:
        """Return the greatest of what all processes wish, in each of them."""
        if self.count == 1:
            return wish
        wishes = torch.tensor([wish], device=self.device)
        distributed.all_reduce(wishes, op=distributed.ReduceOp.MAX)
        return int(wishes.item())

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, in each of them."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def wrap(self, model: torch.nn.Module, config: Configuration) -> torch.nn.Module:
        """Return the model laid over the processes, compiled where that was asked for."""
        model = model.to(self.device)
        if self.count > 1 and config.strategy == "fsdp":
            from torch.distributed.fsdp import fully_shard

            for child in model.children():
                if any(True for _ in child.parameters()):
                    fully_shard(child)
            fully_shard(model)
        elif self.count > 1:
            cuda = self.device.type == "cuda"
            model = torch.nn.parallel.DistributedDataParallel(
                model, device_ids=[self.device.index] if cuda else None
            )
        if on(config.compiled, self.device):
            compiled: torch.nn.Module = torch.compile(model)
            return compiled
        return model


def on(choice: str, device: torch.device) -> bool:
    """Whether something is to be used that is off on a processor unless asked for."""
    return device.type != "cpu" if choice == "auto" else choice == "on"


def bare(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model without what :meth:`Workers.wrap` put around it."""
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        model = model.module
    return model


def join(folder: Path, threads: int, per_node: int = 1) -> Workers:
    """Find the other processes: by torchrun's variables, or by those of whoever started them; alone without either.

    Parameters
    ----------
    folder : Path
        Of the job; all processes see it.
    threads : int
        Threads that this process may compute with.
    per_node : int
        Processes of each machine.
    """
    torch.set_num_threads(threads)
    rank, count, local, where = _place(folder, per_node)
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    if count > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, rank=rank, world_size=count, **where)
    return Workers(rank, count, device)


def leave(workers: Workers) -> None:
    """Let go of the other processes."""
    if workers.count > 1:
        distributed.destroy_process_group()


def _place(folder: Path, per_node: int) -> tuple[int, int, int, dict[str, Any]]:
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_RANK"]), {"init_method": "env://"}
    if one := launched(per_node):
        return one.rank, one.count, one.local, {"init_method": f"file://{meeting(folder)}"}
    return 0, 1, 0, {}
