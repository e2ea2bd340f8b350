"""A sweep: trials that are training runs, with the validation loss observed and the node-hours settled."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments import (
    Budget,
    Cost,
    Hypothesis,
    Integer,
    Objective,
    Real,
    Threshold,
    loop,
    store,
)
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.executors.training import TrainingExecutor
from genesis_workbench.experiments.folding import catch_up
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.verification import verify_in

TINY = str(Path(__file__).parents[2] / "system" / "training" / "tiny")


@pytest.fixture
def place(tmp_path):
    made = Place(Site(name="test"), State(tmp_path))
    made.__dict__["scheduler"] = LocalScheduler(tmp_path / "jobs")
    yield made
    for watcher in local._watchers:
        watcher.wait(timeout=60)


def test_what_may_be_searched_are_the_fields_that_are_free(place):
    signature = TrainingExecutor(place).signature({"recipe": TINY, "configuration": {"epochs": 2}})
    assert {"learning_rate", "batch_size", "seed"} <= set(signature.parameters)
    assert "epochs" not in signature.parameters
    assert signature.outcomes == {"validation_loss": ""}


def test_what_no_trial_could_train_with_is_refused(place):
    executor = TrainingExecutor(place)
    with pytest.raises(NotFound, match="no recipe 'surogate'"):
        executor.check({"recipe": "surogate"})
    with pytest.raises(InvalidInput, match="epochs='many'"):
        executor.check({"recipe": TINY, "configuration": {"epochs": "many"}})
    with pytest.raises(NotFound, match="no-such-data"):
        executor.check({"recipe": TINY, "data": ["no-such-data"]})


def test_the_service_trains_installed_recipes_on_public_data_only(place, tmp_path):
    service = Place(place.site, State(tmp_path / "service"), service=True)
    service.__dict__["scheduler"] = place.scheduler
    executor = TrainingExecutor(service)
    executor.check({"recipe": "surrogate", "data": ["cec-pv-modules"]})
    with pytest.raises(PermissionRefused, match="installed recipes only"):
        executor.check({"recipe": TINY})
    # The same dataset, once it is its owner's group's alone.
    record = service.catalog.get("cec-pv-modules", Person(""))
    closed = record.model_copy(update={"label": "restricted", "groups": ("solar",), "owner": ""})
    service.catalog.__dict__["get"] = _only(closed)
    with pytest.raises(NotFound):
        executor.check({"recipe": "surrogate", "data": ["cec-pv-modules"]})


def _only(record):
    """Return a lookup that gives this record to those who may see it."""

    def get(identifier, person):
        if not record.access_rule.permits(person):
            raise NotFound("There is no such dataset.")
        return record

    return get


@pytest.mark.slow  # each trial is a job that imports torch
@pytest.mark.timeout(500)
@pytest.mark.parametrize("proposer", ["random", "gp"])
def test_a_sweep_finds_the_better_learning_rate_and_settles_its_node_hours(place, tmp_path, proposer):
    executors = {"training": TrainingExecutor(place)}
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    mine = store.LedgerExperiments(ledger, Person("alice"), executors=executors)
    spec = ExperimentSpec(
        title="Sweep",
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="validation_loss", at_most=0.9)),
        space=(Real("learning_rate", 1e-5, 1e-1, log=True), Integer("batch_size", 16, 64)),
        objective=Objective("validation_loss", maximize=False),
        executor="training",
        executor_arguments={"recipe": TINY, "configuration": {"epochs": 5}, "walltime_s": 300},
        budget=Budget(trials=4, node_hours=1),
        cost={"node_hours": Cost(0.1)},
        parallel=2,
        proposer=proposer,
    )
    state, deadline = mine.state(mine.create(spec)), time.monotonic() + 400
    while state.state != "ended":
        assert time.monotonic() < deadline, [vars(trial) for trial in state.under_way.values()][:2]
        loop.advance(ledger, state.id, None, executors, state=catch_up(ledger, state))
        time.sleep(0.1)
    assert len(state.observed) == 4, [trial.reason for trial in state.trials if trial.reason]
    jobs = sorted(path.name for path in (tmp_path / "jobs").iterdir() if not path.name.startswith("."))
    assert jobs == sorted(trial.key for trial in state.trials), "each trial is one job, by its key"
    for trial in state.trials:
        told = place.scheduler.result(trial.key)
        assert trial.values["validation_loss"]["value"] == told["progress"]["best"]
    spent = state.summary()["budget"]["node_hours"]["spent"]
    assert 0 < spent < 0.4, "what the runs took, not what was reserved"
    assert verify_in(ledger, state.id).ok
    ledger.close()
