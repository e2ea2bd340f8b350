"""Crystals of alloys with the energy that effective-medium theory gives them: computed by ASE, not measured.

Method: Jacobsen, Stoltze and Nørskov (1996), Surface Science 366, 394. Parameters for seven metals are in ASE.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAME = "ASE's effective-medium theory (EMT)"
LATTICE_ANGSTROM = {"Al": 4.05, "Ni": 3.52, "Cu": 3.61, "Pd": 3.89, "Ag": 4.09, "Pt": 3.92, "Au": 4.08}
ATOMS = 8
"""Of a crystal: two cubic cells."""


def simulate(count: int, seed: list[int], cutoff: float, neighbours: int) -> dict[str, np.ndarray]:
    """Return crystals of one to three metals, strained and shaken, as graphs with their energy in eV for each atom."""
    random = np.random.default_rng(seed)
    made = [_graph(crystal, cutoff, neighbours) for crystal in (_crystal(random) for _ in range(count))]
    return {name: np.stack([each[name] for each in made]) for name in made[0]}


def graph(crystal: Any, cutoff: float, neighbours: int) -> dict[str, np.ndarray]:
    """Return atomic numbers (atoms,), neighbours and distances in angstrom (atoms, neighbours), the nearest first."""
    from ase.neighborlist import neighbor_list

    count = len(crystal)
    first, second, far = neighbor_list("ijd", crystal, cutoff)
    index, distance = np.zeros((count, neighbours), "int64"), np.zeros((count, neighbours), "float32")
    for atom in range(count):
        mine = np.flatnonzero(first == atom)
        mine = mine[np.argsort(far[mine], kind="stable")][:neighbours]
        index[atom, : len(mine)], distance[atom, : len(mine)] = second[mine], far[mine]
    return {"numbers": crystal.numbers.astype("int64"), "neighbours": index, "distances": distance}


def _graph(crystal: Any, cutoff: float, neighbours: int) -> dict[str, np.ndarray]:
    from ase.calculators.emt import EMT

    crystal.calc = EMT()
    energy = np.array(crystal.get_potential_energy() / len(crystal), "float32")
    return {**graph(crystal, cutoff, neighbours), "energy": energy}


def _crystal(random: np.random.Generator) -> Any:
    from ase.build import bulk

    metals = random.choice(list(LATTICE_ANGSTROM), random.integers(1, 4), replace=False)
    symbols = random.choice(metals, ATOMS)
    length = np.mean([LATTICE_ANGSTROM[each] for each in symbols]) * random.uniform(0.95, 1.08)
    crystal = bulk("Cu", "fcc", a=float(length), cubic=True).repeat((2, 1, 1))
    crystal.set_chemical_symbols(symbols.tolist())
    crystal.rattle(0.1, rng=random)
    return crystal
