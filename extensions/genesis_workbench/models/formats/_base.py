"""What formats share: the contract, and the first look at bytes that claim to be a model."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genesis_workbench.core.errors import MissingDependency, TooLarge, VerificationFailed

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

MAX_BYTES = 256 * 1024 * 1024

_PICKLE_PROTOCOLS = range(2, 6)
_LEAST_OPCODE = (
    0x28  # of pickles; a safetensors file of which the header has 640 bytes begins like one up to here
)


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
        """Return all outputs by name.

        InvalidInput where it cannot take the inputs; DeadlineExceeded after `deadline_s`, which a format that cannot be
        stopped may ignore: what is not trusted yet runs in a process that can be (``models.quarantine``).
        """
        ...


class ModelFormat(Protocol):
    """One format."""

    name: ClassVar[str]
    """As records name it, and as its entry point is called."""
    suffix: ClassVar[str]
    """Of its files."""
    extra: ClassVar[str]
    """Extra of the distribution that installs what it needs; empty where it needs nothing."""

    def check(self, data: bytes) -> None:
        """Refuse, with the reason, what is not of this format or could reach outside itself. Runs nothing of it."""
        ...

    def load(self, data: bytes, signature: Signature) -> Loaded:
        """Make it runnable. `data` has passed :meth:`check`; `signature` names what the artifact itself may not name."""
        ...

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions, without importing them."""
        ...

    def warm(self) -> None:
        """Import the libraries that check and run it."""
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


@cache
def installed(name: str, extra: str) -> str:
    """Return a distribution with its version, such as ``onnx 1.23.2``, or say how to install it."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError as error:
        raise MissingDependency(
            f"Models of this format need the package {name!r}, which is not installed. "
            f'Install it with: pip install "genesis-workbench[{extra}]"'
        ) from error


def refuse_pickles(data: bytes, wanted: str, *, most_bytes: int | None = None) -> None:
    """Refuse what is too large, empty or a Python pickle.

    Raises
    ------
    TooLarge
        If it has more than `most_bytes`, by default 256 MB.
    VerificationFailed
        If it is one of the others.
    """
    most = MAX_BYTES if most_bytes is None else most_bytes
    if len(data) > most:
        raise TooLarge(f"The artifact has {len(data):,} bytes; at most {most:,} are taken.")
    if not data:
        raise VerificationFailed(f"The artifact is empty. Give the bytes of {wanted}.")
    begins = data[0] == 0x80 and len(data) > 1 and data[1] in _PICKLE_PROTOCOLS
    if begins and (len(data) == 2 or data[2] >= _LEAST_OPCODE):
        raise VerificationFailed(
            f"The artifact is a Python pickle. Loading one runs whatever code it holds, so none is taken: export {wanted}."
        )


def refuse_carriers(data: bytes, wanted: str, *, most_bytes: int | None = None) -> None:
    """Refuse what :func:`refuse_pickles` does, and archives, also where one hides behind another format."""
    refuse_pickles(data, wanted, most_bytes=most_bytes)
    if data[:2] == b"PK" or zipfile.is_zipfile(io.BytesIO(data)):
        raise VerificationFailed(
            f"The artifact is a zip archive or hides one (as PyTorch and Keras files do), which is not taken: export {wanted}."
        )


def read_json(data: bytes, what: str) -> Any:
    """Read strict JSON: UTF-8, no key twice, no NaN, nothing after it.

    Raises
    ------
    VerificationFailed
        If it is not.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("it has a key twice")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise VerificationFailed(f"{what} is no valid JSON: {str(error)[:200]}. Write it again.") from error
