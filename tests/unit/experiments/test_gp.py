"""The light default optimiser finds what random search does not."""

from __future__ import annotations

import numpy as np
import pytest

from genesis_workbench.experiments.proposers.gp import (
    GaussianProcess,
    GaussianProcessProposer,
    log_expected_improvement,
)
from genesis_workbench.experiments.proposers.random import RandomProposer
from genesis_workbench.experiments.space import Real
from genesis_workbench.experiments.state import Trial
from genesis_workbench.testing.proposers import specification


def best_after(proposer, seed, trials=20):
    spec = specification(seed=seed, space=(Real("a", -1, 1), Real("b", -1, 1), Real("c", -1, 1)))
    done = []
    for number in range(1, trials + 1):
        point = proposer.propose(spec, done, 1)[0]
        value = -((point["a"] - 0.31) ** 2) - 2 * (point["b"] + 0.42) ** 2 - 0.5 * (point["c"] - 0.77) ** 2
        done.append(
            Trial(number, point, "", "", "", state="observed", values={"y": {"value": value, "unit": ""}})
        )
    return max(trial.values["y"]["value"] for trial in done)


def test_it_comes_ten_times_nearer_than_random_search_on_a_smooth_function():
    ours = np.median([-best_after(GaussianProcessProposer(), seed) for seed in range(5)])
    control = np.median([-best_after(RandomProposer(), seed) for seed in range(5)])
    assert ours < control / 10


def test_expected_improvement_is_right_near_and_finite_far_away():
    from scipy.stats import norm

    z = np.array([-0.5, 0.0, 2.0])
    direct = np.log(norm.pdf(z) + z * norm.cdf(z))
    assert log_expected_improvement(z, np.ones(3), 0.0) == pytest.approx(direct)
    far = log_expected_improvement(np.array([-30.0, -20.0, -5.0]), np.ones(3), 0.0)
    assert np.isfinite(far).all()
    assert (np.diff(far) > 0).all()


def test_the_process_interpolates_and_is_unsure_far_from_what_it_saw():
    x = np.array([[0.1], [0.5], [0.9]])
    y = np.array([-1.0, 0.0, 1.0])
    process = GaussianProcess(x, y, np.log([0.1, 1e-8]))
    mean, deviation = process.predict(np.array([[0.5], [0.7]]))
    assert mean[0] == pytest.approx(0.0, abs=1e-3)
    assert deviation[1] > 100 * deviation[0]
