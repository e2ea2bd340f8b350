"""A scrambled Sobol sequence: covers the space evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from genesis_workbench.experiments import space
from genesis_workbench.experiments.proposers._base import sobol_points
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial


class SobolProposer:
    """The next points of the sequence."""

    name: ClassVar[str] = "sobol"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return the next `count` points. See :class:`Proposer`."""
        return [space.decode(spec.space, point) for point in sobol_points(spec, len(trials), count)]
