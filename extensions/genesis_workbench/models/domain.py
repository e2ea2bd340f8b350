"""Where a model knows its way: how far inputs lie from those that it was trained on.

The distance of Mahalanobis (1936): from the mean of the training inputs, in units of their covariance, so that an unusual
combination of usual values counts too. The limit is the distance that one in a hundred training rows exceeds. It is fitted
at registration and kept as numbers; no training row is kept. Chosen by measuring: docs/decisions/0013.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.signature import Frozen

if TYPE_CHECKING:
    import numpy as np

MOST_COLUMNS = 128
QUANTILE = 0.99
_SHRINKAGE = 0.1
"""How far the covariance is drawn to its diagonal: with few rows its smallest directions are noise."""


class Domain(Frozen):
    """A detector of inputs unlike the training inputs, as plain numbers."""

    method: Literal["mahalanobis"] = Field("mahalanobis", description="What is measured.")
    inputs: tuple[str, ...] = Field(min_length=1, description="Inputs of the signature, in order.")
    widths: tuple[int, ...] = Field(min_length=1, description="Columns of each input.")
    centre: tuple[float, ...] = Field(
        min_length=1, max_length=MOST_COLUMNS, description="Mean of each column."
    )
    whitening: tuple[tuple[float, ...], ...] = Field(
        description="Rows of the matrix that turns a difference from the centre into independent unit steps."
    )
    limit: float = Field(gt=0, allow_inf_nan=False, description="Distance beyond which an input is outside.")
    rows: int = Field(ge=1, description="Training rows that it was fitted on.")

    @model_validator(mode="after")
    def _sizes_agree(self) -> Domain:
        size = len(self.centre)
        square = len(self.whitening) == size and all(len(row) == size for row in self.whitening)
        if len(self.inputs) != len(self.widths) or sum(self.widths) != size or not square:
            raise ValueError("the numbers of columns of the domain do not agree.")
        if not all(math.isfinite(number) for row in (self.centre, *self.whitening) for number in row):
            raise ValueError("the domain has numbers that are not finite.")
        return self

    @classmethod
    def fit(cls, inputs: Mapping[str, Any]) -> Domain:
        """Fit it to training inputs.

        Parameters
        ----------
        inputs : mapping of array
            By input, in the units of the signature: one row for each sample, all numbers of a sample in it.

        Raises
        ------
        InvalidInput
            If there are too few complete rows for so many columns, or more than 128 columns.
        """
        import numpy as np

        blocks = _blocks(inputs)
        rows = np.hstack(list(blocks.values()))
        rows = rows[np.isfinite(rows).all(axis=1)]
        count, columns = rows.shape
        if columns > MOST_COLUMNS:
            raise InvalidInput(
                f"The inputs have {columns} columns; a domain is fitted to at most {MOST_COLUMNS}. Leave it out."
            )
        if count < max(20, 2 * columns):
            raise InvalidInput(
                f"A domain of {columns} columns needs at least {max(20, 2 * columns)} complete training rows, not {count}."
            )
        centre = rows.mean(axis=0)
        # A column that never changed in training has no spread to measure by: nearly any other value is far.
        spread = np.maximum(rows.std(axis=0, ddof=1), 1e-6 * np.maximum(np.abs(centre), 1e-3))
        correlation = np.atleast_2d(np.cov(((rows - centre) / spread).T))
        correlation = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(columns)
        whitening = np.linalg.inv(np.linalg.cholesky(correlation)) / spread
        distances = np.linalg.norm((rows - centre) @ whitening.T, axis=1)
        return cls(
            inputs=tuple(blocks),
            widths=tuple(block.shape[1] for block in blocks.values()),
            centre=tuple(map(float, centre)),
            whitening=tuple(tuple(map(float, row)) for row in whitening),
            limit=float(np.quantile(distances, QUANTILE, method="higher")),
            rows=count,
        )

    def distance(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return how far each sample is from the training inputs; NaN where it is not finite.

        Parameters
        ----------
        inputs : mapping of array
            As for :meth:`fit`.
        """
        import numpy as np

        blocks = _blocks({name: inputs[name] for name in self.inputs})
        rows = np.hstack(list(blocks.values())) - np.asarray(self.centre)
        distances: np.ndarray = np.linalg.norm(rows @ np.asarray(self.whitening).T, axis=1)
        return distances

    def outside(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return for each sample whether it is outside; not finite ones are not."""
        flags: np.ndarray = self.distance(inputs) > self.limit
        return flags


def _blocks(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Make each input a table with one row for each sample."""
    import numpy as np

    blocks = {name: np.asarray(value, dtype="float64") for name, value in inputs.items()}
    blocks = {name: block.reshape(len(block), -1) for name, block in blocks.items() if block.ndim}
    lengths = {name: len(block) for name, block in blocks.items()}
    if len(blocks) != len(inputs) or len(set(lengths.values())) != 1:
        raise InvalidInput(f"The inputs need the same number of samples each; they have {lengths or 'none'}.")
    return blocks
