"""Layouts in which models travel: one small file each, read into what ``register`` needs, and written from a version.

A layout reads files and runs nothing of them; the bytes go through the same checks as everybody's. The hashes that a source
gave are kept in the lineage.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.errors import InvalidInput

if TYPE_CHECKING:
    from genesis_workbench.models.exchange._base import Incoming
    from genesis_workbench.models.record import ModelCard, SelfTest
    from genesis_workbench.models.signature import Signature

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


def complete(
    found: Incoming,
    where: str,
    signature: Signature | None,
    card: ModelCard | None,
    self_test: SelfTest | None,
) -> tuple[Signature, ModelCard, SelfTest]:
    """Return what a layout says, or what was said otherwise.

    Raises
    ------
    InvalidInput
        If one of them is said nowhere.
    """
    signature, card = signature or found.signature, card or found.card
    self_test = self_test or found.self_test
    if signature is not None and card is not None and self_test is not None:
        return signature, card, self_test
    told = {"signature": signature, "card": card, "self_test": self_test}
    missing = [name for name, part in told.items() if part is None]
    raise InvalidInput(
        f"{where} does not say its {' and '.join(missing)}. Give them: import_folder(..., {missing[0]}=...)."
    )
