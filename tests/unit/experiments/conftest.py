"""A ledger, an executor and Alice's experiments in them."""

from __future__ import annotations

import pytest

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import notebook, store
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors._base import Place
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
def own_store(ledger, tmp_path, monkeypatch):
    """What a notebook's code works on, with all executors."""
    executors, blobs = Executors(Place(Site(name="test"), State(tmp_path))), BlobStore(tmp_path / "blobs")
    mine = store.LedgerExperiments(ledger, ALICE, blobs=blobs, executors=executors)
    monkeypatch.setattr(notebook, "store", lambda: mine)
    return mine


@pytest.fixture
def experiments(ledger, bench):
    return store.LedgerExperiments(ledger, ALICE)
