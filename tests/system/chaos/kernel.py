"""A notebook's process, which calls a function of its own for each trial, in a folder of its own.

Killed and started again as a kernel is: what runs first is what defines the function.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from furnace import law, write

import genesis_workbench as gw
from genesis_workbench.core.errors import Conflict
from genesis_workbench.core.service import STATE_VARIABLE
from genesis_workbench.experiments import Budget, Experiment, Hypothesis, Objective, Real, Run, Threshold

LOG = Path("world.log")


def measure(x: float) -> float:
    """Be the function: it says in the log what it does, and when it has done it."""
    write(LOG, f"begin {called(x)}")
    time.sleep(1)  # so long that kills fall into it
    write(LOG, f"end {called(x)}")
    return law(x)


def called(x: float) -> str:
    """Return what tells a call from all others: no two trials have one point."""
    return f"function-{x!r}"


def home(folder: Path) -> Path:
    """Where a notebook keeps its experiments, away from the service's."""
    return folder / "notebook"


def compute(folder: Path, trials: int) -> None:
    """Launch as many experiments as FOLDER/notebook.wanted says, and wait for each: those that were under way first."""
    global LOG
    LOG, os.environ[STATE_VARIABLE] = folder / "world.log", str(home(folder))
    while True:
        known = gw.experiments.search()
        for each in known:
            if each["state"] != "ended":
                finish(gw.experiments.get(each["id"]))
        if len(known) < int((folder / "notebook.wanted").read_text()):
            finish(described(len(known), trials).launch())
        time.sleep(0.05)


def described(number: int, trials: int) -> Experiment:
    """Two calls at once."""
    return Experiment(
        title=f"function {number}",
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.99)),
        space=[Real("x", 0, 1)],
        objective=Objective("y"),
        executor=measure,
        budget=Budget(trials=trials),
        proposer="sobol",
        seed=number,
        parallel=2,
    )


def finish(run: Run) -> None:
    """Wait for its end; of a call that was cut off, say that it failed."""
    while True:
        try:
            run.wait(60)
        except Conflict:
            for asked in run.pending():
                x = asked["parameters"]["x"]
                write(LOG, f"asked {called(x)}")
                run.resolve(asked["trial"], "failed", reason="nobody knows")
        else:
            return
