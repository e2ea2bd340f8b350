"""What the runs say: ratios of regret with a paired test, seconds, and how much random search would have needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments_parts.optimisers import GAUSSIAN
from experiments_parts.problems import group
from experiments_parts.runs import FURTHER

MARGIN, LEVEL = 1.25, 0.05
SMALLEST = 1e-8  # BBOB's own precision: below it a regret is none
Runs = dict[tuple[Any, ...], dict[str, dict[str, Any]]]


def read(results: Path) -> Runs:
    """Return the runs by problem, then by optimiser."""
    found: Runs = {}
    for line in results.read_text().splitlines():
        row = json.loads(line)
        problem = (row["suite"], row["setting"], row["d"], row["function"], row["instance"], row["budget"])
        found.setdefault(problem, {})[row["optimiser"]] = row
    return found


def regret(row: dict[str, Any]) -> float:
    """Return the best regret of a run."""
    return max(float(row["regret"]), SMALLEST)


def whole(runs: Runs, optimisers: Iterable[str]) -> Runs:
    """Return the problems that all of these optimisers finished."""
    return {key: rows for key, rows in runs.items() if all(name in rows for name in optimisers)}


def worse(ours: list[float], peer: list[float]) -> float | None:
    """Return the probability of ours being so much worse than 1.25 times the peer's by chance (Wilcoxon, 1945, one-sided)."""
    from scipy.stats import wilcoxon

    apart = np.log(ours) - np.log(peer) - np.log(MARGIN)
    return None if len(apart) < 5 else float(wilcoxon(apart, alternative="greater").pvalue)


def ratio(ours: Iterable[float], peer: Iterable[float]) -> float:
    """Return the geometric mean of the peer's regret over ours: above 1, ours is better."""
    return float(np.exp(np.mean(np.log(list(peer)) - np.log(list(ours)))))


def in_groups(runs: Runs, peers: list[str]) -> list[dict[str, Any]]:
    """Return, for each setting, dimension and group, the best peer and how ours compares with it.

    Groups outside of BBOB have functions of several dimensions; their `d` is None.
    """
    together: dict[tuple[str, int | None, str], list[dict[str, dict[str, Any]]]] = {}
    for (suite, setting, d, function, _, _), rows in sorted(runs.items(), key=str):
        own = d if suite == "bbob" else None
        together.setdefault((setting, own, group(suite, function)), []).append(rows)
    found = []
    for (setting, d, name), each in together.items():
        ours = [regret(rows["ours"]) for rows in each]
        theirs = {peer: [regret(rows[peer]) for rows in each] for peer in peers}
        best = min(theirs, key=lambda peer: float(np.mean(np.log(theirs[peer]))))
        p = worse(ours, theirs[best])
        found.append(
            {
                "setting": setting, "d": d, "group": name, "problems": len(each), "best": best,
                "ratio": round(ratio(ours, theirs[best]), 3), "p_worse": p and round(p, 3),
                "significantly_worse": None if p is None else p < LEVEL,
            }
        )  # fmt: skip
    return found


def over_all(runs: Runs, peers: list[str]) -> dict[str, Any]:
    """Return how ours compares with the median, problem by problem, of the peers built on Gaussian processes."""
    models = [peer for peer in peers if peer in GAUSSIAN]
    by_setting: dict[str, list[float]] = {}
    for (suite, setting, *_), rows in runs.items():
        median = float(np.median([regret(rows[peer]) for peer in models]))
        by_setting.setdefault(f"{suite} {setting}", []).append(np.log(median) - np.log(regret(rows["ours"])))
    every = np.concatenate(list(by_setting.values()))
    seconds = {
        name: float(np.median([rows[name]["seconds"] for rows in runs.values()])) for name in ["ours", *peers]
    }
    return {
        "problems": len(every),
        "ratio": round(float(np.exp(every.mean())), 3),
        "interval": [round(float(x), 3) for x in np.exp(resampled(every, np.mean))],
        "by_setting": {name: round(float(np.exp(np.mean(each))), 3) for name, each in by_setting.items()},
        "each_peer": {
            peer: round(
                ratio([regret(r["ours"]) for r in runs.values()], [regret(r[peer]) for r in runs.values()]), 3
            )
            for peer in peers
        },
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "cheaper": round(float(np.median([seconds[peer] for peer in models])) / seconds["ours"], 2),
    }


def acceleration(runs: Runs) -> dict[str, Any]:
    """Return how many times our trials random search needs on BBOB to come as far: median, 95 % interval by the bootstrap.

    Looked at up to 100 times the budget; what it has not reached by then counts as that, so large factors are bounds.
    """
    factors = []
    for (suite, *_, budget), rows in runs.items():
        if suite != "bbob":
            continue
        reached = [place for place, value in rows["random"]["further"] if value <= regret(rows["ours"])]
        factors.append((reached[0] if reached else FURTHER * budget) / rows["ours"]["reached"])
    if not factors:
        return {}
    low, high = resampled(np.array(factors), np.median)
    return {
        "median": round(float(np.median(factors)), 2),
        "interval": [round(float(low), 2), round(float(high), 2)],
        "never": sum(factor >= FURTHER for factor in factors),
    }


def resampled(values: np.ndarray[Any, Any], statistic: Any) -> np.ndarray[Any, Any]:
    """Return the 95 % interval of a statistic over problems drawn again and again (Efron, 1979)."""
    drawn = np.random.default_rng(0).choice(values, size=(4000, len(values)))
    return np.quantile(statistic(drawn, axis=1), [0.025, 0.975])
