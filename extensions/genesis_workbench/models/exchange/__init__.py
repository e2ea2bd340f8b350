"""Layouts in which models travel: one small file each, read into what ``register`` needs, and written from a version.

A layout reads files and runs nothing of them; the bytes go through the same checks as everybody's. The hashes that a source
gave are kept in the lineage.
"""

from __future__ import annotations

import importlib
from typing import Any

from genesis_workbench.core.errors import InvalidInput

LAYOUTS = ("bioimageio", "huggingface", "mlflow")


def layout(name: str) -> Any:
    """Return the module of a layout, with ``read(folder)`` and ``write(version, artifact, folder)``.

    Raises
    ------
    InvalidInput
        If there is none of that name.
    """
    if name not in LAYOUTS:
        raise InvalidInput(f"There is no layout {name!r}. Known are: genesis, {', '.join(LAYOUTS)}.")
    return importlib.import_module(f"{__name__}.{name}")
