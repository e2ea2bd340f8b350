"""The page on hypotheses describes an experiment that the library takes as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from genesis_workbench.experiments import rules
from genesis_workbench.experiments.proposers._base import random_values

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "state-a-hypothesis.md"


def test_what_the_page_describes_can_be_described():
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    names = {}
    exec(code[1].replace(").launch()", ")"), names)  # noqa: S102 - our own page, without its launch
    spec = names["run"].spec
    assert spec.hypothesis.rule.type == "superiority"
    assert random_values(spec, 0)


def test_the_page_names_every_rule():
    text = PAGE.read_text()
    assert all(f"`{rule.__name__}`" in text for rule in rules.AnyRule.__args__)
