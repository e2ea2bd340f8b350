"""The list that a federal agency publishes of its own data: data.json, DCAT-US 1.1 and 3.0."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _apart, _dcat, _streaming
from genesis_workbench.catalog.sources._base import Page, make_dataset, read_page
from genesis_workbench.catalog.sources._values import kind_of, web_address
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.identifiers import digest_of
from genesis_workbench.core.site import SourceSection

_REQUIRED = ("title", "description", "publisher", "contactPoint")
_LISTS = ("dataset", "catalog", "datasetSeries")
_DEPTH = 4


class DcatSource:
    """One file with everything; catalogs inside the catalog and series of datasets are read too, and single records.

    The file goes to disk first. A small one is then read at once; a large one in a process of its own, of which only a
    page of records is in memory at any time. The cursor is the number of records before the page.
    """

    kind: ClassVar[str] = "dcat"
    protocol: ClassVar[str] = "DCAT-US 1.1 and 3.0 (data.json)"
    incremental: ClassVar[bool] = False
    max_bytes: ClassVar[int] = 4 * 2**30
    """Most bytes of a file; half a million records are about 1 GB."""
    whole_bytes: ClassVar[int] = 8 * 2**20
    """Up to this size a file is read at once, by a parser that forgives more (NaN, for one)."""
    per_page: ClassVar[int] = 1000

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages of records, if the file has changed."""
        with tempfile.SpooledTemporaryFile(max_size=self.whole_bytes) as file:
            answer, taken = self._download(file, {} if cursor else state or {})
            if answer is None:
                yield Page([], state=taken, unchanged=True)
                return
            skipped = int(cursor) if cursor and cursor.isdigit() else 0
            if file.seek(0, 2) > self.whole_bytes:
                found = _apart.pages(self._section, file, skipped, self.per_page)
            else:
                found = self._paged(self._whole(file, answer), skipped, self.per_page)
            with closing(found):
                for page in found:
                    yield replace(page, state=taken)

    def read(self, file: Any, skipped: int, per_page: int) -> Generator[Page]:
        """Yield pages of a large file, from a record on."""
        return self._paged(_streaming.records(file, self._section.name, _LISTS, _unfold), skipped, per_page)

    def _paged(self, every: Iterable[Any], skipped: int, per_page: int) -> Generator[Page]:
        records = iter(islice(every, skipped, None))
        following = list(islice(records, per_page))
        while True:
            chosen, following = following, list(islice(records, per_page))
            skipped += len(chosen)
            after = str(skipped) if following else None
            yield read_page(chosen, self._read, _dcat.identifier, after)
            if not following:
                return

    def _download(self, file: Any, state: Mapping[str, str]) -> tuple[Answer | None, Mapping[str, str]]:
        """Download the file; without an answer where it is what it was."""
        answer = self._fetcher.download(
            self._section.url,
            file,
            max_bytes=self.max_bytes,
            headers={"Accept": "application/json"},
            etag=state.get("etag"),
            modified=state.get("modified"),
        )
        if answer.not_modified and state:
            return None, state
        digest = digest_of(file)
        if state.get("digest") == digest:
            return None, state
        named = {"etag": answer.headers.get("etag", ""), "modified": answer.headers.get("last-modified", "")}
        return answer, {"digest": digest, **{name: value for name, value in named.items() if value}}

    def _whole(self, file: Any, answer: Answer) -> Iterator[Any]:
        file.seek(0)
        document = Answer(answer.url, answer.status, answer.headers, file.read()).json()
        if _is_bare(document):
            return iter(document if isinstance(document, list) else [document])
        if not isinstance(document, Mapping) or not any(isinstance(document.get(k), list) for k in _LISTS):
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(document)} without a list 'dataset': this is no "
                "data.json."
            )
        return _inside(document, 0)

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


def _is_bare(document: Any) -> bool:
    """Whether it is the list of the years before DCAT-US 1.1, or one record by itself."""
    if isinstance(document, list):
        return bool(document) and isinstance(document[0], Mapping) and "title" in document[0]
    kind = document.get("@type") if isinstance(document, Mapping) else ""
    return isinstance(kind, str) and kind.rpartition(":")[2] == "Dataset"


def _inside(catalog: Mapping[str, Any], depth: int) -> Iterator[Any]:
    """Yield the datasets of a catalog, of the series in it and of the catalogs in it."""
    if depth <= _DEPTH:
        yield from chain.from_iterable(
            _unfold(name, each, depth) for name in _LISTS for each in _list(catalog, name)
        )


def _unfold(name: str, value: Any, depth: int = 0) -> Iterable[Any]:
    """Return the records that one element of a list stands for."""
    if name == "dataset":
        return (value,)
    if not isinstance(value, Mapping):
        return ()
    return _list(value, "seriesMember") if name == "datasetSeries" else _inside(value, depth + 1)


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []
