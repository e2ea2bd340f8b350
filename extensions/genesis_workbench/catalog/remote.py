"""The catalog behind the service: what a notebook inside the hub uses."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.result import SearchResult, SourceStatus
from genesis_workbench.core.access import Person
from genesis_workbench.core.service import Service


class RemoteCatalog:
    """Asks the service, which knows by the token who asks: `person` is not sent and does not count."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def search(
        self, text: str = "", *, person: Person, limit: int = 20, cursor: str | None = None, **narrow: Any
    ) -> SearchResult:
        """Return the hits of one page."""
        sent = {**narrow, "q": text or None, "limit": limit, "cursor": cursor}
        for name in ("bbox", "period"):
            if sent.get(name) is not None:
                sent[name] = ",".join("" if value is None else str(value) for value in sent[name])
        return SearchResult.from_dict(self._service.get("catalog/datasets", **sent))

    def get(self, dataset_id: str, person: Person) -> Dataset:
        """Return one record."""
        return Dataset.model_validate(self._service.get(f"catalog/datasets/{quote(dataset_id, safe='')}"))

    def sources(self, person: Person) -> list[SourceStatus]:
        """Return the state of every source."""
        return [SourceStatus(**item) for item in self._service.get("catalog/sources")["items"]]

    def record_opening(self, dataset_id: str, person: Person) -> None:
        """Have the service write into its ledger that the token's owner opened the dataset."""
        self._service.post(f"catalog/datasets/{quote(dataset_id, safe='')}/openings")
