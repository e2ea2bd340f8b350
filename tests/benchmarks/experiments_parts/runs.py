"""Runs in the peers' environment: each optimiser over each problem, one line of JSON for each run, what is there left out.

A problem is a function of BBOB (Hansen et al., 2009; the package ioh), an instance, a number of dimensions and a setting.
All optimisers meet the same noise, the same failures and the same seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments_parts.optimisers import OPTIMISERS, Optimiser, quiet

GROUPS = {
    "separable": range(1, 6),
    "moderate conditioning": range(6, 10),
    "high conditioning": range(10, 15),
    "multimodal": range(15, 20),
    "weak structure": range(20, 25),
}
SETTINGS = {  # trials at once, noise as a share of the function's spread, share of trials that fail
    "sequential": (1, 0.0, 0.0),
    "batch": (4, 0.0, 0.0),
    "noise": (1, 0.05, 0.1),
}
FURTHER = 100  # times the budget: so long is random search looked at


@dataclass(frozen=True)
class Problem:
    """What is optimised, and how."""

    function: int
    instance: int
    d: int
    setting: str

    @property
    def seed(self) -> int:
        return 1000 * self.function + self.instance


def group(function: int) -> str:
    """Return the group of a function."""
    return next(name for name, members in GROUPS.items() if function in members)


def problems(
    dims: list[int], instances: list[int], settings: list[str], functions: list[int]
) -> Iterator[Problem]:
    """Iterate over problems, one of each group after the other, so that a run cut short has some of each."""
    order = [f for place in range(5) for members in GROUPS.values() for f in list(members)[place : place + 1]]
    for d in dims:
        for instance in instances:
            for setting in settings:
                yield from (Problem(f, instance, d, setting) for f in order if f in functions)


class Bbob:
    """A function of BBOB over the unit cube, as regret: 0 is its optimum."""

    def __init__(self, problem: Problem) -> None:
        import ioh

        self._at = ioh.get_problem(problem.function, problem.instance, problem.d, ioh.ProblemClass.BBOB)
        rng = np.random.default_rng(problem.seed)
        low, high = np.quantile([self(p) for p in rng.random((200, problem.d)).tolist()], [0.25, 0.75])
        self.spread = float(high - low)

    def __call__(self, point: list[float]) -> float:
        value = self._at([10 * x - 5 for x in point])
        return max(float(value - self._at.optimum.y), 0.0)


def run(problem: Problem, name: str, budget: int) -> dict[str, object]:
    """Return the best regret after each trial, noise taken away again, and processor time a suggestion."""
    at_once, noise, failing = SETTINGS[problem.setting]
    function, rng = Bbob(problem), np.random.default_rng(problem.seed)
    errors, fates = rng.normal(size=budget + 4) * noise * function.spread, rng.random(budget + 4)
    began = time.process_time()
    optimiser: Optimiser = OPTIMISERS[name](problem.d, problem.seed, budget)
    took = time.process_time() - began
    seen: list[tuple[float, float]] = [(np.inf, np.inf)]
    trace: list[float] = []
    while len(trace) < budget:
        count = min(at_once, budget - len(trace))
        began = time.process_time()
        points = optimiser.ask(count)
        took += time.process_time() - began
        values: list[float | None] = []
        for point in points:
            place, regret = len(trace), function(point)
            failed = fates[place] < failing
            values.append(None if failed else regret + errors[place])
            if not failed:
                seen.append((regret + errors[place], regret))
            trace.append(min(seen)[1])
        began = time.process_time()
        optimiser.tell(points, values)
        took += time.process_time() - began
    return {"regret": [float(f"{each:.6g}") for each in trace], "seconds": took / budget}


def further(problem: Problem, budget: int) -> list[tuple[int, float]]:
    """Return where random search betters itself over many times the budget: trial and regret, without noise."""
    function, best, found = Bbob(problem), np.inf, []
    for place, point in enumerate(
        np.random.default_rng(problem.seed + 1).random((FURTHER * budget, problem.d)).tolist()
    ):
        regret = function(point)
        if regret < best:
            best = regret
            found.append((place + 1, float(f"{regret:.6g}")))
    return found


def key(row: dict[str, object]) -> tuple[object, ...]:
    """Return what a run is known by."""
    return tuple(row[name] for name in ("optimiser", "function", "instance", "d", "setting", "budget"))


def main(wanted: dict[str, object], results: Path) -> None:
    """Do what of the `wanted` runs `results` lacks, and append it there."""
    quiet()
    done = {key(json.loads(line)) for line in results.read_text().splitlines()} if results.exists() else set()
    ends = time.monotonic() + 60 * float(str(wanted["minutes"]))
    for name in wanted["optimisers"]:  # type: ignore[attr-defined]
        run(Problem(1, 1, 2, "sequential"), name, 7)  # what is imported late is no part of a suggestion
    for problem in problems(wanted["dims"], wanted["instances"], wanted["settings"], wanted["functions"]):  # type: ignore[arg-type]
        for name in wanted["optimisers"]:  # type: ignore[attr-defined]
            budget = int(str(wanted["each"])) * problem.d
            row: dict[str, object] = {"optimiser": name, **asdict(problem), "budget": budget}
            if key(row) in done:
                continue
            if time.monotonic() > ends:
                return
            row |= run(problem, name, budget)
            if name == "random":
                row["further"] = further(problem, budget)
            with results.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
