"""The simulated laboratory's physics: the laws with values worked out elsewhere, noise by its statistics, drift by its limits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from genesis_workbench.experiments.instruments.simulated import devices, physics
from genesis_workbench.experiments.instruments.simulated.world import World

LONG_S = 1e9


def facts(**used):
    fresh = json.loads(json.dumps(devices.FIRST_FACTS))
    fresh["used"] |= used
    fresh["samples"]["s"] = {"bromide": 0.3, "grown": 2.0, "lost": 0.0, "place": "rack"}
    return fresh


def annealed(temperature, duration, used=0, elapsed_s=None):
    """Return the sample of a furnace without noise of its own, and what is measured."""
    here = facts(furnace=used)
    here["inside"] = "s"
    here["samples"]["s"]["grown"] = 0.0
    arguments = {"temperature": temperature, "duration": duration}
    lasts_s = devices.begin("furnace", "anneal", here, arguments)
    found = devices.end(
        "furnace", "anneal", here, arguments, Silence(), lasts_s if elapsed_s is None else elapsed_s
    )
    return here["samples"]["s"], found


class Silence:
    """A generator whose noise is zero, and whose counts are what is expected."""

    def normal(self, size=None):
        return 0.0 if size is None else np.zeros(size)

    def poisson(self, expected):
        return np.asarray(expected)


def mixed(noise, **used):
    here = facts(**used)
    arguments = {"sample": "new", "iodide": 60.0, "bromide": 40.0}
    return devices.end("handler", "mix", here, arguments, noise, LONG_S), here["samples"]["new"]


def measured(noise, used=0, sample=None):
    here = facts(spectrometer=used)
    here["samples"]["s"] |= sample or {}
    return devices.end("spectrometer", "measure", here, {"sample": "s", "integration": 10.0}, noise, LONG_S)


# --- laws ---


def test_the_band_gap_is_that_of_the_pure_halides_and_bows_between_them():
    # Noh et al. (2013): 1.57 eV for the iodide, 2.29 eV for the bromide.
    assert physics.band_gap(0.0) == pytest.approx(1.57)
    assert physics.band_gap(1.0) == pytest.approx(2.29)
    assert physics.band_gap(0.5) == pytest.approx(1.8475)


def test_rates_follow_arrhenius():
    # 90 kJ/mol from 100 to 110 degC: exp(90e3 / 8.314462618 * (1/373.15 - 1/383.15)) = 2.132.
    assert physics.arrhenius((2e-3, 90e3), 100.0) == pytest.approx(2e-3)
    assert physics.arrhenius((1.0, 90e3), 110.0) == pytest.approx(2.132, rel=1e-3)


def test_the_furnace_ramps_holds_and_cools_by_newtons_law():
    at = [physics.furnace_temperature(22.0, 100.0, 600.0, each) for each in (0, 39, 78, 678, 978)]
    assert at == pytest.approx([22.0, 61.0, 100.0, 100.0, 22.0 + 78.0 / math.e])
    lasts_s = physics.anneal_duration(22.0, 100.0, 600.0)
    assert physics.furnace_temperature(22.0, 100.0, 600.0, lasts_s) == pytest.approx(40.0)


def test_on_the_plateau_a_film_grows_and_is_lost_at_the_rates_of_its_temperature():
    grown, lost = physics.annealed(100.0, 100.0, 600.0, 600.0)
    assert (grown, lost) == pytest.approx((1.2, 0.015))
    # Avrami with the exponent 2, and a first-order loss.
    assert physics.quality(1.0, 0.0) == pytest.approx(1 - 1 / math.e)
    assert physics.quality(50.0, math.log(2)) == pytest.approx(0.5)


def test_the_best_anneal_is_the_usual_recipe():
    def quality(temperature, duration):
        sample, _ = annealed(temperature, duration)
        return physics.quality(sample["grown"], sample["lost"])

    temperatures = range(60, 181, 5)
    best = max(temperatures, key=lambda each: quality(each, 600.0))
    assert 95 <= best <= 125
    # Too cold does not crystallise, too hot decomposes, and so does too long.
    assert quality(60, 600) < 0.2 * quality(best, 600)
    assert quality(180, 600) < 0.2 * quality(best, 600)
    assert quality(150, 7200) < quality(150, 60)


def test_a_film_that_has_decomposed_has_no_line_and_its_spectrum_is_kept():
    sample, _ = annealed(200.0, 7200.0)
    found = measured(np.random.default_rng(0), sample=sample)
    assert "has decomposed" in found["failed"]
    assert found["file"].startswith("energy_eV,counts")


def test_what_was_stopped_half_way_has_grown_less():
    whole, _ = annealed(100.0, 600.0)
    half, _ = annealed(100.0, 600.0, elapsed_s=300.0)
    assert 0 < half["grown"] < whole["grown"] / 2


# --- noise ---


def test_noise_is_that_of_the_run_and_of_the_seed(tmp_path):
    def ran(folder, seed, key):
        (tmp_path / folder).mkdir()
        world = World(tmp_path / folder, seed=seed, time_scale=1e9, failure_rate=0.0)
        world.start("handler", key, "mix", {"sample": "new", "iodide": 60.0, "bromide": 40.0}, "me")
        while (found := world.outcome("handler", key, "me"))["state"] == "running":
            pass
        world.close()
        return found["values"]["dispensed_iodide"][0]

    first = ran("a", 1, "k")
    assert ran("b", 1, "k") == first
    assert ran("c", 2, "k") != first
    assert ran("d", 1, "l") != first


def test_a_pipette_errs_as_much_as_it_says():
    noise = np.random.default_rng(1)
    found = [mixed(noise) for _ in range(1000)]
    volumes = [each["dispensed_iodide"][0] for each, _ in found]
    # 1 % of 60 uL, 0.3 uL and the balance's 0.2 uL: together 0.70 uL.
    assert np.mean(volumes) == pytest.approx(60.0, abs=0.1)
    assert np.std(volumes) == pytest.approx(0.70, rel=0.1)
    # The film has what was dispensed, and not what was asked for: 0.24 * sqrt(0.011**2 + 0.0125**2) = 0.0040.
    assert np.std([sample["bromide"] for _, sample in found]) == pytest.approx(0.0040, rel=0.1)


def test_the_uncertainty_of_a_fitted_line_is_its_scatter():
    noise = np.random.default_rng(2)
    found = [measured(noise)["peak_energy"] for _ in range(300)]
    pulls = [(value - physics.band_gap(0.3)) / spread for value, spread in found]
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_devices_fail_as_often_as_they_are_told_to(tmp_path, rate):
    world, most = World(tmp_path, seed=3, time_scale=1e12, failure_rate=rate), 200
    for number in range(most):
        world.start("furnace", f"k{number}", "open_door", {}, "me")
        while world.outcome("furnace", f"k{number}", "me")["state"] == "running":
            pass
    failed = sum(json.loads(run["outcome"])["state"] == "failed" for run in world.history())
    world.close()
    # Five standard deviations of a binomial.
    assert failed / most == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / most))


# --- drift ---


def test_the_lamp_fades_with_use():
    bright, faint = (measured(Silence(), used)["peak_intensity"][0] for used in (0, 1000))
    # One more use is counted by the measurement itself, both times.
    assert faint / bright == pytest.approx(math.exp(-0.5), rel=1e-3)


def test_the_grating_moves_by_a_fifth_of_a_millielectronvolt():
    places = [
        measured(Silence(), used)["peak_energy"][0] - physics.band_gap(0.3) for used in range(0, 260, 5)
    ]
    assert max(places) == pytest.approx(2e-4, rel=0.05)
    assert min(places) == pytest.approx(-2e-4, rel=0.05)


@pytest.mark.parametrize(("used", "percent"), [(99, 1.0), (10_000, 2.0)])
def test_the_handlers_calibration_drifts_up_to_two_percent(used, percent):
    found, _ = mixed(Silence(), handler=used)
    assert found["dispensed_iodide"][0] == pytest.approx(60.0 * (1 + percent / 100))


@pytest.mark.parametrize(("used", "kelvin"), [(99, 2.0), (10_000, 3.0)])
def test_the_film_gets_hotter_than_the_furnace_says_as_its_thermocouple_drifts(used, kelvin):
    drifted, found = annealed(100.0, 600.0, used=used)
    assert found["plateau"][0] == pytest.approx(100.0), "the controller sees nothing of it"
    exact = physics.annealed(
        physics.ROOM_C, 100.0 + kelvin, 600.0, physics.anneal_duration(physics.ROOM_C, 100.0, 600.0)
    )
    assert (drifted["grown"], drifted["lost"]) == pytest.approx(exact)
