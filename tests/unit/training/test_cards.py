"""What a card says of a model is what it did."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")


def test_a_surrogate_that_is_always_too_high_explains_nothing():
    from genesis_workbench.training.recipes.surrogate.recipe import _card

    y = np.linspace(0.0, 100.0, 50)
    data = SimpleNamespace(train=SimpleNamespace(counts=[50]), simulator="pvlib", facts={"modules": 3})
    metrics = {each.name: each.value for each in _card(data, y + 500, np.ones(50), y).metrics}
    assert metrics["RMSE"] == pytest.approx(500)
    assert metrics["R²"] == pytest.approx(1 - 500**2 / np.var(y))
