"""How far a run has come: with the tensors, all that a checkpoint holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from genesis_workbench.core.errors import Conflict


class Progress(BaseModel):
    """Position of a run.

    Attributes
    ----------
    step : int
        Steps done.
    epoch, position : int
        Epochs done, and samples of the next one.
    node_hours : float
        Machines times hours, all attempts together, but for what a kill has cost.
    best : float or None
        Best validation loss so far.
    stale : int
        Epochs since then.
    seed, counts : int, tuple of int
        What the order of samples follows from.
    """

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    epoch: int = 0
    position: int = 0
    node_hours: float = 0.0
    best: float | None = None
    stale: int = 0
    seed: int = 0
    counts: tuple[int, ...] = ()

    def improves(self, value: float) -> bool:
        """Note a validation loss, and return whether it is the best."""
        better = self.best is None or value < self.best
        self.best, self.stale = (value, 0) if better else (self.best, self.stale + 1)
        return better

    def check(self, seed: int, counts: tuple[int, ...]) -> None:
        """Refuse to go on with other data: samples would be seen twice or never.

        Raises
        ------
        Conflict
            If seed or shards are not those of the checkpoint.
        """
        if (self.seed, self.counts) != (seed, counts):
            raise Conflict(
                f"The checkpoint at step {self.step} is of another run: it has the seed {self.seed} and {sum(self.counts)} samples "
                f"in {len(self.counts)} shards; now there are {seed}, {sum(counts)} and {len(counts)}. Start a new run."
            )
