"""Every registered recipe keeps the contract."""

from __future__ import annotations

import pytest

from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.sources.starter import StarterSource
from genesis_workbench.core import plugins
from genesis_workbench.testing.recipes import Example, RecipeContract

pytest.importorskip("torch", reason="torch is not installed")

SMALL = {"seed": 3, "epochs": 2, "warmup_steps": 2, "batch_size": 64, "checkpoint_steps": 3}
EXAMPLES = {
    "property": Example(
        "property",
        (),
        {
            **SMALL,
            "shards": 4,
            "shard_size": 16,
            "batch_size": 16,
            "features": 8,
            "blocks": 1,
            "learning_rate": 0.02,
        },
        {"blocks": 0},
    ),
    "series": Example(
        "series",
        ("mauna-loa-co2", "sunspots"),
        {**SMALL, "most_windows": 200, "width": 8, "blocks": 1, "heads": 2, "learning_rate": 0.01},
        {"hidden_share": 1},
    ),
    "surrogate": Example(
        "surrogate",
        ("cec-pv-modules",),
        {**SMALL, "shards": 3, "shard_size": 512, "members": 2, "width": 16, "learning_rate": 0.01},
        {"members": 1},
    ),
}


@pytest.fixture(scope="module")
def starter():
    return {record.id: record for page in StarterSource().pages() for record in page.records}


# Structures take minutes to make neighbours of; the other recipes keep the contract in seconds.
SLOW = {"property"}
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in plugins.names("recipes")
]


@pytest.mark.parametrize("name", NAMES, scope="class")
class TestRecipes(RecipeContract):
    @pytest.fixture(autouse=True)
    def _load(self, name, starter):
        self.example = EXAMPLES[name]
        self.opened = [open_dataset(starter[each]) for each in self.example.datasets]
