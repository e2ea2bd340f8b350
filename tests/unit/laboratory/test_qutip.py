"""An X gate on a transmon decays, turns and leaks as the formulas say; what the simulator does not cover is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors.qutip import GateSimulator

needs_qutip = pytest.mark.skipif(
    find_spec("qutip") is None, reason='QuTiP is not installed: pip install "genesis-workbench[qutip]"'
)
STABLE = {"t1_us": 1e6, "t2_us": 1e6}


def gate(duration, *, amplitude=1.0, drag=0.5, detuning=0.0, **transmon):
    pulse = {"duration": duration, "amplitude": amplitude, "drag": drag, "detuning": detuning}
    return GateSimulator.simulate(pulse, transmon)


@needs_qutip
def test_an_idle_qubit_decays_with_t1(tmp_path):
    idle = {"duration": 100, "amplitude": 0, "drag": 0, "detuning": 0}
    given = {"parameters": idle, "arguments": {"t1_us": 0.5, "t2_us": 0.5}}
    (tmp_path / "arguments.json").write_text(json.dumps(given))
    subprocess.run([sys.executable, "-m", GateSimulator.__module__], cwd=tmp_path, check=True, timeout=120)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found.keys() == GateSimulator.outcomes.keys()
    # Only what has decayed, 1 - exp(-t/T1), has anything of an X gate: an entanglement fidelity of a quarter of that.
    entanglement = (1 - math.exp(-100 / 500)) / 4
    assert found["infidelity"] == pytest.approx(1 - (2 * entanglement + 1) / 3, rel=1e-6)  # Nielsen (2002)
    assert found["leakage"] == pytest.approx(0, abs=1e-9)


@needs_qutip
@pytest.mark.parametrize(("t1_us", "t2_us"), [(50, 30), (50, 100), (1000, 30)])
def test_a_long_pulse_errs_by_decay_alone(t1_us, t2_us):
    # To first order t/(6 T1) + t/(3 T2), as an idle qubit: the average is over all states, wherever the pulse turns them.
    found = gate(100, t1_us=t1_us, t2_us=t2_us)
    assert found["infidelity"] == pytest.approx(0.1 / (6 * t1_us) + 0.1 / (3 * t2_us), rel=0.01)
    assert gate(100, **STABLE)["infidelity"] < 1e-6


@needs_qutip
def test_phase_is_kept_by_half_the_derivative_or_by_the_whole_and_a_shift():
    # Gambetta et al. (2011), to first order: the drive U shifts level 1, and with A the anharmonicity the gate turns too far
    # by (1/2 - drag)/A times the integral of U^2 sin(theta); theta grows from 0 to pi. A gate that turns by x too far has
    # the infidelity x^2/6.
    t, a = np.linspace(0, 40, 4001), 2 * math.pi * 0.25  # ns, 1/ns
    pulse = np.exp(-((t - 20) ** 2) / 200) - math.exp(-2)
    pulse *= math.pi / np.trapezoid(pulse, t)
    sine = np.sin(np.cumsum(pulse) * (t[1] - t[0]))
    shifted = np.trapezoid(pulse**2 * sine, t) / a
    for drag in (-0.5, 0, 1):
        expected = ((0.5 - drag) * shifted) ** 2 / 6
        assert gate(40, drag=drag, **STABLE)["infidelity"] == pytest.approx(expected, rel=0.02)
    assert gate(40, drag=0.5, **STABLE)["infidelity"] < expected / 100
    # Motzoi et al. (2009): with the whole derivative the drive lies below the qubit. This is the mean of their shift.
    detuning = -shifted / 2 / np.trapezoid(sine, t) / (2 * math.pi * 1e-3)
    assert gate(40, drag=1, detuning=detuning, **STABLE)["infidelity"] < expected / 100


@needs_qutip
def test_the_whole_derivative_keeps_the_leakage_away():
    # Motzoi et al. (2009): what is driven from 1 to 2 goes, to first order, with 1 - drag.
    without, half, whole = (gate(30, drag=drag, **STABLE)["leakage"] for drag in (0, 0.5, 1))
    assert half == pytest.approx(without / 4, rel=0.03)
    assert whole < without / 1e4


def test_what_is_not_covered_says_so():
    with pytest.raises(InvalidInput, match=r"duration is 1000 ns; the simulator covers 2 to 200"):
        gate(1000)
    with pytest.raises(InvalidInput, match="at most twice t1_us"):
        gate(20, t1_us=10, t2_us=30)
