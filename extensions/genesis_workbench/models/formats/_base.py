"""What formats share: the contract, and the first look at bytes that claim to be a model."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genesis_workbench.core.errors import MissingDependency, TooLarge, VerificationFailed

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 256 * 1024 * 1024

_PICKLE_PROTOCOLS = range(2, 6)


@dataclass(frozen=True)
class Tensor:
    """One input or output as the artifact declares it: a numpy dtype and axes, None where any length will do."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Loaded(Protocol):
    """An artifact that can be run. Safe for threads; never pickled."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name; InvalidInput where it cannot take the inputs, DeadlineExceeded after `deadline_s`."""
        ...


class ModelFormat(Protocol):
    """One format."""

    name: ClassVar[str]
    """As records name it, and as its entry point is called."""
    suffix: ClassVar[str]
    """Of its files."""
    extra: ClassVar[str]
    """Extra of the distribution that installs what it needs."""

    def check(self, data: bytes) -> None:
        """Refuse, with the reason, what is not of this format or could reach outside itself. Runs nothing of it."""
        ...

    def load(self, data: bytes) -> Loaded:
        """Make it runnable. `data` has passed :meth:`check`."""
        ...

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        ...


def library(name: str, extra: str) -> Any:
    """Import a library that comes with an extra, or say how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"Models of this format need the package {error.name!r}, which is not installed. "
            f'Install it with: pip install "genesis-workbench[{extra}]"'
        ) from error


def refuse_carriers(data: bytes, wanted: str) -> None:
    """Refuse what is too large or empty, and pickles and archives, also where one hides behind another format.

    Raises
    ------
    TooLarge
        If it has more than 256 MB.
    VerificationFailed
        If it is one of the others.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"The artifact has {len(data):,} bytes; at most {MAX_BYTES:,} are taken.")
    if not data:
        raise VerificationFailed(f"The artifact is empty. Give the bytes of {wanted}.")
    if data[0] == 0x80 and len(data) > 1 and data[1] in _PICKLE_PROTOCOLS:
        raise VerificationFailed(
            f"The artifact is a Python pickle. Loading one runs whatever code it holds, so none is taken: export {wanted}."
        )
    if data[:2] == b"PK" or zipfile.is_zipfile(io.BytesIO(data)):
        raise VerificationFailed(
            f"The artifact is a zip archive or hides one (as PyTorch and Keras files do), which is not taken: export {wanted}."
        )
