"""Batches from shards: the window that is used now is in memory, and the next one is read meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from genesis_workbench.training.order import Order
from genesis_workbench.training.shards import Shards

Batch = dict[str, torch.Tensor]
_KEPT = 2**28
"""Bytes of samples that a process keeps, so that it need not read them again for each validation."""


class Feeder:
    """Reads samples of an order.

    Parameters
    ----------
    shards : Shards
        Where they are.
    order : Order
        In which order they come.
    rank, processes : int
        Which share of each batch this process takes.
    """

    def __init__(self, shards: Shards, order: Order, rank: int = 0, processes: int = 1) -> None:
        self._shards, self.order, self._rank, self._processes = shards, order, rank, processes
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._windows: dict[tuple[int, ...], Future[Batch]] = {}

    def batch(self, epoch: int, start: int, stop: int) -> tuple[Batch, int]:
        """Return this process's share of samples `start` to `stop`, and how many of them count.

        A process whose share of a last, short batch is empty gets a sample that does not count, so that all take part in the step.
        """
        pieces = self.order.pieces(epoch, start, stop)
        shares, begin = [], 0
        for shards, rows in pieces:
            shares.append((shards, rows[(self._rank - begin) % self._processes :: self._processes]))
            begin += len(rows)
        count = sum(len(rows) for _, rows in shares)
        if not count:
            shares = [(pieces[0][0], pieces[0][1][:1])]
        parts = [self._rows(shards, rows) for shards, rows in shares if len(rows)]
        self._look_ahead(epoch, pieces[-1][0])
        if len(parts) == 1:
            return parts[0], count
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, count

    def close(self) -> None:
        """Let go of what was read."""
        self._reader.shutdown(cancel_futures=True)
        self._windows.clear()

    def _rows(self, shards: tuple[int, ...], rows: np.ndarray) -> Batch:
        index = torch.from_numpy(rows)
        return {name: column.index_select(0, index) for name, column in self._window(shards).items()}

    def _window(self, shards: tuple[int, ...]) -> Batch:
        if shards not in self._windows:
            self._windows[shards] = self._reader.submit(self._read, shards)
        return self._windows[shards].result()

    def _look_ahead(self, epoch: int, current: tuple[int, ...]) -> None:
        windows = self.order.windows(epoch)
        at = windows.index(current)
        following = windows[at + 1] if at + 1 < len(windows) else self.order.windows(epoch + 1)[0]
        if following not in self._windows:
            self._windows = {key: each for key, each in self._windows.items() if key == current}
            self._windows[following] = self._reader.submit(self._read, following)

    def _read(self, shards: tuple[int, ...]) -> Batch:
        read = [self._shards.read(shard) for shard in shards]
        return {name: _tensor(np.concatenate([each[name] for each in read])) for name in read[0]}


def everything(shards: Shards, size: int) -> Iterator[Batch]:
    """Yield all samples in batches, in the order of the shards."""
    for number, count in enumerate(shards.counts):
        columns = {name: _tensor(column) for name, column in shards.read(number).items()}
        for begin in range(0, count, size):
            yield {name: column[begin : begin + size] for name, column in columns.items()}


class Held:
    """All samples in batches, as :func:`everything` gives them, as often as they are asked for.

    Parameters
    ----------
    shards : Shards
        Where they are.
    size : int
        Samples of a batch.
    kept : int
        Where they are at most so many bytes, they are read once.
    """

    def __init__(self, shards: Shards, size: int, kept: int = _KEPT) -> None:
        self._shards, self._size, self._most = shards, size, kept
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        batches: list[Batch] = []
        taken = 0
        for batch in everything(self._shards, self._size):
            taken += sum(column.nbytes for column in batch.values())
            if taken > self._most:
                batches.clear()
            else:
                batches.append(batch)
            yield batch
        self._kept = batches if taken <= self._most else None


def _tensor(column: np.ndarray) -> torch.Tensor:
    """Return a tensor that shares nothing with what was read; float64 becomes float32, as models have it."""
    return torch.from_numpy(np.array(column, "float32" if column.dtype == "float64" else None))
