"""STAC without a server: a catalog of linked JSON files, or one such file, on the web or in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources import _stac
from genesis_workbench.catalog.sources._base import Page, follow, make_dataset, read_page
from genesis_workbench.catalog.sources._files import Documents, Walk
from genesis_workbench.catalog.sources._values import clean, kind_of
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection


class StaticStacSource:
    """A static catalog, followed through its child links; items count where they are in no collection.

    `url` of the section is the address of a catalog, collection, item or item collection: ``https://`` or ``file://``.
    Links are followed on the same host, or inside the same folder. The cursor names the files still to be read.
    """

    kind: ClassVar[str] = "stac_static"
    protocol: ClassVar[str] = "STAC files"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._documents = Documents(section, fetcher)

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield one page for each file that lists something."""
        return follow(self._page, cursor)

    def _page(self, cursor: str | None) -> Page:
        walk = Walk(self._section.url, cursor)
        page = Page([])
        while walk and not page.records:
            url = walk.next()
            try:
                page = self._file(url, walk)
            except (InvalidInput, NotFound) as error:  # a broken file does not take the others with it
                if url == self._section.url:
                    raise
                page = Page([Rejected(url, error.message)])
        return replace(page, cursor=walk.cursor)

    def _file(self, url: str, walk: Walk) -> Page:
        content = self._documents.json(url)
        if not isinstance(content, Mapping):
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(content)}, where STAC was expected."
            )
        kind = clean(content.get("type"), 40).lower()
        found: list[Any] = []
        if kind == "feature":
            found = [content]
        elif kind == "featurecollection" and isinstance(content.get("features"), list):
            found = content["features"]
        elif kind == "collection" or content.get("extent"):
            found = [content]
        elif not content.get("stac_version") or not isinstance(content.get("links"), list):
            raise InvalidInput(f"The source {self._section.name!r} sent {kind_of(content)} that is no STAC.")
        follows = ("child",) if found else ("child", "item")
        walk.add(self._children(content, url, follows))
        return read_page(found, lambda record: self._read(record, url), lambda record: record.get("id"))

    def _children(self, content: Mapping[str, Any], base: str, relations: tuple[str, ...]) -> Iterator[str]:
        links = content.get("links")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, Mapping) and link.get("rel") in relations:
                address = self._documents.near(clean(link.get("href"), 2000), base)
                if address:
                    yield address

    def _read(self, record: Mapping[str, Any], url: str) -> Dataset:
        one = clean(record.get("type"), 40).lower() == "feature"
        fields = _stac.item_fields(record, url) if one else _stac.collection_fields(record, url)
        return make_dataset(self._section, record, **fields)
