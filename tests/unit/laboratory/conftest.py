"""Simulated devices, and a gateway that owns them."""

from __future__ import annotations

import pytest

from unit.laboratory.twins import Twin, gateway


@pytest.fixture
def twin(tmp_path):
    made = Twin(tmp_path / "twin")
    yield made
    made.off()


@pytest.fixture
def lab(twin, tmp_path):
    made = gateway(twin.folder, tmp_path / "lab")
    yield made
    made.close()
