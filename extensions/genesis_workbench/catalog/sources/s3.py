"""An S3 bucket that everybody may list: where many agencies put what they publish in the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from genesis_workbench.catalog.content import bucket
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import Page, follow, make_dataset, read_page
from genesis_workbench.catalog.sources._objects import DATA_ENDINGS, described, ending
from genesis_workbench.catalog.sources._series import Series, address_of, described_series
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class S3Source:
    """Every object of a known format, every Zarr store, and every series of objects, is one dataset. They are listed, not
    read.

    `url` of the section is ``s3://bucket/prefix``, or the address of the bucket where it is not Amazon's
    (``https://host/bucket?prefix=...``). It is asked without credentials.
    """

    kind: ClassVar[str] = "s3"
    protocol: ClassVar[str] = "S3 ListObjectsV2, without credentials"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        parts = urlsplit(section.url)
        if parts.scheme == "s3":
            self._bucket = f"https://{parts.netloc}.s3.amazonaws.com"
            self._prefix = parts.path.lstrip("/")
        else:
            self._bucket = section.url.partition("?")[0].rstrip("/")
            self._prefix = parse_qs(parts.query).get("prefix", [""])[0]
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a continuation token, on, whatever the state."""
        stores: set[str] = set()
        series = Series()
        return follow(lambda at: self._page(at, stores, series), cursor)

    def _page(self, cursor: str | None, stores: set[str], series: Series) -> Page:
        records: list[Any] = []
        following = cursor
        for _ in range(50):  # answers that list only what is inside one store, or of no known format
            objects, following = bucket.listed(self._fetcher, self._bucket, self._prefix, following)
            records += list(self._records(objects, stores, series))
            if records or following is None:
                break
        return read_page(records, self._read, lambda record: record["key"], following)

    def _records(
        self, objects: Iterable[bucket.Object], stores: set[str], series: Series
    ) -> Iterator[dict[str, Any]]:
        for each in objects:
            before, inside, _ = each.key.partition(".zarr/")
            if inside:
                store = f"{before}.zarr/"
                if store not in stores:
                    stores.add(store)
                    yield {"key": store, "size": 0, "modified": each.modified}
            elif ending(each.key) in DATA_ENDINGS:
                yield asdict(each)
                pattern = series.add(each.key)
                if pattern is not None:
                    yield {"key": pattern, "size": 0, "modified": each.modified, "series": True}

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        if record.get("series"):
            fields = described_series(record["key"], record["modified"])
            url = f"{self._bucket}/{address_of(record['key'])}"
        else:
            fields = described(record["key"], record["size"], record["modified"])
            url = f"{self._bucket}/{quote(record['key'])}"
        whole = Distribution(format=fields.pop("format"), url=url, size_bytes=record["size"] or None)
        return make_dataset(self._section, record, landing_page=url, distributions=[whole], **fields)
