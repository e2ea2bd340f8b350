"""Every executor of ours keeps the contract; `person` executes nothing itself and has tests of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.executors.dask import DaskExecutor
from genesis_workbench.experiments.executors.function import FunctionExecutor, named
from genesis_workbench.experiments.executors.job import JobExecutor
from genesis_workbench.experiments.executors.pvlib import PvArraySimulator
from genesis_workbench.experiments.executors.training import TrainingExecutor
from genesis_workbench.testing.executors import Example, ExecutorContract

SCRIPT = "import json; json.dump({'y': json.load(open('arguments.json'))['parameters']['x'] ** 2}, open('result.json', 'w'))"
TINY = Path(__file__).parents[1] / "system" / "training" / "tiny"
PLACE = {"latitude": 39.74, "longitude": -105.18, "altitude_m": 1829, "linke_turbidity": [2.5] * 12}


def square(x):
    """What the executor `function` calls here."""
    return x**2


@pytest.fixture
def place(tmp_path):
    made = Place(Site(name="test"), State(tmp_path))
    made.__dict__["scheduler"] = LocalScheduler(tmp_path / "jobs")
    yield made
    for watcher in local._watchers:
        watcher.wait(timeout=60)


class TestFunction(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _example(self, place):
        _, arguments = named(square, {}, [("y", "")])
        wrong = {**arguments, "function": "nowhere:nothing"}
        self.example = Example(lambda: FunctionExecutor(place), {"x": 0.5}, arguments, wrong)


class TestJob(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _example(self, place):
        arguments = {"command": [sys.executable, "-S", "-c", SCRIPT], "outcomes": {"y": ""}}
        wrong = {**arguments, "command": []}
        self.example = Example(lambda: JobExecutor(place), {"x": 0.5}, arguments, wrong)


@pytest.mark.slow  # each job imports pvlib anew
class TestPvlib(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _example(self, place):
        parameters = {"tilt_deg": 30, "azimuth_deg": 180, "ground_coverage_ratio": 0.4}
        wrong = {**PLACE, "latitude": 89}
        self.example = Example(lambda: PvArraySimulator(place), parameters, PLACE, wrong)


@pytest.mark.slow  # each job imports torch
@pytest.mark.timeout(400)
class TestTraining(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _example(self, place):
        pytest.importorskip("torch", reason="torch is not installed")
        arguments = {"recipe": str(TINY), "configuration": {"epochs": 2}}
        wrong = {**arguments, "configuration": {"epochs": "many"}}
        self.example = Example(lambda: TrainingExecutor(place), {"learning_rate": 0.01}, arguments, wrong)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from genesis_workbench.compute import cluster as make

    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENESIS_STATE", str(folder))
        with make(workers=1, name="contract"):
            yield folder


class TestDask(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _example(self, cluster):
        made = []

        def make():
            made.append(DaskExecutor(Place(Site(name="test"), State(cluster))))
            return made[-1]

        arguments = {"function": "fractions:Fraction", "outcomes": {"y": ""}, "cluster": "contract"}
        wrong = {**arguments, "function": "no function"}
        self.example = Example(make, {"numerator": 1, "denominator": 4}, arguments, wrong)
        yield
        for each in made:
            each.close()
