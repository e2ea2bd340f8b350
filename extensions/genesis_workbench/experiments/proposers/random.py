"""Uniform random points: the control that every optimiser must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from genesis_workbench.experiments import space
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import Trial


class RandomProposer:
    """Points drawn independently from the unit cube."""

    name: ClassVar[str] = "random"

    def propose(self, spec: ExperimentSpec, trials: Sequence[Trial], count: int) -> list[dict[str, Any]]:
        """Return `count` random points. See :class:`Proposer`."""
        points = [
            np.random.default_rng([spec.seed, len(trials) + i]).random(space.width(spec.space))
            for i in range(count)
        ]
        return [space.decode(spec.space, point) for point in points]
