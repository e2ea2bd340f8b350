"""OPeNDAP servers (DAP2: THREDDS, Hyrax, ERDDAP, pydap) as lazy xarray datasets.

The protocol is small: a description of the variables (DDS), their attributes (DAS), and values of a hyperslab in XDR
(DODS). It is spoken here, over the site's connections: libraries for it open addresses by themselves. Guarded: the size of
descriptions and answers, lengths that are not what was asked for, arrays that cannot be cut into blocks; no library works
on the bytes.

Source: NASA ESE-RFC-004.1.2, The Data Access Protocol DAP 2.0.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.content.file import kind
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import MAX_BLOCK_BYTES, block_sizes, lazy
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import InvalidInput, TooLarge

_MAX_TEXT = 8 * 2**20
_MAX_VARIABLES = 5000
_BLOCK = 16 * 2**20
_TYPES = {
    "byte": "u1", "int16": ">i4", "uint16": ">u4", "int32": ">i4", "uint32": ">u4", "float32": ">f4", "float64": ">f8",
}  # fmt: skip
# A text that is never closed ends with the answer: looked for anew from each quotation mark it would take for ever.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*\\?(?:"|\Z)|[{};=:,\[\]]|[^\s{};=:,\[\]"]+', re.DOTALL)
_ESCAPED = "._~-!*'()"


@dataclass(frozen=True)
class RemoteArray:
    """One variable of a server; a block is one request."""

    url: str
    places: Places
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values here; on the wire 16-bit integers take 32."""
        return np.dtype({"int16": "i2", "uint16": "u2"}.get(self.kind, _TYPES[self.kind])).newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Ask for the smallest hyperslab that holds what `key` selects."""
        picked = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        if any(p.size == 0 for p in picked):
            return np.asarray(np.empty(self.shape, self.dtype)[key])
        low, high = [int(p.min()) for p in picked], [int(p.max()) for p in picked]
        slab = "".join(f"[{a}:1:{b}]" for a, b in zip(low, high, strict=True))
        shape = [b + 1 - a for a, b in zip(low, high, strict=True)]
        values = self._fetch(slab, shape)
        for axis in reversed(range(len(picked))):
            values = values[(slice(None),) * axis + (picked[axis] - low[axis],)]
        return np.asarray(values)

    def _fetch(self, slab: str, shape: list[int]) -> NDArray[Any]:
        count = int(np.prod(shape)) if shape else 1
        wire = np.dtype(_TYPES[self.kind])
        if count * wire.itemsize > MAX_BLOCK_BYTES:
            raise TooLarge(
                f"A part of {count * wire.itemsize:,} bytes is too large for one request. Select less."
            )
        url = f"{self.url}.dods?{quote(self.name, safe=_ESCAPED)}{quote(slab, safe=':')}"
        body = self.places.fetcher(url).fetch(url).body
        start = body.find(b"Data:\n")
        start = start + 6 if start >= 0 else body.find(b"Data:\r\n") + 7
        if start < 7 and not body[:start].endswith(b"Data:\n"):
            raise _refusal(self.url, body)
        at = start
        if shape:
            at += 8
            if struct.unpack_from(">II", body[start : start + 8].ljust(8, b"\x00")) != (count, count):
                raise InvalidInput(
                    f"{shown(self.url)} sent another number of values of {self.name!r} than was asked for."
                )
        data = body[at : at + count * wire.itemsize]
        if len(data) < count * wire.itemsize:
            raise InvalidInput(
                f"{shown(self.url)} sent fewer values of {self.name!r} than it announced. Try again."
            )
        return np.frombuffer(data, wire, count).reshape(shape).astype(self.dtype)


class OpendapOpener:
    """Opens the arrays and grids of a server's dataset."""

    formats: ClassVar[tuple[str, ...]] = ("opendap", "dap2", "dods", "dap")

    def open(
        self, dataset: Dataset, distribution: Distribution, places: Places, *, chunks: Any = "auto"
    ) -> Any:
        """Open lazily: description and attributes are fetched, and the coordinates of dimensions.

        Parameters
        ----------
        chunks : mapping, None or 'auto'
            Lengths of blocks along some dimensions: each block is one request, of 16 MiB unless this says otherwise.
        """
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut

        if not distribution.url.startswith(("http://", "https://")):
            raise InvalidInput("An OPeNDAP dataset has an address with http or https.")
        url = re.sub(r"\.(html|dds|das|dods|ascii|info)$", "", distribution.url.partition("?")[0])
        arrays, skipped = parse_dds(_text(url, ".dds", places), url, places)
        described = parse_das(_text(url, ".das", places))
        made: dict[str, Any] = {}
        for name, array in arrays.items():
            known = described.get(name, {})
            if array.dims == (name,) or not array.dims:
                made[name] = xr.Variable(array.dims, array[(slice(None),) * array.ndim], known)
            else:
                blocks = block_sizes(array.shape, array.dtype.itemsize, None, _BLOCK)
                made[name] = xr.Variable(
                    array.dims, lazy(array, blocks, f"{url}/{name}/{array.shape}"), known
                )
        coordinates = {name: v for name, v in made.items() if v.dims == (name,)}
        rest = {name: v for name, v in made.items() if name not in coordinates}
        opened = xr.Dataset(rest, coordinates, described.get("NC_GLOBAL", {}))
        if skipped:
            opened.attrs["variables_not_read"] = ", ".join(skipped)
        if not made:
            raise InvalidInput(
                f"{shown(url)} holds no arrays: {', '.join(skipped) or 'nothing'} cannot be read here."
            )
        return cut(xr.decode_cf(opened), chunks, _BLOCK)


def parse_dds(text: str, url: str, places: Places) -> tuple[dict[str, RemoteArray], list[str]]:
    """Return the arrays that a DDS describes, and the names of what is none (sequences, strings).

    Raises
    ------
    InvalidInput
        If it is no DDS, with what it is.
    """
    tokens = _TOKEN.findall(text)
    if not tokens or tokens[0].lower() != "dataset":
        raise _refusal(url, text.encode())
    arrays: dict[str, RemoteArray] = {}
    skipped: list[str] = []
    at, depth, inside = 2, 1, []
    try:
        while depth:
            word = tokens[at].lower()
            if word in ("grid", "structure", "sequence", "dataset"):
                inside.append(word)
                depth, at = depth + 1, at + 2
            elif word == "}":
                depth -= 1
                at += 1
                if inside:
                    closed, name = inside.pop(), tokens[at]
                    if closed in ("structure", "sequence"):
                        skipped.append(name)
                    at = tokens.index(";", at) + 1
            elif tokens[at + 1] == ":":  # Array: and Maps: of a grid
                at += 2
            else:
                end = tokens.index(";", at)
                _declare(tokens[at:end], inside, url, places, arrays, skipped)
                at = end + 1
            if len(arrays) > _MAX_VARIABLES or depth > 32:
                raise InvalidInput(f"{shown(url)} describes more variables than are read.")
    except (IndexError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{shown(url)} sends a broken description. Try again, or another server."
        ) from error
    return arrays, skipped


def _declare(
    words: list[str],
    inside: list[str],
    url: str,
    places: Places,
    arrays: dict[str, RemoteArray],
    skipped: list[str],
) -> None:
    kind_, name, axes = words[0].lower(), words[1], words[2:]
    if "structure" in inside or "sequence" in inside:
        return
    if kind_ not in _TYPES:
        skipped.append(name)
        return
    dims, shape = [], []
    text = " ".join(axes)
    for number, found in enumerate(re.findall(r"\[ ([^\[\]]*) \]", text)):
        label, mark, length = found.rpartition(" = ")
        dims.append(label.strip() if mark else f"{name}_{number}")
        shape.append(int(length))
    if min(shape, default=1) < 0:
        raise ValueError("a negative length")
    # The map of a grid is usually a variable of its own too: the first stands.
    arrays.setdefault(name, RemoteArray(url, places, name, tuple(dims), tuple(shape), kind_))


def parse_das(text: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of each variable; what cannot be read is left out."""
    tokens = _TOKEN.findall(text)
    found: dict[str, dict[str, Any]] = {}
    path: list[str] = []
    at = 0
    while at < len(tokens):
        if at + 1 < len(tokens) and tokens[at + 1] == "{":
            path.append(tokens[at])
            at += 2
        elif tokens[at] == "}":
            path = path[:-1]
            at += 1
        else:
            end = next((n for n in range(at, len(tokens)) if tokens[n] == ";"), len(tokens))
            words = tokens[at:end]
            if len(path) == 2 and len(words) >= 3:
                value = _value(words[0].lower(), [w for w in words[2:] if w != ","])
                if value is not None:
                    found.setdefault(path[1], {})[words[1]] = value
            at = end + 1
    return found


def _value(kind_: str, words: list[str]) -> Any:
    if kind_ not in _TYPES:
        return ", ".join(w.strip('"').replace('\\"', '"') for w in words)
    try:
        values = np.array([float(w) if kind_.startswith("float") else int(float(w)) for w in words])
        values = values.astype(
            np.dtype({"int16": "i2", "uint16": "u2"}.get(kind_, _TYPES[kind_])).newbyteorder("=")
        )
    except (ValueError, OverflowError):
        return None
    return values[0] if values.size == 1 else values


def _text(url: str, ending: str, places: Places) -> str:
    return places.fetcher(url, _MAX_TEXT).fetch(url + ending).body.decode("utf-8", "replace")


def _refusal(url: str, body: bytes) -> InvalidInput:
    said = re.search(rb'message\s*=\s*"([^"]*)"', body[:4000])
    what = (
        said[1].decode("utf-8", "replace")[:200] if said else f"sends {kind(body)} where OPeNDAP was expected"
    )
    return InvalidInput(f"{shown(url)} answers: {what}. Look at its page in the browser.")
