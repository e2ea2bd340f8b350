"""The page on running experiments does as it says: each block of code runs, and what it describes can be described."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import create_autospec

import pytest

import genesis_workbench as gw
from genesis_workbench.experiments import Run

PAGE = Path("docs/how-to/run-an-experiment.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FIELDS = {*gw.experiments.ExperimentSpec.model_fields, "datasets", "models"}


def launcher(experiment=None, *, functions=(), only=False):
    """What stands for the launcher, which needs a page."""


@pytest.fixture
def names(own_store, tmp_path, monkeypatch):
    """What a reader has at the beginning of each block: an experiment that was launched, and the function of the first."""
    monkeypatch.setattr(gw, "ExperimentLauncher", launcher)
    monkeypatch.setattr(gw, "share", create_autospec(gw.share))
    monkeypatch.setattr(gw.experiments, "compare", create_autospec(gw.experiments.compare))
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text("print('hello')")
    run = create_autospec(Run, instance=True)
    run.id = "exp_0h"
    run.pending_approvals.return_value = [{"trial": 1, "digest": "sha256:0"}]
    found = {"__name__": "page", "gw": gw, "run": run, "yield_g": lambda rate: rate, "experiment": None}
    yield found
    if "cluster" in found:
        found["cluster"].close()  # else whatever this process computes later goes there


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0][:40])
def test_a_block_of_the_page_runs_and_what_it_describes_can_be_described(names, block):
    exec(block, names)  # noqa: S102 - our own page
    if block == BLOCKS[0]:
        assert names["run"].finding()["decision"] == "supported"
    told = {name: value for name, value in names.items() if name in FIELDS}
    if not told:
        return
    nodes = [gw.Integer("nodes", 1, 4), gw.Real("x", 0, 1)]
    fields = {
        "title": "t",
        "hypothesis": gw.Hypothesis(
            statement="s", rule=gw.Threshold(metric="yield_g", at_least=0.9, unit="g")
        ),
        "space": nodes,
        "objective": gw.Objective("yield_g", "g"),
        "budget": gw.Budget(trials=3),
        **({} if "steps" in told else {"executor": "pvlib"}),
        **told,
    }
    spec = gw.Experiment(**fields).spec
    for name in told:
        assert getattr(spec, name, None) or name in ("datasets", "models")


def test_functions_that_the_page_names_in_its_text_are_there():
    for name in re.findall(r"`gw\.((?:experiments\.)?\w+)\(", PAGE):
        of, _, last = name.rpartition(".")
        assert callable(getattr(gw.experiments if of else gw, last)), name
