"""What the loop of experiments costs: a trial, one of a function in a notebook, a thousand experiments at once, folding, asking a proposer with a guard.

Measured without the work itself: proposers answer at once, and trials are nothing but waiting. Each figure is
compared with its goal; the ratio is the worst of them. Run: ``python tests/benchmarks/experiments_engine.py [--quick]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

from genesis_services.runner import Runner
from genesis_workbench.core import garbage
from genesis_workbench.core.ledger import Ledger, NewEvent
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments import Budget, Run, loop, store
from genesis_workbench.experiments.executors._base import Observation, Place
from genesis_workbench.experiments.executors.function import FunctionExecutor, named
from genesis_workbench.experiments.folding import Folds, catch_up
from genesis_workbench.experiments.guard import Apart, in_thread
from genesis_workbench.experiments.planning import plan
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.steps import key_of
from unit.experiments.bench import ALICE, Bench, specification

OVERHEAD_S, TRIALS_A_SECOND, FOLD_S = 0.010, 1000.0, 0.5


class AtOnce(Bench):
    """An executor whose trials take no time."""

    def observe(self, key):
        return Observation({"y": (0.5, "degC", 0.01)})


class Clocked(AtOnce):
    """An executor that gives one value a second, as an instrument with a clock does, to each experiment at its own phase."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = {}

    def submit(self, key, parameters, arguments):
        now = time.monotonic() - arguments["phase"]
        self._ready.setdefault(key, int(now) + 1 + arguments["phase"])

    def observe(self, key):
        return None if time.monotonic() < self._ready[key] else super().observe(key)


def overhead(ledger: Ledger, trials: int) -> float:
    """Seconds of one trial of one experiment, one after the other, with nothing to propose and nothing to execute."""
    executors = {"bench": AtOnce()}
    experiments = store.LedgerExperiments(ledger, ALICE, executors=executors)
    spec = specification(proposer="random", parallel=1, budget=Budget(trials=trials))
    experiment = experiments.create(spec)
    state = experiments.state(experiment)
    began = time.perf_counter()
    while state.state != "ended":
        loop.advance(ledger, experiment, None, executors, state=catch_up(ledger, state))
    took = time.perf_counter() - began
    assert len(state.observed) == trials
    return took / trials


def notebook(ledger: Ledger, trials: int, folder: Path) -> dict[str, float]:
    """Milliseconds of one trial as a notebook has it: `Run.wait` on a function that returns at once, one after the other."""
    executors = {"function": FunctionExecutor(Place(Site(name="benchmark"), State(folder)))}
    name, arguments = named(lambda **given: given["x"], {}, [("y", "degC")])
    mine = store.LedgerExperiments(ledger, ALICE, executors=executors)
    spec = specification(
        executor=name,
        executor_arguments=arguments,
        proposer="random",
        parallel=1,
        budget=Budget(trials=trials),
    )
    run = Run(mine.create(spec), mine)
    began, cpu = time.perf_counter(), time.process_time()
    run.wait()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert len(run.state().observed) == trials
    return {"notebook_ms": 1000 * took / trials, "notebook_cpu_ms": 1000 * cpu / trials}


def thousand(ledger: Ledger, experiments: int, seconds: float) -> dict[str, float]:
    """Trials a second of many experiments on one runner, each of which could do one a second."""
    executors = {"bench": Clocked()}
    mine = store.LedgerExperiments(ledger, ALICE, executors=executors)
    for number in range(experiments):
        phase = {"phase": number / experiments}
        mine.create(
            specification(
                proposer="random", parallel=1, budget=Budget(trials=10_000), executor_arguments=phase
            )
        )
    runner = Runner(SimpleNamespace(ledger=ledger, executors=executors))
    runner.step()  # takes the leases
    first, turns, began = ledger.head()[0], [], time.perf_counter()
    cpu = time.process_time()
    while time.perf_counter() - began < seconds:
        at = time.perf_counter()
        runner.step()
        turns.append(time.perf_counter() - at)
        time.sleep(max(0.025, 0.25 - turns[-1]))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    observed = len(ledger.read(kinds=["trial.observed"], after=first, limit=10**6))
    runner.close()
    return {
        "trials_a_second": observed / took,
        "turn_median_s": statistics.median(turns),
        "cpu_ms_a_trial": 1000 * cpu / max(1, observed),
    }


def fold(ledger: Ledger, events: int) -> float:
    """Seconds to load a long experiment where there is a snapshot."""
    mine = store.LedgerExperiments(ledger, ALICE, executors={"bench": Bench()})
    experiment = mine.create(specification(budget=Budget(trials=100_000)))
    new = [event for number in range(1, events // 3 + 1) for event in _trial(experiment, number)]
    for first in range(0, len(new), 5000):
        ledger.append_many(new[first : first + 5000])
    folds = Folds(ledger)
    folds.load(experiment)  # makes the snapshot
    return _fastest(lambda: folds.load(experiment))


def _trial(experiment: str, number: int) -> list[NewEvent]:
    key, name, version = key_of(experiment, number, "run"), stream(experiment), 3 * number - 1
    point = {"parameters": {"x": 0.123456789, "z": 0.987654321}, "point": number, "arm": "main"}
    values = {"y": {"value": 0.5, "unit": "degC", "uncertainty": 0.01}}
    bodies = (
        ("trial.proposed", {"trial": number, "proposer": "sobol", "key": key, **point}),
        ("trial.started", {"trial": number, "key": key}),
        ("trial.observed", {"trial": number, "values": values, "simulated": True}),
    )
    return [
        NewEvent(name, kind, body, loop.ACTOR, version + place) for place, (kind, body) in enumerate(bodies)
    ]


def guards(ledger: Ledger) -> dict[str, float]:
    """Milliseconds that a guard adds to a proposer that answers at once: `grid` for three trials."""
    mine = store.LedgerExperiments(ledger, ALICE, executors={"bench": Bench()})
    state = mine.state(mine.create(specification(proposer="grid", budget=Budget(trials=9))))
    apart = Apart()
    plain = _median(lambda: plan(state, 3, lambda s, t, _name, n: _grid(s, t, n)))
    threaded = _median(lambda: plan(state, 3, in_thread))
    apart.ask(state.spec, [], "grid", 3)  # starts the process
    separate = _median(lambda: plan(state, 3, apart.ask))
    apart.close()
    return {"thread_ms": 1000 * (threaded - plain), "process_ms": 1000 * (separate - plain)}


def _grid(spec, trials, count):
    from genesis_workbench.core import plugins

    return plugins.load("proposers", "grid")().propose(spec, trials, count)


def _fastest(act, times: int = 5) -> float:
    """Seconds of the fastest of several: what else this machine does is no part of it."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return min(took)


def _median(act, times: int = 50) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Less of everything: shows that it runs.")
    quick = parser.parse_args().quick
    garbage.collect_less()  # as the runner's process begins
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (
            ("overhead", lambda ledger: overhead(ledger, 50 if quick else 500)),
            ("notebook", lambda ledger: notebook(ledger, 50 if quick else 300, Path(folder))),
            ("thousand", lambda ledger: thousand(ledger, 50 if quick else 1000, 5 if quick else 40)),
            ("fold", lambda ledger: fold(ledger, 9_000 if quick else 100_000)),
            ("guards", guards),
        ):
            ledger = Ledger.open(f"sqlite:///{folder}/{name}.sqlite")
            found = measure(ledger)
            ledger.close()
            figures |= found if isinstance(found, dict) else {f"{name}_s": found}
            print(name, found)
    wanted = 50.0 if quick else TRIALS_A_SECOND
    ratio = min(
        OVERHEAD_S / figures["overhead_s"], figures["trials_a_second"] / wanted, FOLD_S / figures["fold_s"]
    )
    print(
        json.dumps(
            {
                "benchmark": "experiments_engine",
                "ratio": round(ratio, 3),
                "goal": 1.0,
                "figures": {name: round(value, 4) for name, value in figures.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
