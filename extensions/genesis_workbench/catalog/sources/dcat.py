"""The list that a federal agency publishes of its own data: data.json, DCAT-US 1.1 and 3.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _dcat
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    kind_of,
    make_dataset,
    read_page,
    validators,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_REQUIRED = ("title", "description", "publisher", "contactPoint")
_LISTS = ("dataset", "catalog", "datasetSeries")
_DEPTH = 4


class DcatSource:
    """One file with everything; catalogs inside the catalog are read too."""

    kind: ClassVar[str] = "dcat"
    protocol: ClassVar[str] = "DCAT-US 1.1 and 3.0 (data.json)"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the one page there is, if it has changed."""
        answer, same = fetch_changed(
            self._fetcher, self._section.url, state, headers={"Accept": "application/json"}
        )
        if same:
            yield Page([], state=state or {}, unchanged=True)
            return
        document = answer.json()
        if not isinstance(document, Mapping) or not any(isinstance(document.get(k), list) for k in _LISTS):
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(document)} without a list 'dataset': this is no "
                "data.json."
            )
        yield read_page(_records(document, 0), self._read, _dcat.identifier, state=validators(answer))

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        missing = [name for name in _REQUIRED if record.get(name) is None]
        if missing:
            raise InvalidInput(f"it lacks {', '.join(missing)}, which DCAT-US requires")
        licence = record.get("license")
        if (
            isinstance(licence, str)
            and licence
            and not web_address(licence)
            and "redacted" not in licence.lower()
        ):
            raise InvalidInput(f"its licence {licence[:80]!r} is not an address, which DCAT-US requires")
        return make_dataset(
            self._section,
            record,
            identifier=_dcat.identifier(record),
            title=record.get("title"),
            **_dcat.fields(record),
        )


def _records(catalog: Mapping[str, Any], depth: int) -> Iterator[Any]:
    """Yield the datasets of a catalog, of the series in it and of the catalogs in it."""
    yield from _list(catalog, "dataset")
    for series in _list(catalog, "datasetSeries"):
        if isinstance(series, Mapping):
            yield from _list(series, "seriesMember")
    for child in _list(catalog, "catalog") if depth < _DEPTH else []:
        if isinstance(child, Mapping):
            yield from _records(child, depth + 1)


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []
