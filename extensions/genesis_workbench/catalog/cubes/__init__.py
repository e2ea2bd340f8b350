"""Thousands of files as one cube: references to their pieces, made once, kept for everybody, checked at each use.

``listing`` says which files there are and how they were, ``scan`` finds their pieces, ``store`` keeps the references in
Icechunk, ``guard`` looks at the file behind each piece that is read; ``far`` does both for files behind http(s). Whatever
does not fit falls back to files one by one, and says why.
"""

from genesis_workbench.catalog.cubes.cube import open_cube

__all__ = ["open_cube"]
