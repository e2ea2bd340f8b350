"""The loop of one training run, in each of its processes."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.training import metrics, states
from genesis_workbench.training.checkpoint import Checkpoints
from genesis_workbench.training.configuration import Configuration
from genesis_workbench.training.feeding import Feeder, Held
from genesis_workbench.training.metrics import MetricsLog
from genesis_workbench.training.order import Order
from genesis_workbench.training.progress import Progress
from genesis_workbench.training.recipe import Data, Recipe
from genesis_workbench.training.utilisation import utilisation
from genesis_workbench.training.workers import Workers, on

FINISHED, EARLY, BUDGET, TOLD = "finished", "early stop", "budget", "told to end"
GO_ON, SAVE, END, SPENT = range(4)
"""What a process may wish for between two steps; of several wishes the greatest counts."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: why, how far it came, and in the first process the weights of the best validation."""

    ended: str
    progress: Progress
    best: dict[str, torch.Tensor] | None


class Wishes(Protocol):
    """What is asked of a run from outside; whoever has looked sets it back."""

    wish: int


class Signals:
    """SIGTERM asks for a checkpoint and the end, SIGUSR1 for a checkpoint; they are looked at between two steps."""

    def __init__(self) -> None:
        self.wish = GO_ON
        signal.signal(signal.SIGTERM, lambda *_: self._set(END))
        signal.signal(signal.SIGUSR1, lambda *_: self._set(SAVE))

    def _set(self, wish: int) -> None:
        self.wish = max(self.wish, wish)


@dataclass
class Training:
    """One run in this process.

    Attributes
    ----------
    recipe, config, data : Recipe, Configuration, Data
        What is trained, and on what.
    workers : Workers
        This process among those of the run.
    checkpoints : Checkpoints
        Claimed by the first process.
    log : MetricsLog or None
        Takes the curve; None in all processes but the first.
    signals : Signals
        What the scheduler asks for.
    nodes : int
        Machines of the job, for node-hours.
    """

    recipe: Recipe
    config: Configuration
    data: Data
    workers: Workers
    checkpoints: Checkpoints
    log: MetricsLog | None
    signals: Wishes
    nodes: int = 1

    def run(self, model: torch.nn.Module) -> Outcome:
        """Train `model` from its last checkpoint on."""
        order = Order(self.data.train.counts, self.config.seed, self.config.window)
        self._model = self.workers.wrap(model, self.config)
        self._optimiser = _optimiser(self._model, self.config, self.workers.device)
        self._steps = math.ceil(order.total / self.config.batch_size)  # of one epoch
        self._feeder = Feeder(self.data.train, order, self.workers.rank, self.workers.count)
        self._held = Held(self.data.validation, 4 * self.config.batch_size)
        self._speed = how(self.config, self.workers.device)
        flops = getattr(self.recipe, "flops", None)
        self._flops = flops(model) if flops is not None and self._speed["precision"] == "bfloat16" else 0.0
        self._loss = torch.zeros((), device=self.workers.device)  # sum since the last line
        self._count = 0  # samples in it
        self._begin(order)
        try:
            ended = self._epochs(order)
        finally:
            self._feeder.close()
        self._save(wait=True)
        self._say(metrics.END, ended=ended, node_hours=self.progress.node_hours)
        return Outcome(ended, self.progress, self._best if self.workers.first else None)

    def _begin(self, order: Order) -> None:
        saved = self.checkpoints.last()
        self.progress, self._best = Progress(), None
        if saved is not None:
            self.progress = Progress.model_validate(saved.progress)
            self.progress.check(self.config.seed, order.counts)
            states.load(self._model, self._optimiser, saved.state)
            self._best = saved.state["best"]
        self.progress.seed, self.progress.counts = self.config.seed, order.counts
        self._saved_step = self.progress.step if saved is not None else -1
        self._clock = self._saved_at = self._said_at = time.monotonic()
        self._say(
            metrics.START,
            epoch=self.progress.epoch,
            samples=order.total,
            processes=self.workers.count,
            damaged=self.checkpoints.damaged,
            **self._speed,
        )

    def _epochs(self, order: Order) -> str:
        while self.progress.epoch < self.config.epochs:
            if self.config.patience and self.progress.stale >= self.config.patience:
                return EARLY
            if self.progress.position < order.total:
                self._step(order)
            # Before anything is saved: a checkpoint of an epoch's last step holds its validation too.
            if self.progress.position == order.total:
                self._validate()
                self.progress.epoch, self.progress.position = self.progress.epoch + 1, 0
            wish = self.workers.agree(self._wish())
            if wish != GO_ON:
                self._save(wait=wish != SAVE)
            if wish in (END, SPENT) and self.progress.epoch < self.config.epochs:
                return TOLD if wish == END else BUDGET
        return FINISHED

    def _step(self, order: Order) -> None:
        start = self.progress.position
        stop = min(start + self.config.batch_size, order.total)
        batch, count = self._feeder.batch(self.progress.epoch, start, stop)
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate()
        losses = self._losses(batch, self.progress.step)
        loss = (losses if count else losses[:0]).sum()  # of a share that is empty, nothing counts
        # Processes average their gradients: so weighted, the average is that of the whole batch, whoever had how many.
        loss.backward(loss.new_tensor(self.workers.count / (stop - start)))
        if self.config.clip_norm:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self.config.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._loss += loss.detach()
        self._count += count
        self.progress.step, self.progress.position = self.progress.step + 1, stop
        if self.progress.step % self.config.log_steps == 0:
            self._say_curve()

    def _losses(self, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        device = self.workers.device
        _seed((self.config.seed * 1_000_003 + step) * 65_537 + self.workers.rank, device)
        low = self._speed["precision"] == "bfloat16"
        computing = torch.autocast(device.type, torch.bfloat16) if low else contextlib.nullcontext()
        with computing:
            return self.recipe.losses(
                self._model, {name: each.to(device, non_blocking=True) for name, each in batch.items()}
            ).float()

    def _wish(self) -> int:
        """Return what this process wishes for; only the first looks at the clock, so that all do the same."""
        wish = self.signals.wish
        if wish == SAVE:
            self.signals.wish = GO_ON
        if not self.workers.first:
            return wish
        now = time.monotonic()
        self.progress.node_hours += (now - self._clock) * self.nodes / 3600
        self._clock = now
        every = self.config.checkpoint_steps
        if now - self._saved_at >= self.config.checkpoint_s or (every and self.progress.step % every == 0):
            wish = max(wish, SAVE)
        budget = self.config.budget_node_hours
        return max(wish, SPENT) if budget and self.progress.node_hours >= budget else wish

    def _save(self, *, wait: bool) -> None:
        if self.progress.step == self._saved_step:
            return
        state = {**states.state(self._model, self._optimiser), "best": self._best}
        if self.workers.first:
            self.checkpoints.save(self.progress.step, state, self.progress.model_dump(mode="json"), wait=wait)
            self._say(metrics.CHECKPOINT, node_hours=self.progress.node_hours)
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()

    def _validate(self) -> None:
        """Measure the validation loss; keep the weights where it is the best so far."""
        self._model.eval()
        total = torch.zeros(2, device=self.workers.device)
        with torch.no_grad():
            # Every process takes all of them: shards may be fewer than processes, and FSDP needs the same steps in each.
            for number, batch in enumerate(self._held):
                losses = self._losses(batch, -1 - number)
                total += torch.stack([losses.sum(), losses.new_tensor(len(losses))])
        self._model.train()
        value = float((total[0] / total[1]).item())
        if not math.isfinite(value):
            raise InvalidInput(
                f"The validation loss is {value} after {self.progress.step} steps. Try a smaller learning_rate."
            )
        if self.progress.improves(value):
            self._best = states.model_state(self._model)
        self._say(metrics.VALIDATION, epoch=self.progress.epoch, loss=value, best=self.progress.best)

    def _learning_rate(self) -> float:
        step, total = self.progress.step, self._steps * self.config.epochs
        rate = self.config.learning_rate * min(1.0, (step + 1) / (self.config.warmup_steps + 1))
        if self.config.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
        return rate

    def _say_curve(self) -> None:
        total = self.workers.sum(torch.stack([self._loss, self._loss.new_tensor(self._count)]))
        loss, count = total.tolist()
        now = time.monotonic()
        speed = count / max(now - self._said_at, 1e-9)
        self._say(
            metrics.STEP,
            epoch=self.progress.epoch,
            loss=loss / count,
            samples_per_s=speed,
            node_hours=self.progress.node_hours,
            **self._utilisation(speed),
        )
        self._said_at = now
        self._loss.zero_()
        self._count = 0

    def _utilisation(self, samples_per_s: float) -> dict[str, float]:
        device = self._speed["device"]
        share = utilisation(self._flops, samples_per_s, device, count=self.workers.count)
        return {"utilisation": share} if self._flops and share is not None else {}

    def _say(self, kind: str, **values: Any) -> None:
        if self.log is not None:
            self.log.write(kind, self.progress.step, **values)


def how(config: Configuration, device: torch.device) -> dict[str, Any]:
    """Return what is really used of what speeds a run up on an accelerator: 'auto' is nothing of it on a processor."""
    low = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": "bfloat16" if low else "float32",
        "compiled": on(config.compiled, device),
        "fused": on(config.fused, device),
        "recomputed": config.recompute_activations,
    }


def _seed(seed: int, device: torch.device) -> None:
    """Seed torch's generator, so that nothing of its state has to be kept: the step alone says what comes.

    Not by torch.manual_seed, which takes milliseconds: it notes a traceback for each kind of accelerator.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _optimiser(model: torch.nn.Module, config: Configuration, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True if on(config.fused, device) else None,
    )
