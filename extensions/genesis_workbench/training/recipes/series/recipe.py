"""The recipe: pretrain on windows of several datasets with values hidden at random, then learn to forecast one of few examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.architectures.masked_series import MaskedSeriesConfig
from genesis_workbench.models.formats.safetensors import SafetensorsFormat
from genesis_workbench.models.record import Metric, ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.training.artifact import weights_artifact
from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.feeding import everything
from genesis_workbench.training.recipe import Data, Parent, Product
from genesis_workbench.training.shards import MemoryShards
from genesis_workbench.training.utilisation import transformer_flops

from . import windows
from .network import MaskedSeries, standard


class SeriesConfig(Configuration):
    """What the model of series can be told besides."""

    epochs: int = Field(30, gt=0, description="How often every sample is seen.")
    batch_size: int = Field(64, gt=0, description="Samples of one step, over all processes together.")
    task: Literal["pretrain", "forecast"] = Field(
        "pretrain",
        description="Fill in what was hidden at random, or forecast the last values of each window.",
    )
    length: int = Field(36, ge=4, le=4096, description="Values of a window.")
    horizon: int = Field(12, gt=0, description="Values that are forecast, the last of a window.")
    hidden_share: float = Field(0.4, gt=0, lt=1, description="Share of values that pretraining hides.")
    most_windows: int = Field(
        2000,
        gt=0,
        description="Most windows that pretraining takes of each dataset, a fifth of them to validate and test.",
    )
    labelled: int = Field(40, ge=4, description="Examples that forecasting learns from.")
    held_out: float = Field(
        0.4, gt=0, lt=1, description="Share of a series, its end, that forecasting is tested on."
    )
    width: int = Field(48, gt=0, le=2048, description="Features of a value.")
    blocks: int = Field(3, gt=0, le=48, description="Blocks of attention and perceptron.")
    heads: int = Field(4, gt=0, le=64, description="Heads of attention; they divide the width.")


class SeriesModel:
    """Learns what series look like, or how one goes on."""

    name: ClassVar[str] = "series"
    title: ClassVar[str] = (
        "a masked transformer of series: pretrained over datasets, fine-tuned to forecast one"
    )
    Config: ClassVar[type[SeriesConfig]] = SeriesConfig

    def data(self, config: SeriesConfig, opened: Sequence[Any], folder: Path) -> Data:
        """Return windows: of all datasets to pretrain, or of the one that is forecast, cut apart in time."""
        if not opened or (config.task == "forecast" and len(opened) != 1):
            raise InvalidInput(
                f"To {config.task} takes {'one dataset' if config.task == 'forecast' else 'datasets with series'}; "
                f"{len(opened)} were given."
            )
        return _pretraining(config, opened) if config.task == "pretrain" else _forecasting(config, opened[0])

    def model(self, config: SeriesConfig, data: Data, parent: Parent | None) -> torch.nn.Module:
        """Return the network; with the parent's weights, where there is one."""
        self._config = config
        model = MaskedSeries(_declared(config), recompute=config.recompute_activations)
        if parent is not None:
            model.take(parent.weights)
        return model

    def losses(self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean squared error over the hidden values, in units of the known ones' spread."""
        values = batch["values"]
        known = self._known(values)
        x, _, _ = standard(values, known)
        off = (model(x, known) - x).square() * (1 - known)
        return off.sum(1) / (1 - known).sum(1)

    def flops(self, model: MaskedSeries) -> float:
        """Return floating-point operations of one window, forward and backward."""
        told = model.config
        matrices = sum(each.weight.numel() for each in model.modules() if isinstance(each, torch.nn.Linear))
        return transformer_flops(matrices, told.blocks, told.width, told.length)

    def product(self, model: MaskedSeries, config: SeriesConfig, data: Data) -> Product:
        """Return the network for the zoo, beside the plain ways to fill in or forecast."""
        values = next(everything(data.test, 10**6))["values"]
        known = self._known(values)
        artifact = weights_artifact("masked_series", _declared(config), model.tensors())
        unit = data.facts["unit"] if config.task == "forecast" else ""
        signature = _signature(config, unit)
        card = _card(config, data, _errors(model, values, known, config), unit)
        return Product(
            "safetensors", artifact, signature, card, _self_test(artifact, signature, values, known)
        )

    def _known(self, values: torch.Tensor) -> torch.Tensor:
        config = self._config
        if config.task == "forecast":
            known = torch.ones_like(values)
            known[:, -config.horizon :] = 0
            return known
        known = (torch.rand(values.shape).to(values.device) > config.hidden_share).float()
        # Half of the windows lose a whole stretch at their end instead: what forecasting will ask for.
        known[::2] = 1
        known[::2, -config.horizon :] = 0
        known[:, 0], known[:, -1] = 1, 0  # something is known of each, and something hidden
        return known


def _pretraining(config: SeriesConfig, opened: Sequence[Any]) -> Data:
    random = np.random.default_rng([config.seed, 1])
    found = [
        windows.parts(windows.series(each), config.length, config.most_windows, random) for each in opened
    ]
    together = [np.concatenate(kind) for kind in zip(*found, strict=True)]
    if not all(len(kind) for kind in together):
        raise InvalidInput(
            f"None of the series has {3 * config.length} values: there would be no windows of {config.length} of another time to "
            "validate and test on. Choose a smaller length, or add a longer series."
        )
    train, validation, test = (MemoryShards({"values": kind}, 512) for kind in together)
    return Data(train, validation, test, {"windows": [len(each[0]) for each in found]})


def _forecasting(config: SeriesConfig, opened: Any) -> Data:
    found = windows.series(opened)
    if len(found) != 1:
        raise InvalidInput("To forecast takes one series; this dataset has many. Pretrain on it instead.")
    whole = found[0]
    cut = int(len(whole) * (1 - config.held_out))
    early = np.lib.stride_tricks.sliding_window_view(whole[:cut], config.length)
    late = np.lib.stride_tricks.sliding_window_view(whole[cut:], config.length)
    random = np.random.default_rng([config.seed, 2])
    rows = random.permutation(len(early))[: config.labelled]
    if len(rows) < 4 or not len(late):
        raise InvalidInput(f"The series has {len(whole)} values: too few for windows of {config.length}.")
    held = max(1, len(rows) // 4)  # of the labelled ones: nothing else may decide when to stop
    parts = (early[rows[held:]], early[rows[:held]], late)
    train, validation, test = (MemoryShards({"values": np.ascontiguousarray(part)}, 512) for part in parts)
    units = (
        {str(unit) for unit in (opened.attrs.get("units") or {}).values()}
        if hasattr(opened, "attrs")
        else set()
    )
    return Data(train, validation, test, {"unit": units.pop() if len(units) == 1 else ""})


def _declared(config: SeriesConfig) -> MaskedSeriesConfig:
    return MaskedSeriesConfig(
        length=config.length, width=config.width, blocks=config.blocks, heads=config.heads
    )


def _errors(
    model: MaskedSeries, values: torch.Tensor, known: torch.Tensor, config: SeriesConfig
) -> dict[str, float]:
    """Return root mean square errors over the hidden values: of the network and of the plain ways."""
    x, mean, scale = standard(values, known)
    hidden = 1 - known
    answers = {"network": model(x, known) * scale + mean, "mean of what is known": mean.expand_as(values)}
    if config.task == "forecast" and config.length - config.horizon >= 12 >= config.horizon:
        before = torch.roll(values, 12, dims=1)
        answers["same month a year before"] = before
    unit = scale if config.task == "pretrain" else torch.ones_like(scale)
    return {
        name: float((((each - values) / unit).square() * hidden).sum().div(hidden.sum()).sqrt())
        for name, each in answers.items()
    }


def _signature(config: SeriesConfig, unit: str) -> Signature:
    shape = (None, config.length)
    return Signature(
        inputs=(
            TensorSpec(name="values", shape=shape, unit=unit, description="One value a month; any number where unknown"),
            TensorSpec(name="known", shape=shape, low=0, high=1, description="1 where the value is known, else 0"),
        ),
        outputs=(TensorSpec(name="filled", shape=shape, unit=unit, description="All values, the unknown ones filled in"),),
    )  # fmt: skip


def _card(config: SeriesConfig, data: Data, errors: Mapping[str, float], unit: str) -> ModelCard:
    pretrain = config.task == "pretrain"
    seen = (
        "of times and places that it was not trained on, units of their spread"
        if pretrain
        else "of a time after all that it was trained on"
    )
    where = f"{sum(data.test.counts)} windows {seen}"
    doing = (
        f"fill in series of {config.length} values"
        if pretrain
        else f"forecast the last {config.horizon} of {config.length} values"
    )
    return ModelCard(
        title="A masked transformer of monthly series" if pretrain else "A forecast of a monthly series",
        what_for=f"To {doing}" + ("; to be fine-tuned on a series with few examples." if pretrain else "."),
        trained_on=f"{sum(data.train.counts):,} windows of the datasets in its lineage, as published.",
        metrics=tuple(
            Metric(name=f"RMSE, {name}", value=value, unit=unit, data=where) for name, value in errors.items()
        ),
        limits="Series like those it was trained on. A forecast has no uncertainty: compare its error with the plain ways.",
        licence="BSD-3-Clause; the data have licences of their own",
    )


def _self_test(artifact: bytes, signature: Signature, values: torch.Tensor, known: torch.Tensor) -> SelfTest:
    """Return windows with the answers of the architecture that will run it, not of torch."""
    inputs = {"values": values[:3].numpy(), "known": known[:3].numpy()}
    outputs = SafetensorsFormat().load(artifact, signature).run(inputs)
    return SelfTest(
        inputs={name: each.tolist() for name, each in inputs.items()},
        outputs={name: each.tolist() for name, each in outputs.items()},
        rtol=1e-3,
        atol=1e-3,
    )
