"""The zoo against what others do with the same model: loading, predicting block by block, and answering many who ask at once.

Loading, verification included, against ``mlflow.pyfunc.load_model`` and ``bioimageio.core``: *first* is a process on a machine that never
saw the model, *cold* a new process, *warm* again in the same process; each ends with the answer to the shipped example. The peers read
what the zoo exports, in environments of their own, with the same onnxruntime. Goals: 3 times faster warm, not slower cold.
Prediction over Dask blocks and tables against a plain loop over onnxruntime on the same numbers in memory, one thread each. Goal: 0.95.
Dynamic batching: people who each ask the prediction service one sample after the other, all at once, with batches and without; the service's own
code and the process that runs the model, without HTTP. No goal: it should not lose with one person, and win with many.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

ROOT = Path(__file__).parents[2]
MODEL = "clear-sky-irradiation@1"
WARM = 30
SIZES = {"65,536 rows": 65_536, "16,384 rows": 16_384}
"""Blocks of the loop over onnxruntime, beside those of Dask: the fastest counts."""

# Each prints the processor and wall seconds of the first load and the medians of the later ones, with one answer each time.
CLOCK = """
import json, statistics, sys, time
def told(load):
    began, used = time.perf_counter(), time.process_time()
    load()
    first = [time.perf_counter() - started, time.process_time()]
    walls, cpus = [], []
    for _ in range(int(sys.argv[1])):
        began, used = time.perf_counter(), time.process_time()
        load()
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - used)
    print(json.dumps({"first": first, "warm": [statistics.median(walls), statistics.median(cpus)]}))
started = time.perf_counter()
"""
OURS = """
import genesis_workbench as gw
def load():
    import numpy as np
    model = gw.model(sys.argv[2])
    test = model.version.self_test.inputs
    return model.run({spec.name: np.asarray(test[spec.name], spec.dtype) for spec in model.signature.inputs})
told(load)
"""
MLFLOW = """
import mlflow
def load():
    import numpy as np, pathlib
    example = json.loads((pathlib.Path(sys.argv[2]) / "input_example.json").read_text())
    return mlflow.pyfunc.load_model(sys.argv[2]).predict({name: np.asarray(each, "float32") for name, each in example.items()})
told(load)
"""
BIOIMAGEIO = """
from bioimageio.core import load_model, create_prediction_pipeline
from bioimageio.core.digest_spec import get_test_input_sample
def load():
    model = load_model(sys.argv[2] + "/rdf.yaml")
    with create_prediction_pipeline(model, weights_format="onnx") as pipeline:
        return pipeline.predict_sample_without_blocking(get_test_input_sample(model))
told(load)
"""


def main() -> None:
    """Measure, and print one JSON line for each goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--only", choices=["load", "blocks", "batching"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENESIS_STATE"] = f"{folder}/state"
        if chosen.only in (None, "load"):
            load(Path(folder), chosen.rounds)
        if chosen.only in (None, "blocks"):
            blocks(chosen.rounds, chosen.rows)
        if chosen.only in (None, "batching"):
            batching(chosen.rounds)


def say(name: str, ratio: float, goal: float, figures: dict[str, Any]) -> None:
    """Print one result."""
    print(
        json.dumps({"benchmark": name, "ratio": round(ratio, 3), "goal": goal, "figures": figures}),
        flush=True,
    )


def load(folder: Path, rounds: int) -> None:
    """Time loading in new processes, in turn."""
    import genesis_workbench as gw
    from system.peers.conftest import environment

    for layout in ("mlflow", "bioimageio"):
        gw.models.export(MODEL, folder / layout, layout=layout)
    state = folder / "state"
    sides = {
        "ours": (Path(sys.executable), OURS, MODEL),
        "mlflow": (environment("mlflow"), MLFLOW, str(folder / "mlflow")),
        "bioimageio": (environment("bioimageio"), BIOIMAGEIO, str(folder / "bioimageio")),
    }
    found: dict[str, list[dict[str, list[float]]]] = {name: [] for name in sides}
    fresh = []
    for number in range(-1, rounds):  # the round before the first fills the caches of the disk
        for name, (python, script, what) in sides.items():
            seen = _loaded(python, script, what, state)
            if number >= 0:
                found[name].append(seen)
        if number >= 0:
            for mark in (state / "verified").iterdir():
                mark.unlink()
            fresh.append(_loaded(Path(sys.executable), OURS, MODEL, state)["first"])
    figures: dict[str, Any] = {"first_s": _median(fresh)}
    for kind in ("first", "warm"):
        figures["cold_s" if kind == "first" else "warm_s"] = {
            name: _median([each[kind] for each in runs]) for name, runs in found.items()
        }
    for kind, goal in (("cold", 1.0), ("warm", 3.0)):
        walls = {name: each[0] for name, each in figures[f"{kind}_s"].items()}
        ours = walls.pop("ours")
        say(f"models_{kind}_load", min(walls.values()) / ours, goal, figures)


def _loaded(python: Path, script: str, what: str, state: Path) -> dict[str, list[float]]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "OMP_NUM_THREADS") if name in os.environ
    }
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", CLOCK + script, str(WARM), what],
        capture_output=True, text=True, check=False, timeout=300, cwd=state.parent,
        env={**kept, "GENESIS_STATE": str(state), "MLFLOW_TRACKING_URI": f"sqlite:///{state.parent}/runs.db"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    told: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return told


def _median(pairs: list[list[float]]) -> list[float]:
    """Return wall and processor seconds."""
    return [round(statistics.median(each), 5) for each in zip(*pairs, strict=True)]


def blocks(rounds: int, rows: int) -> None:
    """Time a prediction over arrays and tables on Dask, in turn with a loop over onnxruntime."""
    import dask
    import dask.array as da
    import dask.dataframe as dd
    import onnxruntime
    import pandas as pd

    import genesis_workbench as gw

    model = gw.model(MODEL)
    random = np.random.default_rng(0)
    specs = model.signature.inputs
    columns = {spec.name: random.uniform(spec.low, spec.high, rows).astype("f4") for spec in specs}
    table = dd.from_pandas(pd.DataFrame(columns), npartitions=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model._artifact, options, providers=["CPUExecutionProvider"])

    def bare(size: int) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            parts = [
                {name: each[n : n + size] for name, each in columns.items()} for n in range(0, rows, size)
            ]
            return np.concatenate([session.run(None, part)[0] for part in parts])

        return run

    arrays = {n: da.from_array(c, chunks=rows // 8, name=False).persist() for n, c in columns.items()}
    alone = {f"bare, {name}": size for name, size in SIZES.items()} | {"bare, 8 blocks": rows // 8}
    sides: dict[str, Callable[[], Any]] = {
        **{name: bare(size) for name, size in alone.items()},
        "xarray": lambda: model(**arrays).compute(),
        "table": lambda: model(table).compute(),
        "xarray with flag": lambda: model(flag=True, **arrays).compute(),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    with dask.config.set(scheduler="synchronous"):
        for number in range(-1, rounds):
            for name, side in sides.items() if number % 2 else reversed(sides.items()):
                began = time.process_time()
                side()
                if number >= 0:
                    speeds[name].append(rows / (time.process_time() - began))
    best = [max(each) for each in zip(*(speeds[name] for name in alone), strict=True)]
    figures = {name: [round(each) for each in found] for name, found in speeds.items()}
    for name in ("xarray", "table"):
        ratio = statistics.median(ours / bare for ours, bare in zip(speeds[name], best, strict=True))
        say(f"models_blocks_{name}", ratio, 0.95, {"rows_per_cpu_s": figures})


def batching(rounds: int, questions: int = 600) -> None:
    """Time questions of one sample by 1, 8 and 64 people at once, with batches and one at a time, in turn."""
    import asyncio

    from genesis_services.predicting import Predictions, Question
    from genesis_workbench import models
    from genesis_workbench.core.access import Person
    from genesis_workbench.core.site import ModelsSection
    from genesis_workbench.models.serving import Predictor

    zoo: Any = models._zoo()
    entry, predictor = zoo.entry(MODEL, Person("bench")), Predictor()
    asked = Question(
        inputs={spec.name: (spec.low + spec.high) / 2 for spec in entry.version.signature.inputs}
    )

    async def person(service: Predictions, number: int, count: int) -> list[float]:
        waits = []
        for _ in range(count):
            began = time.perf_counter()
            await service.ask(entry, asked, Person(f"person{number}"))
            waits.append(time.perf_counter() - began)
        return waits

    async def all_of(people: int, rows: int) -> tuple[float, list[float]]:
        service = Predictions(zoo, ModelsSection(predict_rows=rows, predict_waiting=1000), predictor)
        began = time.perf_counter()
        waits = await asyncio.gather(*(person(service, n, questions // people) for n in range(people)))
        return time.perf_counter() - began, [wait for each in waits for wait in each]

    found: dict[str, dict[str, list[float]]] = {}
    try:
        for number in range(-1, rounds):
            for people in (1, 8, 64):
                for name, rows in {"batches": 100_000, "one at a time": 1}.items():
                    took, waits = asyncio.run(all_of(people, rows))
                    if number >= 0:
                        told = found.setdefault(
                            f"{people}, {name}", {"questions_per_s": [], "p50_ms": [], "p95_ms": []}
                        )
                        told["questions_per_s"].append(round(len(waits) / took))
                        told["p50_ms"].append(round(1e3 * statistics.median(waits), 2))
                        told["p95_ms"].append(round(1e3 * statistics.quantiles(waits, n=20)[-1], 2))
    finally:
        predictor.close()
    both = zip(
        found["64, batches"]["questions_per_s"], found["64, one at a time"]["questions_per_s"], strict=True
    )
    say("models_batching", statistics.median(a / b for a, b in both), 1.0, found)


if __name__ == "__main__":
    main()
