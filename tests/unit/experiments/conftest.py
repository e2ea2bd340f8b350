"""A ledger, an executor and Alice's experiments in them."""

from __future__ import annotations

import pytest

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import store
from unit.experiments.bench import ALICE, Bench


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def bench(monkeypatch):
    made = Bench()
    monkeypatch.setattr(store, "local_executors", lambda: {"bench": made})
    return made


@pytest.fixture
def experiments(ledger, bench):
    return store.LedgerExperiments(ledger, ALICE)
