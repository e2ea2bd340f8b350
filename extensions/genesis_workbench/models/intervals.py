"""How far a model may be off: conformal intervals from data that it was not trained on.

Split conformal prediction (Vovk, Gammerman and Shafer 2005, chapter 4; Lei et al., J. Am. Stat. Assoc. 113, 2018): of n
held-out residuals the ceil((n + 1) p)-th smallest is the half width of an interval that holds the true value with a
probability of at least p, whatever the model, for inputs drawn like the held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.models.signature import Frozen

MOST = 2000
"""Residuals that are kept of each output, drawn at random: that keeps the guarantee."""
FEWEST = 10


class Intervals(Frozen):
    """Held-out residuals of each output."""

    residuals: dict[str, tuple[float, ...]] = Field(
        min_length=1, description="Absolute residuals by output, ascending, in its unit."
    )
    rows: int = Field(ge=FEWEST, description="Held-out rows that they are from.")

    @field_validator("residuals")
    @classmethod
    def _residuals_ascend(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, numbers in value.items():
            good = FEWEST <= len(numbers) <= MOST and all(math.isfinite(number) for number in numbers)
            if not good or numbers[0] < 0 or list(numbers) != sorted(numbers):
                raise ValueError(f"{name}: residuals are {FEWEST} to {MOST} numbers from 0 on, ascending.")
        return value

    @classmethod
    def fit(cls, predicted: Mapping[str, Any], measured: Mapping[str, Any]) -> Intervals:
        """Make them from what a model said of held-out data, and what was so.

        Raises
        ------
        InvalidInput
            If an output is missing, shapes differ, or fewer than ten rows are complete.
        """
        import numpy as np

        kept, rows = {}, 0
        for name, said in predicted.items():
            if name not in measured:
                raise InvalidInput(f"The held-out data have no values of {name}.")
            ours, true = np.asarray(said, dtype="float64"), np.asarray(measured[name], dtype="float64")
            if ours.size != true.size or len(ours) != ours.size:
                raise InvalidInput(
                    f"Intervals need one number of {name} for each sample: the model gives {ours.shape}, held out are {true.shape}."
                )
            residuals = np.abs(ours.ravel() - true.ravel())
            residuals = residuals[np.isfinite(residuals)]
            rows = residuals.size
            if rows < FEWEST:
                raise InvalidInput(f"Intervals need at least {FEWEST} held-out rows of {name}, not {rows}.")
            drawn = np.random.default_rng(0).permutation(rows)[:MOST]
            kept[name] = tuple(float(number) for number in np.sort(residuals[drawn]))
        return cls(residuals=kept, rows=rows)

    def margin(self, output: str, level: float) -> float:
        """Return the half width of the interval that holds the true value with a probability of at least `level`.

        Raises
        ------
        InvalidInput
            If `level` is not between 0 and 1, or needs more held-out rows than there are.
        """
        if not 0 < level < 1:
            raise InvalidInput(f"An interval's level lies between 0 and 1, such as 0.9; not {level!r}.")
        residuals = self.residuals[output]
        count = len(residuals)
        rank = math.ceil((count + 1) * level - 1e-9)
        if rank > count:
            raise InvalidInput(
                f"{count} held-out rows carry levels up to {count / (count + 1):.4f}, not {level}. Ask for less."
            )
        return residuals[max(rank, 1) - 1]
