"""How far an experiment's optimiser comes: our default against Ax alone, BayBE, BoFire, Optuna and random search.

Regret at 10 to 20 trials a dimension over the functions of BBOB (all groups), botorch's functions with limits and with
fidelities, and a small set of chemistry: one after the other, in batches of four, and with noise and a tenth of the trials
failing. Each of 20 seeds has one function of each group, so that all functions are looked at, at several instances, and a group
is compared over 20 pairs. All optimisers meet the same instances, noise, failures and seeds, one after the other in one process with
one thread; a suggestion's seconds are processor time. The peers live in an environment of their own under build/, made here where
it is not there. Runs are appended to a file and those that are there are not run again, so that a long run can be cut off,
looked at, and gone on with.

``ratio`` is the median regret of the peers built on Gaussian processes over ours, problem by problem, as a geometric mean:
2 is the goal. Run: ``python tests/benchmarks/experiments.py [--suites bbob limits fidelity chemistry] [--dims 2 3 5 10]
[--seeds 20] [--minutes 600]``; the default takes minutes and looks at one seed in two dimensions. What docs/benchmarks.md says
comes from ``--results tests/benchmarks/experiments_parts/measured.jsonl``. Last line: JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
PEERS = (
    "ax-platform==1.3.1", "botorch==0.18.1", "optuna==5.0.0", "baybe==0.15.0", "bofire[optimization]==0.5.0", "ioh==0.3.22",
)  # fmt: skip
GOAL = 2.0
SUITES = ["bbob", "limits", "fidelity", "chemistry"]
ALL = ["ours", "random", "optuna_tpe", "optuna_gp", "ax", "baybe", "bofire"]


def environment() -> Path:
    """Return the Python of the peers' environment, made where it is not there: torch first, by pip, for the processor.

    The rest by uv, which `make setup` installs: pip takes minutes to find out which versions fit.
    """
    mark = hashlib.sha256(json.dumps([sys.version, TORCH, PEERS]).encode()).hexdigest()[:8]
    folder = ROOT / "build" / "peers" / f"experiments-{mark}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    print(f"Making the peers' environment in {folder} ...", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--quiet", TORCH],
        # The workbench itself too: both are asked in the same process.
        [
            Path(sys.executable).with_name("uv"),
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            TORCH,
            *PEERS,
            "-e",
            ROOT,
        ],
    ):
        subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)
    (folder / "complete").touch()
    return python


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", nargs="+", default=["bbob"], choices=SUITES)
    parser.add_argument("--dims", type=int, nargs="+", default=[2], help="of bbob")
    parser.add_argument("--seeds", type=int, default=1, help="how many, each with one function of each group")
    parser.add_argument("--settings", nargs="+", default=["sequential"], help="sequential, batch, noise")
    parser.add_argument("--each", type=int, default=10, help="trials a dimension")
    parser.add_argument("--optimisers", nargs="+", default=ALL)
    parser.add_argument("--minutes", type=float, default=60, help="no run is begun after so long")
    parser.add_argument("--results", type=Path, default=ROOT / "artifacts" / "experiments.jsonl")
    parser.add_argument("--python", type=Path, help="of an environment that has the peers already")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run what is lacking in the peers' environment, then say what came of it."""
    chosen = options().parse_args()
    if not chosen.here:
        chosen.results.parent.mkdir(parents=True, exist_ok=True)
        python = chosen.python or environment()
        here = [str(python), __file__, *sys.argv[1:], "--here"]
        paths = os.pathsep.join([str(ROOT / "extensions"), str(ROOT / "tests" / "benchmarks")])
        raise SystemExit(
            subprocess.run(
                here, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, check=False
            ).returncode
        )
    from experiments_parts import runs, verdict

    names = ("suites", "dims", "settings", "each", "optimisers", "minutes")
    wanted = {name: getattr(chosen, name) for name in names}
    runs.main({**wanted, "seeds": range(1, chosen.seeds + 1)}, chosen.results)
    found = verdict.whole(verdict.read(chosen.results), {"ours", "random", *chosen.optimisers})
    peers = [name for name in chosen.optimisers if name != "ours"]
    if not found:
        raise SystemExit("No problem was finished by all optimisers: give more --minutes.")
    groups, total = verdict.in_groups(found, peers), verdict.over_all(found, peers)
    for each in groups:
        print(each)
    figures = {**total, "groups": groups, "acceleration": verdict.acceleration(found)}
    print(json.dumps({"benchmark": "experiments", "ratio": total["ratio"], "goal": GOAL, "figures": figures}))


if __name__ == "__main__":
    main()
