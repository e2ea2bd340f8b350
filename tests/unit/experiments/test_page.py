"""The pages on hypotheses and proposers do as they say: each block of code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genesis_workbench.experiments import rules

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
HYPOTHESES = (HOW_TO / "state-a-hypothesis.md").read_text()
PROPOSERS = (HOW_TO / "choose-a-proposer.md").read_text()


@pytest.fixture
def page(own_store):
    """Runs the code of a page from top to bottom, and gives its names."""

    def read(text):
        names = {"__name__": "page"}
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(block, names)  # noqa: S102 - our own page
        return names

    return read


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
