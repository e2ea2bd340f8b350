"""A short peptide of alanine and glycine with capped ends, by OpenMM: an alpha helix that is heated, in implicit water.

OpenMM: Eastman et al. (2024), Journal of Physical Chemistry B 128, 109. Force field: AMBER ff96 with the implicit solvent
of Onufriev, Bashford and Case (2004), Proteins 55, 383, which Shell, Ritterson and Dill (2008), Journal of Physical
Chemistry B 112, 6878, found balanced between helix and sheet. Langevin dynamics in steps of 4 fs with heavier
hydrogens: Hopkins et al. (2015), Journal of Chemical Theory and Computation 11, 1864. The friction is far below water's,
so that the peptide moves faster than there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, Request, run_as_job
from genesis_workbench.experiments.executors._peptide import built, helical, torsions
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

if TYPE_CHECKING:
    from genesis_workbench.compute.job import JobSpec

_STEP_PS, _FRAME_STEPS = 0.004, 125
_FRICTION_PER_PS, _HYDROGEN_AMU = 1.0, 4.0
_ANGLES = {"helix": (-57.0, -47.0), "extended": (-139.0, 135.0)}  # phi and psi, degrees


class Peptide(Record):
    """The chain, and how long it is watched."""

    residues: int = Field(8, ge=4, le=12, strict=True, description="Amino acids between the caps.")
    glycines: int = Field(4, ge=1, le=4, strict=True, description="How many of them in a row are glycine.")
    duration_ps: float = Field(30, ge=5, le=200, description="Picoseconds that are simulated.")
    start: Literal["helix", "extended"] = Field("helix", description="Shape in which the chain begins.")
    seed: int | None = Field(
        None,
        ge=1,
        lt=2**31,
        strict=True,
        description="Seed of velocities and collisions; left out, each trial has one of its own.",
    )


class PeptideSimulator(ProcessSimulator):
    """Alanines, some of which in a row are glycines: the place of the first one is counted from 1, and 0 is none.

    What comes out are means over the second half of the time.
    """

    name: ClassVar[str] = "openmm"
    settings: ClassVar[type[Record]] = Peptide
    parameters: ClassVar[Mapping[str, str]] = {"temperature": "K", "first_glycine": ""}
    optional: ClassVar[frozenset[str]] = frozenset({"first_glycine"})
    outcomes: ClassVar[Mapping[str, str]] = {
        "helicity": "",  # share of residues that are helical
        "radius_of_gyration": "angstrom",
        "potential_energy": "kJ/mol",
        "kinetic_temperature": "K",
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return what the chain was like in the second half of its time."""
        peptide = read(Peptide, cls.name, arguments)
        temperature, first = float(parameters["temperature"]), float(parameters.get("first_glycine", 0))
        last = peptide.residues - peptide.glycines + 1
        if not (200 <= temperature <= 600 and first in range(last + 1)):
            raise InvalidInput(
                f"The simulator covers 200 to 600 K, and here a first glycine at the places 1 to {last} or 0 for none, not "
                f"{temperature:g} K and {first:g}."
            )
        glycines = range(int(first), int(first) + peptide.glycines) if first else ()
        chain = ["GLY" if place in glycines else "ALA" for place in range(1, peptide.residues + 1)]
        return _watched(chain, temperature, peptide)

    def _job(self, request: Request) -> JobSpec:
        # Trials of one point differ, as measurements do. A trial that is submitted again has the same key, and so the same seed.
        own = {"seed": 1 + zlib.crc32(request.key.encode()) % (2**31 - 1)}
        given = {name: value for name, value in request.arguments.items() if value is not None}
        return super()._job(replace(request, arguments=own | given))


def _watched(chain: Sequence[str], temperature: float, peptide: Peptide) -> dict[str, float]:
    import openmm
    from openmm import app, unit

    topology, places = built(chain, *_ANGLES[peptide.start])
    system = app.ForceField("amber96.xml", "amber96_obc.xml").createSystem(
        topology, constraints=app.HBonds, hydrogenMass=_HYDROGEN_AMU, removeCMMotion=False
    )
    integrator = openmm.LangevinMiddleIntegrator(temperature, _FRICTION_PER_PS, _STEP_PS)
    seed = peptide.seed or 1
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1", "DeterministicForces": "true"})
    context.setPositions(places / 10)  # nm
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    context.setVelocitiesToTemperature(temperature, seed)
    count = round(peptide.duration_ps / _STEP_PS / _FRAME_STEPS)
    frames, energies, kinetic = [], [], []
    for number in range(count):
        integrator.step(_FRAME_STEPS)
        if number >= count // 2:
            state = context.getState(positions=True, energy=True)
            frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
            energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
            kinetic.append(state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole))
    atoms = list(topology.atoms())
    masses = np.array([atom.element.mass.value_in_unit(unit.dalton) for atom in atoms])
    freedom = 3 * len(atoms) - system.getNumConstraints()
    gas = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
    shape = np.array(frames)
    away = shape - np.average(shape, axis=1, weights=masses, keepdims=True)
    return {
        "helicity": float(helical(*torsions(topology, shape)).mean()),
        "radius_of_gyration": float(np.sqrt(np.average((away**2).sum(-1), axis=1, weights=masses)).mean()),
        "potential_energy": float(np.mean(energies)),
        "kinetic_temperature": float(2 * np.mean(kinetic) / (freedom * gas)),
    }


if __name__ == "__main__":
    run_as_job(PeptideSimulator)
