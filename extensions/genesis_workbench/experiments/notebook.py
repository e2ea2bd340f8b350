"""What a notebook asks besides: experiments that were launched, shared budgets, files; and where all of them live."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.service import local_state, me, service
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import lineage
from genesis_workbench.experiments.run import Run
from genesis_workbench.experiments.store import Experiments, LedgerExperiments, RemoteExperiments
from genesis_workbench.experiments.verification import Report

if TYPE_CHECKING:
    import pandas as pd


def get(experiment: str) -> Run:
    """Return an experiment by its identifier."""
    here = store()
    here.summary(experiment)
    return Run(experiment, here)


def search() -> list[dict[str, Any]]:
    """Return the summaries of all experiments that one may see, newest first."""
    return store().summaries()


def compare(*experiments: str | Run) -> pd.DataFrame:
    """Return experiments side by side, one a row: trials, costs, best points, decisions, and what differs."""
    import pandas as pd

    runs = [each if isinstance(each, Run) else get(each) for each in experiments]
    rows = lineage.compared([run.state() for run in runs])
    flat = [
        {
            **{name: value for name, value in row.items() if name not in ("best", "differs", "spent")},
            "best": row["best"]["value"],
            **{f"spent {name}": amount for name, amount in row["spent"].items()},
            **{f"differs: {name}": value for name, value in row["differs"].items()},
        }
        for row in rows
    ]
    return pd.DataFrame(flat).set_index("experiment")


def keep(path: str | Path) -> str:
    """Keep a copy of a file that trials need, such as a script, and return the hash by which the executor `job` takes it."""
    return store().keep_file(Path(path).read_bytes())


def open_budget(
    name: str, *, groups: Sequence[str] = (), currency: str = "USD", **limits: float
) -> dict[str, Any]:
    """Open a budget that several experiments draw from, with ``Budget(account=name)``.

    Parameters
    ----------
    groups : sequence of str
        Groups whose members may draw from it.
    **limits
        Amounts, such as ``samples=200``.
    """
    return store().open_budget(name, limits, groups=groups, currency=currency)


def shared_budget(name: str) -> dict[str, Any]:
    """Return a shared budget: limits, what is reserved and what is spent."""
    return store().budget(name)


def verify(experiment: str) -> Report:
    """Check an experiment from the ledger alone: chain, commitment, trials, attachments and decision, line by line."""
    return store().verify(experiment)


def store() -> Experiments:
    """Return where experiments live: behind the service inside a hub, else in this person's own folder."""
    remote = service()
    if remote:
        return RemoteExperiments(remote)
    blobs = BlobStore(State(local_state()).blobs)
    return LedgerExperiments(_local_ledger(), me(), blobs=blobs)


@cache
def _local_ledger() -> Ledger:
    return Ledger.open(State(local_state()).ledger_url())
