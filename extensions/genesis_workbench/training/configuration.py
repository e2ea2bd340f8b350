"""What every recipe can be told: how long, how fast, how safely. A recipe adds fields of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Choice = Literal["auto", "on", "off"]


class Configuration(BaseModel):
    """How a model is trained; unknown names are errors. A recipe's configuration is a subclass with its own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**31, description="Every random number of the run follows from it.")
    epochs: int = Field(20, gt=0, description="How often every sample is seen.")
    batch_size: int = Field(64, gt=0, description="Samples of one step, over all processes together.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate after the warm-up.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="What becomes of it until the end.")
    warmup_steps: int = Field(20, ge=0, description="Steps over which the learning rate rises from nothing.")
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay (AdamW).")
    clip_norm: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 for no limit.")
    window: int = Field(8, gt=0, description="Shards that are shuffled together, and held in memory.")

    checkpoint_s: float = Field(
        30, gt=0, description="Seconds between two checkpoints: what a kill can cost."
    )
    checkpoint_steps: int = Field(0, ge=0, description="Steps between two checkpoints besides; 0 for none.")
    patience: int = Field(
        0, ge=0, description="Epochs without a better validation after which it ends; 0 for never."
    )
    budget_node_hours: float = Field(
        0,
        ge=0,
        description="Node-hours after which it ends with a checkpoint, all attempts together; 0 for no limit.",
    )
    log_steps: int = Field(10, gt=0, description="Steps between two lines of the training's curve.")

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of the computation; 'auto' is bfloat16 on an accelerator. Weights stay float32."
    )
    compiled: Choice = Field("auto", description="torch.compile; 'auto' is on with an accelerator.")
    fused: Choice = Field("auto", description="The fused optimiser; 'auto' is on with an accelerator.")
    recompute_activations: bool = Field(
        False, description="Compute activations again in the backward pass: less memory, more time."
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="Over several processes: a copy of the model in each (DDP), or a part of it (FSDP).",
    )
