"""Real engines give figures that are known, as jobs; what they do not cover is refused."""

from __future__ import annotations

import ctypes.util
import math
import time
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import Failure, Observation


@pytest.fixture
def run(tmp_path):
    def run(name, parameters, arguments):
        executor = plugins.load("executors", name)(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
        executor.check(arguments)
        executor.submit("trial", parameters, arguments)
        deadline = time.monotonic() + 300
        while (found := executor.observe("trial")) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if isinstance(found, Failure):
            return found.reason
        assert isinstance(found, Observation)
        assert {each: unit for each, (_, unit, _) in found.values.items()} == executor.outcomes
        return {each: value for each, (value, _, _) in found.values.items()}

    yield run
    for watcher in local._watchers:
        watcher.wait(timeout=30)


def test_copper_has_its_lattice_constant_and_bulk_modulus(run):
    # Kittel, Introduction to Solid State Physics, 8th edition: 3.61 angstrom (chapter 1), 137 GPa (chapter 3).
    found = run("ase", {"solute_fraction": 0.0}, {"host": "Cu", "solute": "Au", "cells": 1})
    assert found["lattice_constant"] == pytest.approx(3.61, rel=0.01)
    assert found["bulk_modulus"] == pytest.approx(137, rel=0.03)
    assert found["mixing_energy"] == pytest.approx(0, abs=1e-4)


def test_gold_widens_copper_beyond_vegards_law(run):
    # Kittel: 3.61 and 4.08 angstrom. Okamoto et al. (1987), Bulletin of Alloy Phase Diagrams 8, 454: the solid
    # solution is wider than the straight line between them.
    found = run("ase", {"solute_fraction": 0.5}, {"host": "Cu", "solute": "Au", "cells": 2})
    assert found["composition"] == 0.5
    assert (3.59 + 4.056) / 2 < found["lattice_constant"] < 3.90


def test_the_lg_m50_has_its_nominal_capacity(run):
    # Chen et al. (2020): nominal capacity 5 A h, between 4.2 V and 2.5 V; nominal voltage of the cell 3.63 V.
    found = run("pybamm", {"negative_thickness": 85.2, "positive_thickness": 75.6, "current": 0.25}, {})
    assert found["capacity"] == pytest.approx(5.0, rel=0.03)
    assert found["mean_voltage"] == pytest.approx(3.63, rel=0.03)
    assert found["energy"] == pytest.approx(found["capacity"] * found["mean_voltage"])
    # Olivetti et al. (2017), Joule 1, 229: 0.094 kg of cobalt for a kW h of cells with NMC 811.
    assert found["cobalt"] / found["energy"] == pytest.approx(0.094, rel=0.2)


@pytest.mark.skipif(
    not ctypes.util.find_library("lapack"), reason="the system has no LAPACK (Debian: liblapack3)"
)
def test_a_diode_has_the_field_and_slope_of_the_textbook(run):
    found = run("devsim", {"acceptors": 1e17, "donors": 1e16}, {"bias": 0.5})
    # Sze and Ng, Physics of Semiconductor Devices, 3rd edition, section 2.2: depletion approximation, 4.66e4 V/cm with
    # kT/q = 25.85 mV, ni = 1e10 /cm3, permittivity 11.7; section 2.3: ln(10) kT/q = 59.5 mV for a decade of current.
    assert found["peak_field"] == pytest.approx(4.66e4, rel=0.02)
    assert found["slope"] == pytest.approx(59.5, rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    find_spec("torax") is None, reason='TORAX is not installed: pip install "genesis-workbench[torax]"'
)
def test_a_tokamak_keeps_greenwalds_density_and_its_gain(run):
    parameters = {"plasma_current": 15.0, "heating_power": 50.0, "heating_width": 0.1}
    found = run("torax", parameters, {})
    # Greenwald et al. (1988), Nuclear Fusion 28, 2199: the limit is I/(pi a^2) in 1e20/m3, MA and m; a = 2 m.
    assert found["density"] / found["greenwald_fraction"] == pytest.approx(
        15.0 / (math.pi * 2.0**2) * 1e20, rel=1e-3
    )
    # Fusion gain is fusion power over what comes from outside: 50 MW and a few MW of the current's own heat.
    assert 50 < found["fusion_power"] / found["fusion_gain"] < 65
    assert found["core_temperature"] > 3
    # Uckan (1990), ITER Physics Design Guidelines, IAEA: q95 of a plasma with R = 6.2 m, B = 5.3 T, elongation 1.72.
    eps = 2.0 / 6.2
    shape = (1 + 1.72**2) / 2 * (1.17 - 0.65 * eps) / (1 - eps**2) ** 2
    assert found["safety_factor"] == pytest.approx(5 * 2.0**2 * 5.3 / (6.2 * 15.0) * shape, rel=0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("ase", {"host": "Cu", "solute": "Cu"}, "two metals"),
        ("ase", {"host": "Cu", "solute": "Au", "cells": 100}, "cells"),
        ("pybamm", {"model": "P2D"}, "DFN"),
        ("devsim", {"colour": "red"}, "colour"),
        ("torax", {"duration_s": 0}, "duration_s"),
    ],
)
def test_what_no_trial_could_run_with_is_refused(name, arguments, words, tmp_path):
    with pytest.raises(InvalidInput, match=words):
        plugins.load("executors", name)(SimpleNamespace(scheduler=LocalScheduler(tmp_path))).check(arguments)


def test_a_parameter_that_is_held_is_not_varied(tmp_path):
    cell = plugins.load("executors", "pybamm")(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
    assert set(cell.signature({"model": "SPMe"}).parameters) == set(cell.parameters)
    held = {"model": "SPMe", "current": 5}
    cell.check(held)
    assert set(cell.signature(held).parameters) == {"negative_thickness", "positive_thickness"}
    with pytest.raises(InvalidInput, match="current"):
        cell.check({"current": "much"})


def test_a_cell_beyond_what_is_covered_says_so(run):
    found = run("pybamm", {"negative_thickness": 1.0, "positive_thickness": 75.6, "current": 1.0}, {})
    assert "covers electrodes of 20 to 250 um" in found
