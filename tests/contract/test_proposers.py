"""Every registered proposer keeps the contract."""

from __future__ import annotations

import pytest

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import MissingDependency
from genesis_workbench.experiments.proposers import _base
from genesis_workbench.testing.proposers import ProposerContract, specification

HEAVY = {"ax", "baybe"}  # seconds to import, seconds to propose
NAMES = [
    name for name in plugins.names("proposers") if name != "agent"
]  # it meets the contract where its model is
# What torch, gpytorch and BoTorch warn each other of, and that they have little data, is not ours to mend.
LOUD = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=LOUD if name in HEAVY else []) for name in NAMES],
    scope="class",
)
class TestProposers(ProposerContract):
    @pytest.fixture(autouse=True)
    def _load(self, name):
        try:
            _base.check(name, specification())
        except MissingDependency as error:
            if name not in HEAVY:
                raise
            pytest.skip(str(error))
        self.proposer = plugins.load("proposers", name)()
