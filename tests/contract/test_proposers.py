"""Every registered proposer keeps the contract."""

from __future__ import annotations

import pytest

from genesis_workbench.core import plugins
from genesis_workbench.testing.proposers import ProposerContract


@pytest.mark.parametrize("name", plugins.names("proposers"), scope="class")
class TestProposers(ProposerContract):
    @pytest.fixture(autouse=True)
    def _load(self, name):
        self.proposer = plugins.load("proposers", name)()
