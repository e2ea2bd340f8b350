"""What the processes work with: the site, the ledger and the engines on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genesis_services.language import LanguageModels
from genesis_services.predicting import Predictions
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.core.access import Person
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site, load_site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.dashboards.store import LedgerDashboards
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.models.shipped import install_builtin
from genesis_workbench.models.store import artifacts
from genesis_workbench.models.uploads import Uploads
from genesis_workbench.models.zoo import LocalZoo
from genesis_workbench.training.told import ToldRuns


@dataclass
class Context:
    """The engines of one process."""

    site: Site
    state: State
    ledger: Ledger
    catalog: LocalCatalog
    zoo: LocalZoo
    uploads: Uploads
    dashboards: LedgerDashboards
    training: ToldRuns
    executors: Executors
    predictions: Predictions
    language: LanguageModels

    @classmethod
    def from_environment(cls) -> Context:
        """Open everything that GENESIS_SITE, GENESIS_STATE, GENESIS_PORT and GENESIS_DASHBOARDS name."""
        state = State(Path(os.environ["GENESIS_STATE"]))
        site = load_site(Path(os.environ["GENESIS_SITE"])).at_port(int(os.environ["GENESIS_PORT"]))
        ledger = Ledger.open(state.ledger_url(site))
        blobs = BlobStore(state.blobs)
        catalog = LocalCatalog(ledger, site, state.folder)
        zoo = LocalZoo(
            ledger,
            artifacts(site, state),
            datasets=lambda name, person: catalog.get(name, person).access_rule,
            trusted=site.models.trusted_keys,
        )
        install_builtin(zoo)
        uploads = Uploads(state.uploads)
        dashboards = LedgerDashboards(ledger, blobs, Path(os.environ["GENESIS_DASHBOARDS"]))
        training = ToldRuns(ledger, state.told_training, partial(_look, catalog, zoo))
        executors = Executors(Place(site, state, service=True))
        predictions = Predictions(zoo, site.models)
        return cls(
            site,
            state,
            ledger,
            catalog,
            zoo,
            uploads,
            dashboards,
            training,
            executors,
            predictions,
            LanguageModels(site.language),
        )


def _look(catalog: LocalCatalog, zoo: LocalZoo, data: Sequence[str], parent: str, person: Person) -> None:
    """Raise NotFound where `person` may not see one of the datasets, or the model, at this moment."""
    for each in data:
        catalog.get(each, person)
    if parent:
        zoo.get(parent, person)
