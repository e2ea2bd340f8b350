"""The shape of a short peptide: built from bond lengths and angles, read as torsions, and where it is a helix.

Bond lengths and angles: Engh and Huber (1991), Acta Crystallographica A 47, 392.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Each atom, seen from three that are there before it: the bond to the last of them (angstrom), the angle there, and the
# torsion (degrees) beyond phi or psi. A minus is the residue before.
_ATOMS = {
    "N": ("-N -CA -C", 1.329, 116.2, "psi", 0),
    "CA": ("-CA -C N", 1.458, 121.7, "", 180),
    "C": ("-C N CA", 1.525, 111.2, "phi", 0),
    "O": ("N CA C", 1.231, 120.8, "psi", 180),
    "H": ("-CA -C N", 1.01, 119.0, "", 0),
    "HA": ("-C N CA", 1.09, 109.5, "phi", 120),
    "HA3": ("-C N CA", 1.09, 109.5, "phi", -120),
    "CB": ("-C N CA", 1.521, 110.4, "phi", -123),
    **{f"HB{each}": ("N CA CB", 1.09, 109.5, "", 120 * each) for each in (1, 2, 3)},
    **{f"HC{each}": ("O C CA", 1.09, 109.5, "", 120 * each) for each in (1, 2, 3)},
    **{f"HN{each}": ("-C N CA", 1.09, 109.5, "", 120 * each) for each in (1, 2, 3)},
}
_RESIDUES = {
    "ACE": "CA C O HC1 HC2 HC3",
    "ALA": "N CA C O H HA CB HB1 HB2 HB3",
    "GLY": "N CA C O H HA HA3",
    "NME": "N CA H HN1 HN2 HN3",
}
# From where the first cap is seen; these are no atoms.
_START = {"-N": (0, 1, 2), "-CA": (0, 0, 1), "-C": (0, 0, 0), "N": (1, 0, 0)}


def built(chain: Sequence[str], phi: float, psi: float) -> tuple[Any, NDArray[np.float64]]:
    """Return the topology of a chain of ALA and GLY with caps, and where its atoms are (float64[atoms, 3], angstrom)."""
    from openmm import app

    topology = app.Topology()
    strand = topology.addChain()
    turn = {"phi": phi, "psi": psi, "": 0.0}
    places = {name: np.array(place, dtype=float) for name, place in _START.items()}
    atoms: dict[str, Any] = {}
    found = []
    for kind in ("ACE", *chain, "NME"):
        residue = topology.addResidue(kind, strand)
        for name in _RESIDUES[kind].split():
            seen, bond, angle, by, torsion = _ATOMS[name]
            names = seen.split()
            places[name] = _placed([places[each] for each in names], bond, angle, turn[by] + torsion)
            atoms[name] = topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
            if names[-1] in atoms:
                topology.addBond(atoms[names[-1]], atoms[name])
            found.append(places[name])
        for each in (places, atoms):
            each |= {f"-{name}": each[name] for name in ("N", "CA", "C") if name in each}
    return topology, np.array(found)


def _placed(
    seen: Sequence[NDArray[np.float64]], bond: float, angle: float, torsion: float
) -> NDArray[np.float64]:
    first, second, last = seen
    along = (last - second) / np.linalg.norm(last - second)
    across = np.cross(second - first, along)
    across /= np.linalg.norm(across)
    bend, turn = math.radians(angle), math.radians(torsion)
    side = math.cos(turn) * np.cross(across, along) + math.sin(turn) * across
    place: NDArray[np.float64] = last + bond * (math.sin(bend) * side - math.cos(bend) * along)
    return place


def torsions(topology: Any, frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return phi and psi between the caps (float64[frames, residues], degrees) of float64[frames, atoms, 3]."""
    residues = [{atom.name: atom.index for atom in residue.atoms()} for residue in topology.residues()]
    threes = list(zip(residues, residues[1:], residues[2:], strict=False))
    phi = [[before["C"], here["N"], here["CA"], here["C"]] for before, here, _ in threes]
    psi = [[here["N"], here["CA"], here["C"], after["N"]] for _, here, after in threes]
    return _turned(frames[:, phi]), _turned(frames[:, psi])


def _turned(four: NDArray[np.float64]) -> NDArray[np.float64]:
    first, axis, last = np.moveaxis(np.diff(four, axis=-2), -2, 0)
    left, right = np.cross(first, axis), np.cross(axis, last)
    along = (first * right).sum(-1) * np.linalg.norm(axis, axis=-1)
    angle: NDArray[np.float64] = np.degrees(np.arctan2(along, (left * right).sum(-1)))
    return angle


def helical(phi: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which residues are helical (bool[frames, residues]): three in a row, or more, within the basin.

    Best and Hummer (2009), Journal of Physical Chemistry B 113, 9004.
    """
    basin = (phi >= -100) & (phi <= -30) & (psi >= -67) & (psi <= -7)
    rows = basin[:, :-2] & basin[:, 1:-1] & basin[:, 2:]
    found = np.zeros_like(basin)
    for place in range(3):
        found[:, place : place + rows.shape[1]] |= rows
    return found
