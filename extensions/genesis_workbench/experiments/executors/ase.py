"""A random alloy of two fcc metals, relaxed by ASE with effective medium theory (EMT).

Potential: Jacobsen, Stoltze and Norskov (1996), Surface Science 366, 394, as ASE has it. Atoms are placed at random on
the sites of a cubic cell (Zunger et al., 1990, Physical Review Letters 65, 353, say what that leaves out) and relaxed
with the cell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

Element = Literal["Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt"]
_FORCE_EV_PER_A, _STRESS_EV_PER_A3 = 0.01, 2e-4  # 0.03 GPa
_STIFF_EV_PER_A3 = 1.2  # 190 GPa, of such metals: how far a first step goes
_STRAINS = (-0.01, -0.005, 0.0, 0.005, 0.01)


class Alloy(Record):
    """Which metals, and how many of their atoms."""

    host: Element = Field(description="The metal that is alloyed.")
    solute: Element = Field(description="The metal that is put into it.")
    seed: int = Field(0, ge=0, le=2**32, strict=True, description="Seed of the arrangement.")
    cells: int = Field(3, ge=1, le=8, strict=True, description="Unit cells along each edge: 4 cells^3 atoms.")

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.host == self.solute:
            raise ValueError(f"host and solute are both {self.host}; an alloy has two metals")
        return self


class AlloySimulator(ProcessSimulator):
    """The alloy has 4 cells^3 atoms, so a composition is met within 1 / (8 cells^3)."""

    name: ClassVar[str] = "ase"
    settings: ClassVar[type[Record]] = Alloy
    parameters: ClassVar[Mapping[str, str]] = {"solute_fraction": ""}
    outcomes: ClassVar[Mapping[str, str]] = {
        "lattice_constant": "angstrom",
        "mixing_energy": "eV",  # for one atom, against the pure metals
        "bulk_modulus": "GPa",
        "composition": "",  # solute atoms that were placed, as a share
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return lattice constant, mixing energy and bulk modulus of the relaxed alloy."""
        import numpy as np
        from ase.build import bulk

        alloy = read(Alloy, cls.name, arguments)
        host, solute, seed, cells = alloy.host, alloy.solute, alloy.seed, alloy.cells
        fraction = float(parameters["solute_fraction"])
        if not 0 <= fraction <= 1:
            raise InvalidInput(f"solute_fraction is {fraction:g}; a share lies between 0 and 1.")
        atoms = bulk(host, cubic=True) * (cells, cells, cells)
        count = round(fraction * len(atoms))
        places = np.random.default_rng(seed).permutation(len(atoms))[:count]
        symbols = np.array(atoms.get_chemical_symbols())
        symbols[places] = solute
        atoms.set_chemical_symbols(symbols.tolist())
        composition = count / len(atoms)
        # Vegard's law is where the relaxation starts.
        start = (1 - composition) * _edge(host) + composition * _edge(solute)
        atoms.set_cell(np.eye(3) * start * cells, scale_atoms=True)
        energy = _relaxed(atoms)
        pure = (1 - composition) * _energy(host) + composition * _energy(solute)
        return {
            "lattice_constant": float((4 * atoms.get_volume() / len(atoms)) ** (1 / 3)),
            "mixing_energy": energy / len(atoms) - pure,
            "bulk_modulus": _bulk_modulus(atoms),
            "composition": composition,
        }


def _edge(element: str) -> float:
    from ase.build import bulk

    return float(bulk(element, cubic=True).cell[0, 0])


def _relaxed(atoms: Any) -> float:
    """Relax atoms and cell in place; return the energy in eV."""
    from ase.calculators.emt import EMT
    from ase.filters import FrechetCellFilter
    from ase.optimize.cellawarebfgs import CellAwareBFGS

    atoms.calc = EMT()
    cell: Any = FrechetCellFilter(atoms, exp_cell_factor=1.0)
    # BFGS that begins with what is known of a metal's stiffness needs a third of plain BFGS' steps.
    search: Any = CellAwareBFGS(cell, logfile=os.devnull, long_output=False, bulk_modulus=_STIFF_EV_PER_A3)
    if not search.run(fmax=_FORCE_EV_PER_A, smax=_STRESS_EV_PER_A3, steps=500):
        raise InvalidInput("The alloy did not relax within 500 steps.")
    return float(atoms.get_potential_energy())


def _energy(element: str) -> float:
    from ase.build import bulk

    return _relaxed(bulk(element))


def _bulk_modulus(atoms: Any) -> float:
    """Return the bulk modulus in GPa from a Birch-Murnaghan fit around the relaxed cell."""
    from ase.calculators.emt import EMT
    from ase.eos import EquationOfState
    from ase.units import GPa

    volumes, energies = [], []
    for strain in _STRAINS:
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        strained.calc = EMT()
        volumes.append(strained.get_volume())
        energies.append(strained.get_potential_energy())
    _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    return float(modulus / GPa)


if __name__ == "__main__":
    run_as_job(AlloySimulator)
