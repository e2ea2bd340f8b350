"""Runs in the peers' environment: each optimiser over each problem, one line of JSON for each run, what is there left out.

All optimisers meet the same noise, the same failures and the same seed. Where fidelities differ, the budget is of costs: those
that know of none make real trials only.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from experiments_parts.optimisers import OPTIMISERS, Optimiser, Task, quiet
from experiments_parts.problems import CHEAPEST, Problem, function_of, problems

SETTINGS = {  # trials at once, noise as a share of the function's spread, share of trials that fail
    "sequential": (1, 0.0, 0.0),
    "batch": (4, 0.0, 0.0),
    "noise": (1, 0.05, 0.1),
}
FURTHER = 100  # times the budget: so long is random search looked at


def run(problem: Problem, name: str, budget: int) -> dict[str, object]:
    """Return the best regret, noise taken away again, the trial that reached it, and processor time a suggestion.

    Where nothing real keeps the limits yet, the regret is the largest of 200 random points.
    """
    at_once, noise, failing = SETTINGS[problem.setting]
    function, rng = function_of(problem), np.random.default_rng(problem.seed)
    most = int(budget / CHEAPEST) if function.levels else budget
    errors, fates = rng.normal(size=most + 4) * noise * function.spread, rng.random(most + 4)
    task = Task(problem.d, function.limits, function.levels, function.spread, problem.seed, budget)
    began = time.process_time()
    optimiser: Optimiser = OPTIMISERS[name](task)
    took = time.process_time() - began
    seen: list[tuple[float, float]] = [(np.inf, function.worst)]
    trace: list[float] = []
    spent = 0.0
    while True:
        count = at_once if function.levels else min(at_once, budget - len(trace))
        began = time.process_time()
        points = optimiser.ask(count) if count else []
        took += time.process_time() - began
        spent += sum(map(function.cost, points))
        if not points or spent > budget + 1e-9:
            break
        outcomes: list[list[float] | None] = []
        for point in points:
            place, found = len(trace), function(point)
            regret, told = found[0], [found[0] + errors[place], *found[1:]]
            outcomes.append(None if fates[place] < failing else told)
            if outcomes[-1] and function.counts(point, found):
                seen.append((told[0], regret))
            trace.append(max(min(seen)[1], function.floor))
        began = time.process_time()
        optimiser.tell(points, outcomes)
        took += time.process_time() - began
    return {
        "regret": float(f"{trace[-1]:.6g}"),
        "reached": 1 + next(place for place, regret in enumerate(trace) if regret <= trace[-1]),
        "seconds": float(f"{took / len(trace):.4g}"),
    }


def further(problem: Problem, budget: int) -> list[tuple[int, float]]:
    """Return where random search betters itself over many times the budget: trial and regret, without noise."""
    function, found = function_of(problem), []
    best = np.inf
    for place, point in enumerate(
        np.random.default_rng(problem.seed + 1).random((FURTHER * budget, problem.d)).tolist()
    ):
        outcomes = function(point)
        if outcomes[0] < best and function.counts(point, outcomes):
            best = outcomes[0]
            found.append((place + 1, float(f"{max(best, function.floor):.6g}")))
    return found


def key(row: dict[str, object]) -> tuple[object, ...]:
    """Return what a run is known by."""
    return tuple(
        row[name] for name in ("optimiser", "suite", "function", "instance", "d", "setting", "budget")
    )


def main(wanted: dict[str, object], results: Path) -> None:
    """Do what of the `wanted` runs `results` lacks, and append it there."""
    quiet()
    done = {key(json.loads(line)) for line in results.read_text().splitlines()} if results.exists() else set()
    ends = time.monotonic() + 60 * float(str(wanted["minutes"]))
    for name in wanted["optimisers"]:  # type: ignore[attr-defined]
        # What is imported late is no part of a suggestion.
        run(Problem("bbob", 1, 1, 2, "sequential"), name, 7)
    chosen = [wanted[name] for name in ("suites", "dims", "seeds", "settings")]
    for problem in problems(*chosen):  # type: ignore[arg-type]
        for name in wanted["optimisers"]:  # type: ignore[attr-defined]
            budget = int(str(wanted["each"])) * problem.d
            row: dict[str, object] = {"optimiser": name, **asdict(problem), "budget": budget}
            if key(row) in done:
                continue
            if time.monotonic() > ends:
                return
            row |= run(problem, name, budget)
            if name == "random" and problem.suite == "bbob":
                row["further"] = further(problem, budget)
            with results.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
