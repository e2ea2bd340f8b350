"""Training against a bare torch loop of the same model on the same data, and pretraining against training from scratch.

Goals: at least 0.95 of the bare loop's samples a second with checkpoints included; a forecast whose error is smaller than
that of the same network trained from scratch, over five seeds. Both sides run in this process, on one thread, in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.sources.starter import StarterSource
from genesis_workbench.training.checkpoint import Checkpoints
from genesis_workbench.training.feeding import everything
from genesis_workbench.training.loop import GO_ON, Outcome, Training
from genesis_workbench.training.metrics import MetricsLog
from genesis_workbench.training.recipe import Parent, find
from genesis_workbench.training.workers import Workers

HERE = Workers(0, 1, torch.device("cpu"))
PRETRAINED_ON = ("mauna-loa-co2", "sunspots", "linke-turbidity")
FORECAST = "nino12-sst"
CYCLES = 2
"""Of pretraining, 30 epochs each."""
RATES = (3e-4, 1e-3, 3e-3)
"""Learning rates that both sides try; each takes, for each seed, the one with the best validation."""
STEPS = 300
"""Of each fine-tuning, and of each training from scratch; the weights of the best validation count."""


class Undisturbed:
    """Nobody asks for anything."""

    wish = GO_ON


def main() -> None:
    """Measure, and print one JSON line for each goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labelled", type=int, nargs="+", default=[12], help="examples to learn from")
    parser.add_argument(
        "--folder", type=Path, help="keep what was trained here, and go on with what is there"
    )
    parser.add_argument("--only", choices=["throughput", "transfer"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    records = {record.id: record for page in StarterSource().pages() for record in page.records}
    if chosen.only != "transfer":
        throughput(records, chosen.rounds)
    if chosen.only != "throughput":
        with tempfile.TemporaryDirectory() as folder:
            transfer(records, chosen.seeds, chosen.labelled, chosen.folder or Path(folder))


def throughput(records: dict[str, Any], rounds: int) -> None:
    """Time epochs of the surrogate's ensemble, ours with a checkpoint each second, in turn with the bare loop."""
    told = {"epochs": 12, "shards": 16, "window": 16, "checkpoint_s": 1.0, "members": 5, "width": 64}
    recipe = find("surrogate")[0]()
    config = recipe.Config.model_validate(told)
    with tempfile.TemporaryDirectory() as folder:
        data = recipe.data(config, [open_dataset(records["cec-pv-modules"])], Path(folder))
        samples = sum(data.train.counts) * config.epochs
        speeds: dict[str, list[float]] = {"ours": [], "bare": []}
        written = 0
        for number in range(-1, rounds):  # the round before the first warms both sides up
            for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
                began = time.perf_counter()
                if side == "ours":
                    place = Path(folder) / f"round{number}"
                    place.mkdir()
                    outcome = run(recipe, config, data, place)
                    assert outcome.progress.step == samples // config.batch_size
                    written += (place / "metrics.jsonl").read_text().count('"checkpoint"')
                else:
                    bare(recipe, config, data)
                if number >= 0:
                    speeds[side].append(samples / (time.perf_counter() - began))
    ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds["bare"], strict=True))
    figures = {
        "samples_per_s": {side: [round(each) for each in found] for side, found in speeds.items()},
        "checkpoints": written,
        "steps": samples // config.batch_size,
    }
    print(json.dumps({"benchmark": "training", "ratio": round(ratio, 3), "goal": 0.95, "figures": figures}))


def run(recipe: Any, config: Any, data: Any, folder: Path, parent: Parent | None = None) -> Outcome:
    """Train as a job does, in this process."""
    torch.manual_seed(config.seed)
    model = recipe.model(config, data, parent)
    checkpoints, log = Checkpoints(folder / "checkpoints"), MetricsLog(folder / "metrics.jsonl")
    checkpoints.claim()
    try:
        return Training(recipe, config, data, HERE, checkpoints, log, Undisturbed()).run(model)
    finally:
        checkpoints.close()
        log.close()


def bare(recipe: Any, config: Any, data: Any) -> None:
    """Train as a plain script does: everything in memory, torch's shuffling, no checkpoint; validated as often."""
    torch.manual_seed(config.seed)
    model = recipe.model(config, data, None)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    batches = list(everything(data.train, 10**9))
    columns = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    held = list(everything(data.validation, 4 * config.batch_size))
    count = len(next(iter(columns.values())))
    for _ in range(config.epochs):
        for rows in torch.randperm(count).split(config.batch_size):
            loss = recipe.losses(model, {name: column[rows] for name, column in columns.items()}).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimiser.step()
        with torch.no_grad():
            torch.cat([recipe.losses(model, batch) for batch in held]).mean().item()


def transfer(records: dict[str, Any], seeds: int, labelled: list[int], folder: Path) -> None:
    """Forecast with the same network, the same few examples, steps and rates to try: pretrained, and from scratch."""
    recipe = find("series")[0]()
    target = [open_dataset(records[FORECAST])]
    parent = pretrained(recipe, [open_dataset(records[name]) for name in PRETRAINED_ON], folder)
    config = recipe.Config.model_validate({"task": "forecast"})
    data = recipe.data(config, target, folder)
    untouched = errors(recipe, recipe.model(config, data, parent), config, data)["network"]
    for examples in labelled:
        rows = []
        for seed in range(seeds):  # chooses the examples, the weights to start from and the order
            row: dict[str, float] = {}
            for side, start in (("pretrained", parent), ("scratch", None)):
                row |= tuned(recipe, target, start, side, seed, examples, folder)
            rows.append(row)
            print(json.dumps({"labelled": examples, "seed": seed, **row}), flush=True)
        tell(rows, examples, untouched)


def tuned(
    recipe: Any, target: list[Any], start: Parent | None, side: str, seed: int, labelled: int, folder: Path
) -> dict[str, float]:
    """Train with each rate, and return the test error of the one with the best validation, beside the plain ways."""
    found = []
    steps = -(-(labelled - labelled // 4) // 8)  # of an epoch: a quarter of the examples is for validation
    for rate in RATES:
        told = {"task": "forecast", "batch_size": 8, "epochs": STEPS // steps, "checkpoint_s": 1e6}
        config = recipe.Config.model_validate(
            {**told, "seed": seed, "labelled": labelled, "learning_rate": rate}
        )
        data, place = recipe.data(config, target, folder), folder / f"{side}-{labelled}-{seed}-{rate}"
        place.mkdir(exist_ok=True)
        outcome = run(recipe, config, data, place, start)
        found.append((outcome.progress.best, rate, outcome.best, config, data))
    _, rate, weights, config, data = min(found, key=lambda each: each[0])
    model = recipe.model(config, data, None)
    model.load_state_dict(weights)
    row = {
        side if name == "network" else name: each
        for name, each in errors(recipe, model, config, data).items()
    }
    return {**row, f"{side}_rate": rate}


def errors(recipe: Any, model: torch.nn.Module, config: Any, data: Any) -> dict[str, float]:
    """Return the test errors of a network and of the plain ways, by name."""
    with torch.no_grad():
        metrics = recipe.product(model.eval(), config, data).card.metrics
    return {each.name.removeprefix("RMSE, "): round(each.value, 3) for each in metrics}


def tell(rows: list[dict[str, float]], labelled: int, untouched: float) -> None:
    """Print the line of one number of examples."""
    means = {side: statistics.mean(row[side] for row in rows) for side in ("pretrained", "scratch")}
    figures = {
        "rmse_degC": rows,
        "pretrained, not fine-tuned": untouched,
        "means": {side: round(mean, 3) for side, mean in means.items()},
        "seeds_won": sum(row["pretrained"] < row["scratch"] for row in rows),
        "labelled": labelled,
        "steps": STEPS,
    }
    ratio = round(means["scratch"] / means["pretrained"], 3)
    print(json.dumps({"benchmark": "training_transfer", "ratio": ratio, "goal": 1.0, "figures": figures}))


def pretrained(recipe: Any, opened: list[Any], folder: Path) -> Parent:
    """Pretrain once, on datasets of which none is forecast; each cycle begins with the weights of the one before."""
    parent = None
    for cycle in range(CYCLES):
        config = recipe.Config.model_validate({"checkpoint_s": 30})
        data, place = recipe.data(config, opened, folder), folder / f"pretraining{cycle}"
        place.mkdir(exist_ok=True)
        outcome = run(recipe, config, data, place, parent)
        print(json.dumps({"cycle": cycle, "validation": outcome.progress.best}), flush=True)
        model = recipe.model(config, data, None)
        model.load_state_dict(outcome.best)
        parent = Parent("pretrained", model.tensors())
    assert parent is not None
    return parent


if __name__ == "__main__":
    main()
