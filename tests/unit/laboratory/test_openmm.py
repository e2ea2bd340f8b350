"""A peptide has the geometry of a helix and keeps its temperature; glycine and heat break it; what is not covered is refused."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import Observation
from genesis_workbench.experiments.executors._peptide import built, helical, torsions
from genesis_workbench.experiments.executors.openmm import PeptideSimulator

pytest.importorskip("openmm", reason='OpenMM is not installed: pip install "genesis-workbench[openmm]"')
ALANINE = {"temperature": 300.0}


def test_the_chain_is_built_as_an_alpha_helix():
    topology, places = built(["ALA"] * 5 + ["GLY"] + ["ALA"] * 6, -57, -47)
    at = {
        (residue.index, atom.name): places[atom.index]
        for residue in topology.residues()
        for atom in residue.atoms()
    }

    def far(one, other):
        return float(np.linalg.norm(at[one] - at[other]))

    def angle(one, middle, other):
        left, right = at[one] - at[middle], at[other] - at[middle]
        return np.degrees(np.arccos(left @ right / np.linalg.norm(left) / np.linalg.norm(right)))

    # Engh and Huber (1991), Acta Crystallographica A 47, 392: angstrom and degrees.
    assert far((4, "C"), (5, "N")) == pytest.approx(1.329)
    assert far((4, "N"), (4, "CA")) == pytest.approx(1.458)
    assert far((4, "CA"), (4, "C")) == pytest.approx(1.525)
    assert far((4, "C"), (4, "O")) == pytest.approx(1.231)
    assert angle((4, "N"), (4, "CA"), (4, "C")) == pytest.approx(111.2)
    assert angle((4, "C"), (4, "CA"), (4, "CB")) == pytest.approx(110.5, abs=0.5)
    assert angle((4, "O"), (4, "C"), (5, "N")) == pytest.approx(123.0, abs=0.5)
    # L-alanine, not its mirror image.
    n, c, cb = (at[4, name] - at[4, "CA"] for name in ("N", "C", "CB"))
    assert np.cross(n, c) @ cb > 0
    phi, psi = torsions(topology, places[None])
    assert phi == pytest.approx(np.full((1, 12), -57))
    assert psi == pytest.approx(np.full((1, 12), -47))
    assert helical(phi, psi).all()
    # Baker and Hubbard (1984), Progress in Biophysics 44, 97: hydrogen bonds of 2.99 angstrom to the fourth residue on;
    # an alpha helix rises 1.5 angstrom a residue, with 3.6 residues in a turn.
    assert far((4, "O"), (8, "N")) == pytest.approx(2.99, abs=0.15)
    rise, turn = screw(np.array([at[number, "CA"] for number in range(1, 13)]))
    assert rise == pytest.approx(1.5, abs=0.1)
    assert 360 / turn == pytest.approx(3.6, abs=0.05)


def screw(points):
    """Return rise and turn (degrees) from one point of a helix to the next: Kahn (1989), Computers & Chemistry 13, 185."""
    inward = points[:-2] - 2 * points[1:-1] + points[2:]
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    axis = np.cross(inward[0], inward[1])
    axis /= np.linalg.norm(axis)
    return float((points[2] - points[1]) @ axis), float(np.degrees(np.arccos(inward[0] @ inward[1])))


def test_three_in_a_row_are_helical():
    inside = np.array([[1, 1, 0, 1, 1, 1, 0, 1]], dtype=bool)
    found = helical(np.where(inside, -57.0, -139.0), np.where(inside, -47.0, 135.0))
    assert found.tolist() == [[False] * 3 + [True] * 3 + [False] * 2]


def test_the_chain_has_the_temperature_that_is_asked_for():
    settings = {"residues": 4, "duration_ps": 30, "seed": 3}
    found = PeptideSimulator.simulate(ALANINE, settings)
    # Equipartition: half of kT for each degree of freedom, 3 for an atom less one for each bond that is held. The mean over
    # some twenty independent moments of 119 such degrees scatters by 3 %.
    assert found["kinetic_temperature"] == pytest.approx(300, rel=0.1)
    assert PeptideSimulator.simulate(ALANINE, settings) == found


@pytest.mark.slow
def test_alanine_keeps_its_helix_at_room_temperature_and_loses_it_hot():
    # Shell et al. (2008): with this force field helices are stable at 300 K.
    cold = PeptideSimulator.simulate(ALANINE, {"seed": 1})
    hot = PeptideSimulator.simulate(ALANINE | {"temperature": 600.0}, {"seed": 1})
    assert cold["helicity"] > 0.7
    assert hot["helicity"] < 0.4
    assert hot["potential_energy"] > cold["potential_energy"]


def test_each_trial_has_random_numbers_of_its_own_unless_a_seed_is_given(tmp_path):
    executor = PeptideSimulator(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
    brief = {"residues": 4, "duration_ps": 5}
    given = {"one": brief, "other": brief, "third": brief | {"seed": 5}, "fourth": brief | {"seed": 5}}
    for key, arguments in given.items():
        executor.check(arguments)
        executor.submit(key, ALANINE, arguments)
    found = {}
    deadline = time.monotonic() + 300
    while len(found) < len(given):
        assert time.monotonic() < deadline
        found = {key: seen for key in given if (seen := executor.observe(key)) is not None}
        time.sleep(0.05)
    for watcher in local._watchers:
        watcher.wait(timeout=30)
    assert all(isinstance(each, Observation) for each in found.values())
    values = {key: each.values for key, each in found.items()}
    assert {name: unit for name, (_, unit, _) in values["one"].items()} == executor.outcomes
    assert values["one"] != values["other"]
    assert values["third"] == values["fourth"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"temperature": 100.0}, "not 100 K"),
        ({"first_glycine": 6}, "1 to 5 or 0 for none, not 300 K and 6"),
        ({"first_glycine": 2.5}, "2.5"),
    ],
)
def test_what_is_not_covered_is_refused(changed, words):
    with pytest.raises(InvalidInput, match=words):
        PeptideSimulator.simulate(ALANINE | changed, {})


def test_a_chain_that_is_too_long_is_refused():
    with pytest.raises(InvalidInput, match="residues"):
        PeptideSimulator(SimpleNamespace()).check({"residues": 100})
