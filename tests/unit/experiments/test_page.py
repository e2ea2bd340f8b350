"""The pages on hypotheses and proposers do as they say: each block of code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import notebook, rules, store
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors._base import Place
from unit.experiments.bench import ALICE

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
HYPOTHESES = (HOW_TO / "state-a-hypothesis.md").read_text()
PROPOSERS = (HOW_TO / "choose-a-proposer.md").read_text()


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Runs the code of a page from top to bottom, and gives its names."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    executors, blobs = Executors(Place(Site(name="test"), State(tmp_path))), BlobStore(tmp_path / "blobs")
    mine = store.LedgerExperiments(ledger, ALICE, blobs=blobs, executors=executors)
    monkeypatch.setattr(notebook, "store", lambda: mine)

    def read(text):
        names = {"__name__": "page"}
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(block, names)  # noqa: S102 - our own page
        return names

    yield read
    ledger.close()


def test_the_page_on_hypotheses_launches_an_experiment_that_decides(page):
    names = page(HYPOTHESES)
    spec = names["run"].state().spec
    assert spec.hypothesis.rule.type == "superiority"
    assert names["finding"]["decision"] in ("supported", "not supported", "undecided")
    assert {trial.arm for trial in names["run"].state().trials} == {"main", "control"}
    assert names["run"].verify().ok


def test_the_page_on_proposers_launches_experiments_with_what_it_names(page):
    names = page(PROPOSERS)
    for run, proposer in ((names["one"], "gp"), (names["other"], "optuna")):
        assert run.wait()["decision"] in ("supported", "not supported")
        assert {trial.proposer for trial in run.state().trials} == {proposer}


def test_the_page_names_every_rule():
    assert all(f"`{rule.__name__}`" in HYPOTHESES for rule in rules.AnyRule.__args__)
