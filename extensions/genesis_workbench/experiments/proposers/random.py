"""Uniform random points: the control that every optimiser must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from genesis_workbench.experiments.proposers._base import points_so_far, random_values
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial


class RandomProposer:
    """Points drawn independently, uniform over what fits the constraints."""

    name: ClassVar[str] = "random"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` random points. See :class:`Proposer`."""
        first = points_so_far(trials)
        return [random_values(spec, first + i) for i in range(count)]
