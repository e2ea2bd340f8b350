"""Crystals and molecules in CIF, mmCIF, PDB and POSCAR files as ASE Atoms.

ASE, since its Atoms are what simulation codes and machine-learned potentials of the field take, it reads three of the four
formats, and it is Python alone; gemmi knows no POSCAR, pymatgen needs 40 packages more. Only its readers of these formats
are called, with text: never its guessing by file name, which also runs databases and unpacks archives. Atoms are read at
once: a structure is small. Guarded: the size of the text, out of gzip too, and the number of atoms; all of it is Python,
so broken text gives an error and no crash.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, ClassVar

from genesis_workbench.catalog.content import Places, unpacked
from genesis_workbench.catalog.content.file import kind
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import reading
from genesis_workbench.core.errors import InvalidInput, TooLarge

_MAX_BYTES = 64 * 2**20
_MAX_ATOMS = 2_000_000
_FORMATS = {
    "cif": "cif", "mmcif": "cif", "chemical/x-cif": "cif", "chemical/x-mmcif": "cif",
    "pdb": "pdb", "chemical/x-pdb": "pdb",
    "poscar": "poscar", "vasp": "poscar", "contcar": "poscar",
}  # fmt: skip


class StructureOpener:
    """Opens the first structure of a file, or another by its number."""

    formats: ClassVar[tuple[str, ...]] = tuple(_FORMATS)

    def open(self, dataset: Dataset, distribution: Distribution, places: Places, *, index: int = 0) -> Any:
        """Return ``ase.Atoms`` in angstrom; `info` carries what attributes carry elsewhere.

        Parameters
        ----------
        index : int
            Which of several models or data blocks.
        """
        from genesis_workbench.catalog.opening import format_of

        content = places.content(distribution)
        data = unpacked(content, _MAX_BYTES)
        text = _text(content.name, data)
        read = {"cif": _cif, "pdb": _pdb, "poscar": _poscar}[_FORMATS[format_of(distribution)]]
        with reading(content.name), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # on space-group settings and missing occupancies: nothing to act on
            found = read(text)
        if not 0 <= index < len(found):
            raise InvalidInput(f"{content.name!r} holds {len(found)} structures; there is no {index}.")
        atoms = found[index]
        if len(atoms) == 0:
            raise InvalidInput(f"{content.name!r} holds no atoms. Open another distribution of the dataset.")
        if len(atoms) > _MAX_ATOMS:
            raise TooLarge(f"{content.name!r} holds {len(atoms):,} atoms; at most {_MAX_ATOMS:,} are read.")
        atoms.info = {k: v for k, v in atoms.info.items() if isinstance(v, str | int | float | bool)}
        atoms.info["structures_in_file"] = len(found)
        return atoms


def _text(name: str, data: bytes) -> str:
    found = kind(data)
    if b"\x00" in data[:4096] or found not in ("something else",):
        raise InvalidInput(
            f"{name!r} should be text, but is {found if found != 'something else' else 'binary'}. Look at the dataset's "
            "page, and open another of its distributions."
        )
    return data.decode("utf-8", "replace")


def _pdb(text: str) -> list[Any]:
    from ase.io.proteindatabank import read_proteindatabank

    if not any(line.startswith(("ATOM  ", "HETATM")) for line in text.splitlines()):
        raise InvalidInput("The file has no ATOM and no HETATM lines: it holds a header, but no structure.")
    found = read_proteindatabank(io.StringIO(text), index=slice(None))
    return list(found) if isinstance(found, list) else [found]


def _poscar(text: str) -> list[Any]:
    from ase.io.vasp import read_vasp

    lines = text.splitlines()
    counts = [word for line in lines[5:7] for word in line.split() if word.isdigit()]
    if len(lines) < 8 or sum(int(n[:12]) for n in counts) > len(lines):
        raise InvalidInput(
            "A POSCAR file has a scale, three vectors, counts, and a line for each atom; this has not."
        )
    return [read_vasp(io.StringIO(text))]


def _cif(text: str) -> list[Any]:
    from ase.io.cif import parse_cif

    found = []
    for block in parse_cif(io.StringIO(text)):
        if "_atom_site.cartn_x" in block:
            found += _macromolecule(block)
        elif block.has_structure():
            found.append(block.get_atoms(store_tags=False))
    if not found:
        raise InvalidInput("The CIF file holds no structure: no positions of atoms are in it.")
    return found


def _macromolecule(block: Any) -> list[Any]:
    """Return one Atoms for each model of an mmCIF block (PDBx/mmCIF dictionary, category atom_site)."""
    import numpy as np
    from ase import Atoms
    from ase.data import chemical_symbols

    def column(name: str) -> list[Any]:
        values = block.get(f"_atom_site.{name}")
        return values if isinstance(values, list) else [values]

    known = {symbol.upper(): symbol for symbol in chemical_symbols}
    symbols = [known.get(str(s).upper(), "X") for s in column("type_symbol")]
    positions = np.array([column(f"cartn_{axis}") for axis in "xyz"], float).T
    models = (
        np.array([str(m) for m in column("pdbx_pdb_model_num")])
        if "_atom_site.pdbx_pdb_model_num" in block
        else None
    )
    cell = [
        block.get(f"_cell.{n}")
        for n in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    ]
    arrays = {"atomtypes": "label_atom_id", "residuenames": "label_comp_id", "chains": "label_asym_id"}
    made = Atoms(symbols, positions)
    if all(isinstance(n, int | float) for n in cell):
        made.set_cell(cell)
    for name, source in arrays.items():
        if f"_atom_site.{source}" in block:
            made.set_array(name, np.array([str(v) for v in column(source)]))
    return [made] if models is None else [made[models == m] for m in dict.fromkeys(models)]
