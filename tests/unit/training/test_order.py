"""Each sample once an epoch: over any number of processes, kills and resumptions."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.training.feeding import Feeder  # noqa: E402
from genesis_workbench.training.order import Order  # noqa: E402
from genesis_workbench.training.shards import MemoryShards  # noqa: E402

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


class Numbered:
    """Shards of which each sample is its own number."""

    def __init__(self, counts):
        self.counts = tuple(counts)

    def read(self, shard):
        begin = sum(self.counts[:shard])
        return {"number": np.arange(begin, begin + self.counts[shard])}


@given(
    counts=COUNTS,
    seed=st.integers(0, 2**31 - 1),
    window=st.integers(1, 5),
    batch=st.integers(1, 7),
    data=st.data(),
)
def test_each_sample_is_seen_once_an_epoch_whoever_dies_and_however_many_go_on(
    counts, seed, window, batch, data
):
    total = sum(counts)
    # What counts of an attempt is what was done before its last checkpoint: it was killed somewhere after that.
    steps = range(0, total, batch)
    kills = sorted(data.draw(st.sets(st.sampled_from(steps), max_size=4)))
    for epoch in (0, 1):
        seen = Counter()
        for begin, end in pairwise([0, *[kill for kill in kills if kill], total]):
            processes = data.draw(st.integers(1, 5))  # each attempt has its own number
            feeders = [
                Feeder(Numbered(counts), Order(tuple(counts), seed, window), n, processes)
                for n in range(processes)
            ]
            for start in range(begin, end, batch):
                for feeder in feeders:
                    got, count = feeder.batch(epoch, start, min(start + batch, total))
                    seen.update(got["number"][:count].tolist())
            for feeder in feeders:
                feeder.close()
        assert seen == Counter(range(total))


@given(counts=COUNTS, seed=st.integers(0, 2**31 - 1), window=st.integers(1, 5), batch=st.integers(1, 7))
def test_a_batch_has_the_same_samples_whatever_the_number_of_processes(counts, seed, window, batch):
    order, total = Order(tuple(counts), seed, window), sum(counts)
    alone = Feeder(Numbered(counts), order)
    several = [Feeder(Numbered(counts), order, n, 3) for n in range(3)]
    for start in range(0, total, batch):
        stop = min(start + batch, total)
        shares = [feeder.batch(0, start, stop) for feeder in several]
        together = [n for got, count in shares for n in got["number"][:count].tolist()]
        assert sorted(together) == sorted(alone.batch(0, start, stop)[0]["number"].tolist())
    for feeder in (alone, *several):
        feeder.close()


def test_epochs_and_seeds_differ_and_the_same_ones_do_not():
    order = Order((50, 50, 50), 1, 2)
    rows = {
        key: str(Order((50, 50, 50), key[0], 2).pieces(key[1], 0, 150)) for key in ((1, 0), (1, 1), (2, 0))
    }
    assert len(set(rows.values())) == 3
    assert rows[1, 0] == str(order.pieces(0, 0, 150))


def test_no_more_than_two_windows_are_in_memory():
    reads = []

    class Counting(Numbered):
        def read(self, shard):
            reads.append(shard)
            return super().read(shard)

    feeder = Feeder(Counting([4] * 10), Order((4,) * 10, 0, 2))
    for start in range(0, 40, 4):
        feeder.batch(0, start, start + 4)
        assert len(feeder._windows) <= 2
    feeder.close()
    assert sorted(reads[:10]) == list(range(10)), "each shard is read once an epoch"


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same number of rows"):
        MemoryShards({"x": np.zeros(3), "y": np.zeros(4)})
