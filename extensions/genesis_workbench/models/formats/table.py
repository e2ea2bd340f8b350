"""Tables: plain CSV with a full grid of the inputs, read between its points by multilinear interpolation.

The first row names the inputs, then the outputs; the record's signature says which are which. Outside the grid the
answer is NaN: a table knows nothing there. Numbers are float64.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.models.formats._base import Tensor, installed, library, refuse_carriers

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

MOST_BYTES, MOST_COLUMNS, MOST_AXES = 32 * 1024 * 1024, 64, 6
_WANTED = "a CSV file of numbers with one row of names"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class TableFormat:
    """One CSV file."""

    name: ClassVar[str] = "table"
    suffix: ClassVar[str] = ".csv"
    extra: ClassVar[str] = ""

    def check(self, data: bytes) -> None:
        """Refuse what is no table of numbers.

        Raises
        ------
        VerificationFailed
            With the reason.
        """
        _read(data)

    def load(self, data: bytes, signature: Signature) -> TableModel:
        """Make it runnable; its columns must be the signature's inputs, then its outputs."""
        names, rows = _read(data)
        inputs = [spec.name for spec in signature.inputs]
        outputs = [spec.name for spec in signature.outputs]
        if names != [*inputs, *outputs]:
            raise VerificationFailed(
                f"The table has the columns {', '.join(names)}; the signature needs {', '.join([*inputs, *outputs])}."
            )
        return TableModel(inputs, outputs, rows)

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        return (installed("numpy", self.extra), "table 1")

    def warm(self) -> None:
        """Import the libraries that check and run it."""
        library("numpy", self.extra)


class TableModel:
    """A full grid of points with values."""

    def __init__(self, inputs: list[str], outputs: list[str], rows: np.ndarray) -> None:
        import numpy as np

        if len(inputs) > MOST_AXES:
            raise VerificationFailed(f"A table has at most {MOST_AXES} inputs; this one has {len(inputs)}.")
        points = rows[:, : len(inputs)]
        self._axes = [np.unique(column) for column in points.T]
        shape = tuple(axis.size for axis in self._axes)
        order = np.lexsort(points.T[::-1])
        whole = math.prod(shape) == len(rows) and len(np.unique(points, axis=0)) == len(rows)
        if not whole or min(shape) < 2:
            raise VerificationFailed(
                f"The table has {len(rows):,} rows; its inputs need each combination of {' x '.join(map(str, shape))} "
                "values once, and at least two values each."
            )
        self._values = {name: rows[order, len(inputs) + i].reshape(shape) for i, name in enumerate(outputs)}
        self.inputs = tuple(Tensor(name, "float64", (None,)) for name in inputs)
        self.outputs = tuple(Tensor(name, "float64", (None,)) for name in outputs)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name: NaN outside the grid."""
        import numpy as np

        try:
            columns = [np.asarray(inputs[tensor.name], dtype="float64") for tensor in self.inputs]
            columns = list(np.broadcast_arrays(*columns))
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"The model cannot take these inputs: {error}.") from error
        inside = np.ones(columns[0].shape, dtype=bool)
        below, parts = [], []
        for axis, column in zip(self._axes, columns, strict=True):
            inside &= (column >= axis[0]) & (column <= axis[-1])
            lower = np.clip(np.searchsorted(axis, column, side="right") - 1, 0, axis.size - 2)
            below.append(lower)
            parts.append((column - axis[lower]) / (axis[lower + 1] - axis[lower]))
        results = {}
        for name, values in self._values.items():
            total = np.zeros(columns[0].shape)
            for corner in range(2 ** len(columns)):  # the corners of the cell, each with its weight
                upper = [corner >> i & 1 for i in range(len(columns))]
                weight = math.prod(part if up else 1 - part for part, up in zip(parts, upper, strict=True))
                total += weight * values[tuple(low + up for low, up in zip(below, upper, strict=True))]
            results[name] = np.where(inside, total, np.nan)
        return results


def _read(data: bytes) -> tuple[list[str], np.ndarray]:
    import numpy as np

    refuse_carriers(data, _WANTED, most_bytes=MOST_BYTES)
    try:
        text = data.decode("utf-8")
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise VerificationFailed(f"The artifact is not {_WANTED}: {error}.") from error
    names = lines[0] if lines else []
    if not all(name.isidentifier() for name in names) or len(set(names)) != len(names):
        raise VerificationFailed(
            f"The artifact is not {_WANTED}: each column needs a name of its own, of letters and '_'."
        )
    if not 2 <= len(names) <= MOST_COLUMNS or len(lines) < 3:
        raise VerificationFailed(
            f"The artifact is not {_WANTED}: 2 to {MOST_COLUMNS} columns and at least two rows."
        )
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names) or not all(_NUMBER.fullmatch(cell) for cell in line):
            raise VerificationFailed(
                f"Row {number} of the table is not {len(names)} finite numbers: {','.join(line)[:80]!r}."
            )
    rows = np.array(lines[1:], dtype="float64")
    if not np.isfinite(rows).all():
        raise VerificationFailed("A number of the table is too large.")
    return names, rows
