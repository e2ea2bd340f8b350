"""In which order samples are seen: it follows from seed and epoch alone, so a position in it is all that a checkpoint needs.

Shards are shuffled, taken a window at a time, and the samples of a window are shuffled among themselves. Only a
window is ever in memory. The order does not depend on how many processes share the work: each takes every n-th sample
of every batch, so a run can go on with another number of them and still see each sample once an epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Order:
    """The order of all samples in every epoch.

    Attributes
    ----------
    counts : tuple of int
        Samples of each shard.
    seed : int
        Seed of the run.
    window : int
        Shards that are shuffled together.
    """

    counts: tuple[int, ...]
    seed: int
    window: int = 8
    _rows: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _windows: dict[int, tuple[list[tuple[int, ...]], list[int]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def total(self) -> int:
        """Samples of one epoch."""
        return sum(self.counts)

    def windows(self, epoch: int) -> list[tuple[int, ...]]:
        """Return the shards of each window of an epoch, in the order in which the windows come."""
        return self._laid_out(epoch)[0]

    def pieces(self, epoch: int, start: int, stop: int) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Return samples `start` to `stop` of an epoch.

        Returns
        -------
        list of (tuple of int, numpy.ndarray)
            The shards of a window, and int64 rows of these shards laid end to end in that order.
        """
        windows, ends = self._laid_out(epoch)
        found = []
        for number in range(bisect_right(ends, start), len(windows)):
            begin = ends[number - 1] if number else 0
            if begin >= stop:
                break
            rows = self._shuffled(epoch, number, ends[number] - begin)
            found.append((windows[number], rows[max(start - begin, 0) : stop - begin]))
        return found

    def _laid_out(self, epoch: int) -> tuple[list[tuple[int, ...]], list[int]]:
        """Return the windows of an epoch, and the position at which each ends."""
        if epoch not in self._windows:
            shards = list(range(len(self.counts)))
            if len(shards) > self.window:  # else all are in one window, whose samples are shuffled anyway
                shards = self._random(epoch, 0).permutation(len(shards)).tolist()
            windows = [tuple(shards[at : at + self.window]) for at in range(0, len(shards), self.window)]
            ends = list(accumulate(sum(self.counts[shard] for shard in window) for window in windows))
            _make_room(self._windows)
            self._windows[epoch] = windows, ends
        return self._windows[epoch]

    def _shuffled(self, epoch: int, number: int, count: int) -> np.ndarray:
        key = (epoch, number)
        if key not in self._rows:
            _make_room(self._rows)
            self._rows[key] = self._random(epoch, number + 1).permutation(count)
        return self._rows[key]

    def _random(self, epoch: int, part: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch, part])))


def _make_room(kept: dict[Any, Any]) -> None:
    """Keep what is used now and before, no more."""
    while len(kept) > 1:
        del kept[next(iter(kept))]
