"""Tiled: how light sources and other facilities of the Bluesky community serve arrays, tables and runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import Page, follow, listed, make_dataset, read_page
from genesis_workbench.catalog.sources._values import clean, plain
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

MAX_DEPTH = 12
MAX_WAITING = 20_000
_PAGE = 100
_API = "/api/v1"
_Place = tuple[list[str], int]
_WHOLE = "xarray_dataset"
"""The specification of a container whose arrays belong together: it is one dataset."""


class TiledSource:
    """Every array, table and xarray dataset of a Tiled server, however deep in its containers.

    `url` of the section is the server's address, or that of one container (``…/api/v1/search/path``). What a stranger may
    see is listed. Arrays open as Zarr, tables as Parquet or CSV, xarray datasets as HDF5.
    """

    kind: ClassVar[str] = "tiled"
    protocol: ClassVar[str] = "Tiled REST API"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, below = section.url.partition(_API)
        self._base = base.rstrip("/")
        self._top = [part for part in below.removeprefix("/search").strip("/").split("/") if part]
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield a page of each container, those in it afterwards; the cursor has the containers still to come."""
        return follow(self._page, cursor)

    def _page(self, cursor: str | None) -> Page:
        """Read container after container until one has a dataset of its own."""
        waiting: list[_Place] = _waiting(cursor) if cursor else [(self._top, 0)]
        page = Page([])
        while waiting and not page.records:
            (path, offset), *rest = waiting
            entries, more = self._entries(path, offset)
            below = [([*path, _name(each)], 0) for each in entries if _is_container(each)]
            here = [(path, offset + len(entries))] if more else []
            waiting = [*here, *rest, *(place for place in below if len(place[0]) <= MAX_DEPTH)]
            if len(waiting) > MAX_WAITING:
                raise InvalidInput(
                    f"The source {self._section.name!r} has more than {MAX_WAITING:,} containers: give the address of one "
                    "of them."
                )
            found = [entry for entry in entries if not _is_container(entry)]
            read = partial(self._read, path)
            page = read_page(found, read, _name, json.dumps(waiting) if waiting else None)
        return page

    def _entries(self, path: list[str], offset: int) -> tuple[list[Any], bool]:
        """Return a page of what is in a container, and whether there is more."""
        answer = self._fetcher.fetch(
            f"{self._base}{_API}/search/{_quoted(path)}",
            params={"page[offset]": offset, "page[limit]": _PAGE},
            headers={"Accept": "application/json"},
        ).json()
        entries = listed(self._section, answer, "data")
        links = answer.get("links")
        return entries, bool(entries) and isinstance(links, Mapping) and bool(links.get("next"))

    def _read(self, path: list[str], entry: Mapping[str, Any]) -> Dataset:
        attributes = entry.get("attributes")
        attributes = attributes if isinstance(attributes, Mapping) else {}
        metadata = attributes.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        family = clean(attributes.get("structure_family"), 40)
        if not _name(entry) or not family:
            raise InvalidInput("it has no 'id' or no 'structure_family'")
        full = [*path, _name(entry)]
        return make_dataset(
            self._section,
            {"path": full, **entry},
            identifier="/".join(full),
            title=metadata.get("title") or metadata.get("name") or "/".join(full),
            description=plain(metadata.get("description")) or _described(attributes.get("structure")),
            keywords=metadata.get("keywords") or [family, *_specs(attributes)],
            licence=metadata.get("license"),
            doi=metadata.get("doi"),
            landing_page=f"{self._base}/ui/browse/{_quoted(full)}",
            distributions=self._distributions(full, family),
        )

    def _distributions(self, path: list[str], family: str) -> list[Distribution]:
        place = _quoted(path)
        if family == "array":
            return [Distribution(format="zarr", url=f"{self._base}/zarr/v3/{place}")]
        if family == "container":
            return [Distribution(format="hdf5", url=f"{self._base}{_API}/container/full/{place}?format=hdf5")]
        forms = ("parquet", "csv") if family in ("table", "sparse") else ("parquet",)
        kind = family if family == "table" else "node"
        address = f"{self._base}{_API}/{kind}/full/{place}"
        return [Distribution(format=form, url=f"{address}?format={form}") for form in forms]


def _is_container(entry: Any) -> bool:
    """Whether there may be datasets in it, each by itself."""
    attributes = entry.get("attributes") if isinstance(entry, Mapping) else None
    if not isinstance(attributes, Mapping) or not _name(entry):
        return False
    return attributes.get("structure_family") == "container" and _WHOLE not in _specs(attributes)


def _specs(attributes: Mapping[str, Any]) -> list[str]:
    specs = attributes.get("specs")
    named = (
        (each.get("name") for each in specs if isinstance(each, Mapping)) if isinstance(specs, list) else ()
    )
    return [name for name in (clean(each, 80) for each in named) if name]


def _described(structure: Any) -> str:
    """Return what is known of data without a description: the shape of an array, the columns of a table."""
    if not isinstance(structure, Mapping):
        return ""
    shape, columns = structure.get("shape"), structure.get("columns")
    if isinstance(shape, list) and shape:
        return f"An array of {' by '.join(clean(each, 20) for each in shape[:8])}."
    if isinstance(columns, list) and columns:
        return f"A table with {', '.join(clean(each, 60) for each in columns[:30])}."
    return ""


def _name(entry: Any) -> str:
    return clean(entry.get("id"), 200) if isinstance(entry, Mapping) else ""


def _quoted(path: list[str]) -> str:
    return "/".join(quote(part, safe="") for part in path)


def _waiting(cursor: str) -> list[_Place]:
    try:
        return [([str(part) for part in path], int(offset)) for path, offset in json.loads(cursor)]
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{cursor[:40]!r} is no place of a Tiled server to go on at.") from error
