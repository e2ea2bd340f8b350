"""An S3 bucket that everybody may list: where many agencies put what they publish in the cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources import _xml
from genesis_workbench.catalog.sources._base import Page, follow, make_dataset, read_page
from genesis_workbench.catalog.sources._objects import DATA_ENDINGS, described, ending
from genesis_workbench.catalog.sources._values import clean, size
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class S3Source:
    """Every object of a known format, and every Zarr store, is one dataset. Objects are listed, not read.

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
        return follow(lambda at: self._page(at, stores), cursor)

    def _page(self, cursor: str | None, stores: set[str]) -> Page:
        records: list[Any] = []
        following = cursor
        for _ in range(50):  # answers that list only what is inside one store, or of no known format
            root = self._list(following)
            following = _xml.text(root, "NextContinuationToken") or None
            records += list(self._objects(root, stores))
            if records or following is None:
                break
        return read_page(records, self._read, lambda record: record["key"], following)

    def _list(self, cursor: str | None) -> Any:
        params = {
            "list-type": "2",
            "prefix": self._prefix or None,
            "max-keys": "1000",
            "continuation-token": cursor,
        }
        answer = self._fetcher.fetch(f"{self._bucket}/", params=params)
        root = _xml.parse(answer.body, "the listing of a bucket")
        if _xml.local(root) != "ListBucketResult":
            said = clean(_xml.text(root, "Message") or _xml.local(root), 200)
            raise InvalidInput(f"The source {self._section.name!r} sent no listing of a bucket, but: {said}.")
        return root

    def _objects(self, root: Any, stores: set[str]) -> Iterator[dict[str, Any]]:
        for entry in _xml.inside(root, "Contents"):
            key = _xml.text(entry, "Key")
            modified, bytes_ = _xml.text(entry, "LastModified"), size(_xml.text(entry, "Size")) or 0
            before, inside, _ = key.partition(".zarr/")
            if inside:
                store = f"{before}.zarr/"
                if store not in stores:
                    stores.add(store)
                    yield {"key": store, "size": 0, "modified": modified}
            elif ending(key) in DATA_ENDINGS:
                yield {"key": key, "size": bytes_, "modified": modified, "etag": _xml.text(entry, "ETag")}

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        fields = described(record["key"], record["size"], record["modified"])
        url = f"{self._bucket}/{quote(record['key'])}"
        whole = Distribution(format=fields.pop("format"), url=url, size_bytes=record["size"] or None)
        return make_dataset(self._section, record, landing_page=url, distributions=[whole], **fields)
