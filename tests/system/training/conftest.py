"""One process that forks those that train, for all tests of a file."""

from __future__ import annotations

import pytest

from system.training.jobs import Forks


@pytest.fixture(scope="module")
def forks():
    made = Forks()
    yield made
    made.close()
