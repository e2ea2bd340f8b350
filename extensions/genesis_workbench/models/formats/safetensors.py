"""Safetensors: a header and bare numbers, for an architecture of ours that the file's metadata declares by name.

The layout is read here, strictly: every byte belongs to one tensor, and nothing lies between, before or after them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ValidationError

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import NotFound, VerificationFailed
from genesis_workbench.models.formats._base import installed, library, read_json, refuse_carriers

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.architectures._base import Architecture
    from genesis_workbench.models.formats._base import Loaded
    from genesis_workbench.models.signature import Signature

MOST_HEADER_BYTES, MOST_TENSORS = 1024 * 1024, 10_000
ARCHITECTURE, CONFIG = "genesis.architecture", "genesis.config"
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_WANTED = f"a safetensors file whose metadata has {ARCHITECTURE!r} and {CONFIG!r}"


class SafetensorsFormat:
    """One safetensors file."""

    name: ClassVar[str] = "safetensors"
    suffix: ClassVar[str] = ".safetensors"
    extra: ClassVar[str] = ""

    def check(self, data: bytes) -> None:
        """Refuse another layout than the exact one, an architecture that is not ours, and tensors that it does not need.

        Raises
        ------
        TooLarge
            If it has more than 256 MB.
        VerificationFailed
            With the reason, for everything else.
        """
        _read(data)

    def load(self, data: bytes, signature: Signature) -> Loaded:
        """Make it runnable."""
        architecture, config, tensors = _read(data)
        return architecture.build(
            config, {name: _numbers(data, *place) for name, place in tensors.items()}, signature
        )

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        ours = [plugins.load("architectures", name) for name in plugins.names("architectures")]
        return (installed("numpy", self.extra), *(f"{each.name} {each.version}" for each in ours))

    def warm(self) -> None:
        """Import the libraries that check and run it."""
        library("numpy", self.extra)


_Place = tuple[str, tuple[int, ...], int, int]


def _read(data: bytes) -> tuple[Architecture, BaseModel, dict[str, _Place]]:
    refuse_carriers(data, _WANTED)
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > MOST_HEADER_BYTES or 8 + length > len(data):
        raise VerificationFailed(
            f"The header claims {length:,} bytes of {len(data):,}, at most {MOST_HEADER_BYTES:,} are taken: the artifact "
            f"is no safetensors file, or only a part of one. Export {_WANTED}."
        )
    header = read_json(data[8 : 8 + length], "The header")
    if not isinstance(header, dict) or data[8:9] != b"{":
        raise VerificationFailed(f"The header is no object of JSON. Export {_WANTED}.")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise VerificationFailed(f"The header has no metadata of texts. Export {_WANTED}.")
    tensors = {name: _place(name, entry) for name, entry in list(header.items())[: MOST_TENSORS + 1]}
    _check_layout(tensors, start=0, end=len(data) - 8 - length)
    architecture, config = _declared(metadata)
    needed = architecture.shapes(config)
    given = {name: shape for name, (_, shape, _, _) in tensors.items()}
    if given != needed:
        odd = next(name for name in sorted({*given, *needed}) if given.get(name) != needed.get(name))
        raise VerificationFailed(
            f"The architecture {architecture.name!r} needs {odd[:80]!r} with the shape {needed.get(odd, 'none')}; the artifact "
            f"has {given.get(odd, 'none')}."
        )
    offset = 8 + length
    return (
        architecture,
        config,
        {n: (t, shape, a + offset, b + offset) for n, (t, shape, a, b) in tensors.items()},
    )


def _place(name: str, entry: Any) -> _Place:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise VerificationFailed(f"The header says not what it must of the tensor {name[:80]!r}.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(dtype, str) and dtype in _BYTES):
        raise VerificationFailed(
            f"The tensor {name[:80]!r} is {str(dtype)[:20]!r}; taken are {', '.join(_BYTES)}."
        )
    if not (_counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise VerificationFailed(f"Shape and place of the tensor {name[:80]!r} are no whole numbers.")
    if offsets[1] - offsets[0] != math.prod(shape) * _BYTES[dtype]:
        raise VerificationFailed(
            f"The tensor {name[:80]!r} has {offsets[1] - offsets[0]:,} bytes, which is not what {dtype} {shape} needs."
        )
    return dtype, tuple(shape), offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 2**40 for n in value)
    )


def _check_layout(tensors: dict[str, _Place], start: int, end: int) -> None:
    if not tensors or len(tensors) > MOST_TENSORS:
        raise VerificationFailed(
            f"The artifact has {len(tensors):,} tensors; taken are 1 to {MOST_TENSORS:,}."
        )
    for name, (_, _, begin, stop) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != start:
            raise VerificationFailed(
                f"Before the tensor {name[:80]!r} lie bytes of none or of two. Export it again."
            )
        start = stop
    if start != end:
        raise VerificationFailed(
            f"Its tensors end at {start:,} of {end:,} bytes: the artifact is cut, or something is appended."
        )


def _declared(metadata: dict[str, str]) -> tuple[Architecture, BaseModel]:
    name = metadata.get(ARCHITECTURE, "")
    try:
        architecture: Architecture = plugins.load("architectures", name)()
        config = architecture.Config.model_validate(
            read_json(metadata.get(CONFIG, "").encode(), "The configuration")
        )
    except NotFound as error:
        raise VerificationFailed(
            f"The artifact declares an architecture that is not known here. {error}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise VerificationFailed(
            f"The configuration of {name!r} is refused: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from error
    return architecture, config


def _numbers(data: bytes, dtype: str, shape: tuple[int, ...], begin: int, end: int) -> np.ndarray:
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(shape)
    numbers = np.frombuffer(data[begin:end], f"<f{_BYTES[dtype]}").reshape(shape)
    return numbers.astype("float32") if dtype == "F16" else numbers
