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


def test_what_series_hold_out_is_of_another_time_and_other_places():
    from genesis_workbench.training.recipes.series.windows import parts

    long = np.arange(400, dtype="float32")
    places = [np.arange(12, dtype="float32") + 1000 * (1 + at) for at in range(50)]
    short = -np.arange(40, dtype="float32")
    found = parts([long, short, *places], 36, 2000, np.random.default_rng(0))
    train, validation, test = ([window for window in kind if 0 < window.min() < 1000] for kind in found)
    assert np.max(train) < np.min(validation) <= np.max(validation) < np.min(test)
    assert np.max(test) == 399
    where = [{int(window[0] // 1000) for window in kind if window.min() >= 1000} for kind in found]
    assert [len(each) for each in where] == [40, 5, 5]
    assert len(set.union(*where)) == 50
    # What is too short to be held out is trained on.
    assert [any(window.min() < 0 for window in kind) for kind in found] == [True, False, False]
    capped = parts([long, *places], 36, 50, np.random.default_rng(0))
    assert [len(kind) for kind in capped] == [40, 5, 5]
