"""Print the tables of docs/benchmarks.md, `experiments`, from what has been measured.

Run: ``python tests/benchmarks/experiments_parts/tables.py [RESULTS]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments_parts import verdict
from experiments_parts.optimisers import GAUSSIAN
from experiments_parts.verdict import Runs, regret

MEASURED = Path(__file__).with_name("measured.jsonl")
PEERS = ["optuna_gp", "ax", "baybe", "optuna_tpe", "random"]
HOW = {
    "sequential": "one after the other",
    "batch": "in batches of four",
    "noise": "noise of 5 % of the spread and a tenth of the trials failing",
}


def figure(value: float) -> str:
    """Return two digits that count."""
    return f"{float(f'{value:.2g}'):,.10g}"


def line(name: str, runs: Runs, peers: list[str]) -> str:
    """Return a row: how many problems, and the ratio to the median of the peers that model by Gaussian processes."""
    found = verdict.over_all(runs, peers)
    low, high = found["interval"]
    return f"| {name} | {found['problems']:,} | {figure(found['ratio'])} ({figure(low)} to {figure(high)}) |"


def settings(runs: Runs, peers: list[str]) -> Iterable[str]:
    """Iterate over rows of all of BBOB, then of each setting and dimension."""
    models = [peer for peer in peers if peer in GAUSSIAN]
    parts: dict[str, Callable[[tuple[object, ...]], bool]] = {
        "all of BBOB": lambda _: True,
        "all without noise": lambda key: key[1] != "noise",
        "all with noise": lambda key: key[1] == "noise",
    }
    for setting, words in HOW.items():
        for d in sorted({key[2] for key in runs}):
            parts[f"{d} dimensions, {words}"] = lambda key, s=setting, d=d: key[1:3] == (s, d)  # type: ignore[misc]
    for name, wanted in parts.items():
        chosen = {key: rows for key, rows in runs.items() if wanted(key)}
        if chosen:
            yield line(name, chosen, models)
    inexact = {key: rows for key, rows in runs.items() if regret(rows["ours"]) > verdict.SMALLEST}
    yield line("all but what `gp` solves exactly", inexact, models)


def groups(runs: Runs, peers: list[str]) -> Iterable[str]:
    """Iterate over rows of groups, over all settings and dimensions together."""
    named: dict[str, Runs] = {}
    for key, rows in runs.items():
        named.setdefault(verdict.group(key[0], key[3]), {})[key] = rows
    for name, each in named.items():
        ours = [regret(rows["ours"]) for rows in each.values()]
        theirs = {peer: [regret(rows[peer]) for rows in each.values()] for peer in peers}
        best = min(theirs, key=lambda peer: float(np.mean(np.log(theirs[peer]))))
        p = verdict.worse(ours, theirs[best])
        yield f"| {name} | {len(ours)} | {best} | {figure(verdict.ratio(ours, theirs[best]))} | {p:.2f} |"


def main() -> None:
    """Print what is there for all peers, then with BoFire where it was asked too."""
    every = verdict.read(Path(sys.argv[1]) if sys.argv[1:] else MEASURED)
    bbob = {key: rows for key, rows in every.items() if key[0] == "bbob"}
    for peers in (PEERS, [*PEERS, "bofire"]):
        runs = verdict.whole(bbob, ["ours", *peers])
        print(f"\nPeers: {', '.join(peers)}\n")
        print(*settings(runs, peers), sep="\n")
        print(*groups(runs, peers), sep="\n")
        found = verdict.over_all(runs, peers)
        print({name: found[name] for name in ("each_peer", "seconds", "cheaper")}, verdict.acceleration(runs))
        each = [one for one in verdict.in_groups(runs, peers) if one["p_worse"] is not None]
        for one in sorted(each, key=lambda one: float(one["p_worse"]))[:8]:
            print(one)


if __name__ == "__main__":
    main()
