"""What architectures share: the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.formats._base import Loaded
    from genesis_workbench.models.signature import Signature


class Architecture(Protocol):
    """One computation over named weights."""

    name: ClassVar[str]
    """As artifacts name it, and as its entry point is called."""
    version: ClassVar[int]
    """Counts up when the same weights would give other numbers."""
    Config: ClassVar[type[BaseModel]]
    """Its configuration."""

    def shapes(self, config: BaseModel) -> dict[str, tuple[int, ...]]:
        """Return which tensors it needs, with their shapes: exactly these and no others are taken."""
        ...

    def build(self, config: BaseModel, weights: Mapping[str, np.ndarray], signature: Signature) -> Loaded:
        """Make it runnable with weights of these shapes (float32 or float64)."""
        ...
