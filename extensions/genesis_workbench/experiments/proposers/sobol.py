"""A scrambled Sobol sequence: covers the space evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from genesis_workbench.experiments.proposers._base import points_so_far, sobol_values
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial


class SobolProposer:
    """The next points of the sequence that fit the constraints."""

    name: ClassVar[str] = "sobol"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return the next `count` points. See :class:`Proposer`."""
        return sobol_values(spec, points_so_far(trials), count)
