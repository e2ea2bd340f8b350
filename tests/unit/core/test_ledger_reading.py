"""Who only reads the ledger waits for nobody who writes it."""

from __future__ import annotations

import threading

import pytest

from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments.folding import Folds
from genesis_workbench.experiments.state import stream
from genesis_workbench.experiments.store import LedgerExperiments
from unit.experiments.bench import ALICE, Bench, specification


@pytest.fixture
def ledgers(tmp_path):
    opened = [Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") for _ in range(2)]
    yield opened
    for each in opened:
        each.close()


def test_reads_go_on_while_another_writes(ledgers):
    one, other = ledgers
    experiment = LedgerExperiments(one, ALICE, executors={"bench": Bench()}).create(specification())
    folds, leases = Folds(other), Leases(other.engine)
    reads = {
        "read": lambda: len(other.read(stream=stream(experiment))) == 2,
        "version": lambda: other.version(stream(experiment)) == 2,
        "head": lambda: other.head()[0] == 2,
        "verify": lambda: other.verify().ok,
        "load": lambda: folds.load(experiment).id == experiment,
        "holder": lambda: leases.holder("x") is None,
    }
    done = {}
    with one.writing():
        for name, read in reads.items():
            thread = threading.Thread(target=lambda name=name, read=read: done.setdefault(name, read()))
            thread.start()
            thread.join(20)  # a writer is waited for 30 s
    assert done == dict.fromkeys(reads, True)
