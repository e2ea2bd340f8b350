"""Trials of experiments as jobs of a real Slurm: submitted as arrays, looked at together, through the controller's death."""

from __future__ import annotations

import collections
import time

import pytest

from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.compute.slurm import Slurm
from genesis_workbench.core.access import Person
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import ComputeSection, Site, SlurmSection
from genesis_workbench.core.state import State
from genesis_workbench.experiments import Budget, Hypothesis, Objective, Real, Threshold, loop, store
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.executors.job import JobExecutor
from genesis_workbench.experiments.folding import catch_up
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.verification import verify_in

SCRIPT = b"""
import json, os
x = json.load(open("arguments.json"))["parameters"]["x"]
open(os.environ["LOG"], "a").write(os.path.basename(os.getcwd()) + "\\n")
json.dump({"y": x * x}, open("result.json", "w"))
"""
TRIALS = 48


@pytest.fixture
def bench(slurm, tmp_path, monkeypatch):
    """How often Slurm's programs were called, and Alice's experiments whose trials are its jobs."""
    calls: collections.Counter[str] = collections.Counter()
    run = Slurm.run

    def counted(self, program, *arguments, text=None):
        calls[program] += 1
        return run(self, program, *arguments, text=text)

    monkeypatch.setattr(Slurm, "run", counted)
    place = Place(Site(name="test"), State(tmp_path))
    site = ComputeSection(scheduler="slurm", slurm=SlurmSection(poll_s=1))
    place.__dict__["scheduler"] = SlurmScheduler(tmp_path / "jobs", site)
    executors = {"job": JobExecutor(place)}
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    mine = store.LedgerExperiments(ledger, Person("alice"), executors=executors)
    yield calls, place, ledger, mine, executors
    ledger.close()


@pytest.mark.slow
def test_trials_are_arrays_and_one_look_for_all_and_outlive_the_controller(slurm, bench, tmp_path):
    calls, place, ledger, mine, executors = bench
    spec = ExperimentSpec(
        title="Arrays",
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.9)),
        space=(Real("x", 0, 1),),
        objective=Objective("y"),
        executor="job",
        executor_arguments={
            "command": ["python3", "model.py"],
            "files": {"model.py": place.blobs.put(SCRIPT)},
            "environment": {"LOG": str(tmp_path / "ran")},
            "outcomes": {"y": ""},
            "walltime_s": 120,
        },
        budget=Budget(trials=TRIALS),
        parallel=TRIALS // 2,
        proposer="sobol",
    )
    state = mine.state(mine.create(spec))
    deadline, looks, died = time.monotonic() + 200, 0, False
    while state.state != "ended":
        assert time.monotonic() < deadline, [vars(trial) for trial in state.under_way.values()][:2]
        loop.advance(ledger, state.id, None, executors, state=catch_up(ledger, state))
        looks += 1
        if not died and len(state.observed) >= 4:
            # What is under way, and what is submitted meanwhile, waits until the controller is back.
            slurm.stop_controller()
            loop.advance(ledger, state.id, None, executors, state=catch_up(ledger, state))
            slurm.start_controller()
            died = True
        time.sleep(0.25)
    assert died
    assert len(state.observed) == TRIALS, [trial.reason for trial in state.trials if trial.reason]
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == sorted(trial.key for trial in state.trials)  # each once
    assert all(
        trial.values["y"]["value"] == pytest.approx(trial.parameters["x"] ** 2) for trial in state.trials
    )
    # The first half is one array, the others as many as came free together; and no look is for a single trial.
    assert calls["sbatch"] < TRIALS / 2
    assert calls["squeue"] <= 4 * looks
    assert verify_in(ledger, state.id).ok


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_trials_are_under_way_at_once_and_end_together(slurm, bench):
    calls, _place, ledger, mine, executors = bench
    many = 2000
    spec = ExperimentSpec(
        title="Thousands",
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.9)),
        space=(Real("x", 0, 1),),
        objective=Objective("y"),
        executor="job",
        executor_arguments={"command": ["sleep", "300"], "outcomes": {"y": ""}, "walltime_s": 600},
        budget=Budget(trials=many),
        parallel=many,
        proposer="random",
    )
    state = mine.state(mine.create(spec))
    for _ in range(3):
        loop.advance(ledger, state.id, None, executors, state=catch_up(ledger, state))
    assert len(state.under_way) == many
    assert {trial.state for trial in state.under_way.values()} == {"started"}
    queued = slurm.run("squeue", "--noheader", "--array", "--format=%T").split()
    assert len(queued) == many
    assert calls["sbatch"] <= 10, calls
    mine.command(state.id, "stop", "enough")
    loop.advance(ledger, state.id, None, executors, state=catch_up(ledger, state))
    assert state.state == "ended"
    deadline = time.monotonic() + 120
    while slurm.run("squeue", "--noheader", "--array", "--format=%T").split():
        assert time.monotonic() < deadline
        time.sleep(1)
    assert calls["scancel"] <= 10, calls
