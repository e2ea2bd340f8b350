"""Laboratories whose gateways are processes."""

from __future__ import annotations

import pytest

from system.laboratory.processes import Laboratory


@pytest.fixture
def start(tmp_path):
    made = []

    def begin(**options):
        laboratory = Laboratory(tmp_path, **options)
        made.append(laboratory)
        laboratory.start()
        return laboratory

    yield begin
    for laboratory in made:
        laboratory.close()
