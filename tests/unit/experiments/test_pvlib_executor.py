"""The simulated field of solar panels behaves like one, and runs as a job."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import Failure, Observation
from genesis_workbench.experiments.executors.pvlib import PvArraySimulator

GOLDEN = {"latitude": 39.74, "longitude": -105.18, "altitude_m": 1829, "linke_turbidity": [2.5] * 12}


def caught(tilt=30, azimuth=180, coverage=0.4, **place):
    parameters = {"tilt_deg": tilt, "azimuth_deg": azimuth, "ground_coverage_ratio": coverage}
    return PvArraySimulator.simulate(parameters, {**GOLDEN, **place})


def test_south_beats_east_and_rows_shade_each_other():
    assert caught()["annual_insolation"] > caught(azimuth=90)["annual_insolation"]
    assert caught(coverage=0.2)["annual_insolation"] > caught(coverage=0.6)["annual_insolation"]
    assert caught()["annual_energy_per_ground_area"] == pytest.approx(0.4 * caught()["annual_insolation"])


def test_east_and_west_are_alike_under_a_clear_sky_wherever_the_place_is():
    for longitude in (-105.18, 0, 139.7):
        east = caught(azimuth=90, longitude=longitude)["annual_insolation"]
        west = caught(azimuth=270, longitude=longitude)["annual_insolation"]
        assert east == pytest.approx(west, rel=0.01)


def test_haze_costs_sunlight_and_the_south_looks_north():
    assert caught(linke_turbidity=[5] * 12)["annual_insolation"] < caught()["annual_insolation"]
    south = {"latitude": -33.9, "longitude": 18.4}
    assert caught(azimuth=0, **south)["annual_insolation"] > caught(azimuth=180, **south)["annual_insolation"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latitude": 88}, "latitude"),
        ({"latitude": "north"}, "valid number"),
        ({"linke_turbidity": [2.5]}, "at least 12 items"),
        ({"wind": 3}, "wind"),
    ],
)
def test_arguments_that_no_trial_could_run_with_are_refused(change, words, tmp_path):
    with pytest.raises(InvalidInput, match=words):
        PvArraySimulator(SimpleNamespace(scheduler=LocalScheduler(tmp_path))).check({**GOLDEN, **change})


def outcome(executor, key):
    deadline = time.monotonic() + 60
    while (found := executor.observe(key)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_trial_runs_as_a_job_and_gives_the_same_numbers(tmp_path):
    executor = PvArraySimulator(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
    parameters = {"tilt_deg": 30, "azimuth_deg": 180, "ground_coverage_ratio": 0.4}
    executor.submit("a1", parameters, GOLDEN)
    executor.submit("a2", parameters, {**GOLDEN, "latitude": 88})
    seen = outcome(executor, "a1")
    assert isinstance(seen, Observation)
    value, unit, _ = seen.values["annual_insolation"]
    assert (value, unit) == (pytest.approx(caught()["annual_insolation"]), "kW*h/m**2")
    refused = outcome(executor, "a2")
    assert isinstance(refused, Failure)
    assert "latitude" in refused.reason
    for watcher in local._watchers:
        watcher.wait(timeout=30)
