"""NASA's Common Metadata Repository: collections of Earth observations, as UMM-JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    dataset_id,
    follow,
    listed,
    make_dataset,
    read_page,
)
from genesis_workbench.catalog.sources._items import BBOX, COLLECTIONS, TIME, Item, ItemQuery
from genesis_workbench.catalog.sources._values import box, clean, format_name, period, web_address
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_CURSOR = "CMR-Search-After"
_CONCEPT = re.compile(r"C\d+-\w+")
_GRANULE_DATA = ("GET DATA", "GET DATA VIA DIRECT ACCESS", "USE SERVICE API")
_SIDES = ("West", "South", "East", "North")


class CmrSource:
    """A collection search; the next page is named by a header.

    `url` of the section is the address of the search (``https://cmr.earthdata.nasa.gov/search``); a query in it
    (``?provider=ORNL_CLOUD``) narrows what is taken.
    """

    kind: ClassVar[str] = "cmr"
    protocol: ClassVar[str] = "NASA CMR search, UMM-C"
    incremental: ClassVar[bool] = True
    item_terms: ClassVar[frozenset[str]] = frozenset({COLLECTIONS, BBOX, TIME})

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, query = section.url.partition("?")
        base = base.rstrip("/").removesuffix("/collections.umm_json")
        self._url = f"{base}/collections.umm_json" + (f"?{query}" if query else "")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor` on; with a state, of what was revised or deleted since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        answer = self._fetcher.fetch(
            self._url,
            params={"page_size": min(200, self._section.max_records), "updated_since": since},
            headers={_CURSOR: cursor} if cursor else {},
        )
        content = answer.json()
        found = listed(self._section, content, "items")
        following = answer.headers.get(_CURSOR) if found else None
        state = {"since": changed_since(answer)}
        removed = self._removed(since) if since and cursor is None else ()
        return read_page(found, self._read, _identifier, following, removed=removed, state=state)

    def _removed(self, since: str) -> tuple[str, ...]:
        """Return the ids of collections that were deleted since then; CMR answers this search in XML only."""
        url = self._url.partition("?")[0].replace("/collections.umm_json", "/deleted-collections")
        try:
            answer = self._fetcher.fetch(url, params={"revision_date": since, "page_size": 2000})
        except NotFound:  # other servers of the same protocol lack it
            return ()
        root = xml.parse(answer.body, "CMR's list of deleted collections")
        return tuple(
            dataset_id(self._section.name, each) for each in xml.texts(root, "references", "reference", "id")
        )

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        meta, umm = record.get("meta"), record.get("umm")
        if not isinstance(meta, Mapping) or not isinstance(umm, Mapping):
            raise InvalidInput("it lacks 'meta' or 'umm'")
        if meta.get("concept-type", "collection") != "collection":
            raise InvalidInput(f"it is a {clean(meta['concept-type'], 40)}, not a collection")
        identifier = _identifier(record)
        return make_dataset(
            self._section,
            record,
            identifier=identifier,
            title=umm.get("EntryTitle"),
            description=umm.get("Abstract"),
            keywords=_keywords(umm),
            licence=_licence(umm.get("UseConstraints")),
            citation=_citation(umm),
            landing_page=_landing_page(umm),
            doi=_inside(umm.get("DOI"), "DOI"),
            modified=_inside(meta, "revision-date"),
            spatial=_spatial(umm.get("SpatialExtent")),
            temporal=_temporal(umm.get("TemporalExtents")),
            distributions=_distributions(umm),
        )

    def items(self, query: ItemQuery) -> Iterator[Item]:
        """Yield granules of the collections named, by their short name or concept id (CMR asks for one at least)."""
        if not query.collections:
            raise InvalidInput("CMR searches granules of named collections only: name one.")
        ids = [name for name in query.collections if _CONCEPT.fullmatch(name)]
        params: dict[str, Any] = {
            "page_size": min(query.limit, 2000),
            "collection_concept_id[]": ids or None,
            "short_name[]": [name for name in query.collections if name not in ids] or None,
            "bounding_box": ",".join(map(str, query.bbox)) if query.bbox else None,
            "temporal": f"{query.start},{query.end}" if query.start or query.end else None,
        }
        url = self._url.replace("/collections.umm_json", "/granules.umm_json")
        content = self._fetcher.get_json(url, params=params)
        for record in listed(self._section, content, "items")[: query.limit]:
            found = _granule(record, self._section.name)
            if found is not None:
                yield found


def _granule(record: Any, source: str) -> Item | None:
    meta, umm = _inside(record, "meta"), _inside(record, "umm")
    name = clean(_inside(meta, "concept-id"), 200)
    if not name or not isinstance(umm, Mapping) or meta.get("concept-type", "granule") != "granule":
        return None
    dates = _inside(umm, "TemporalExtent", "RangeDateTime")
    single = _inside(umm, "TemporalExtent", "SingleDateTime")
    links = [link for link in _list(umm.get("RelatedUrls")) if link.get("Type") in _GRANULE_DATA]
    return Item(
        id=name,
        title=clean(umm.get("GranuleUR"), 300) or name,
        source=source,
        collection=clean(
            _inside(umm, "CollectionReference", "ShortName") or _inside(meta, "collection-concept-id"), 200
        ),
        spatial=_spatial(umm.get("SpatialExtent")),
        temporal=period(
            _inside(dates, "BeginningDateTime") or single, _inside(dates, "EndingDateTime") or single
        ),
        properties={"day_night": clean(_inside(umm, "DataGranule", "DayNightFlag"), 20)},
        distributions=[
            Distribution(
                format=format_name(link.get("MimeType"), url),
                url=url,
                title=clean(link.get("Description"), 200),
            )
            for link in links
            if (url := web_address(link.get("URL")))
        ],
    )


def _identifier(record: Mapping[str, Any]) -> str:
    return clean(_inside(record.get("meta"), "concept-id"), 200)


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _keywords(umm: Mapping[str, Any]) -> list[str]:
    found = [clean(umm.get("ShortName"), 80)]
    for entry in _list(umm.get("ScienceKeywords")):
        found += [clean(entry.get(k), 80).lower() for k in ("Topic", "Term", "VariableLevel1")]
    found += [clean(entry.get("ShortName"), 80) for entry in _list(umm.get("Platforms"))]
    return found


def _licence(value: Any) -> str:
    linkage = _inside(value, "LicenseURL", "Linkage")
    return clean(linkage or _inside(value, "LicenseText") or _inside(value, "Description"), 300)


def _citation(umm: Mapping[str, Any]) -> str:
    cited = next(iter(_list(umm.get("CollectionCitations"))), None)
    if cited is None:
        return ""
    year = clean(cited.get("ReleaseDate"), 40)[:4]
    parts = [clean(cited.get("Creator"), 200), f"({year})" if year else ""]
    name = " ".join(part for part in parts if part)
    version = clean(cited.get("Version") or umm.get("Version"), 40)
    title = clean(cited.get("Title") or umm.get("EntryTitle"), 300)
    rest = [title, f"Version {version}" if version else "", clean(cited.get("Publisher"), 100)]
    return ". ".join(part for part in [name, *rest] if part) + "."


def _landing_page(umm: Mapping[str, Any]) -> str:
    for entry in _list(umm.get("RelatedUrls")):
        if entry.get("Type") == "DATA SET LANDING PAGE" and web_address(entry.get("URL")):
            return web_address(entry["URL"])
    known = clean(_inside(umm.get("DOI"), "DOI"), 200)
    return f"https://doi.org/{known}" if known.startswith("10.") else ""


def _spatial(value: Any) -> tuple[float, float, float, float] | None:
    geometry = _inside(value, "HorizontalSpatialDomain", "Geometry")
    for rectangle in _list(_inside(geometry, "BoundingRectangles")):
        found = box([rectangle.get(f"{side}BoundingCoordinate") for side in _SIDES])
        if found:
            return found
    return None


def _temporal(value: Any) -> tuple[str | None, str | None] | None:
    for extent in _list(value):
        for dates in _list(extent.get("RangeDateTimes")):
            return period(dates.get("BeginningDateTime"), dates.get("EndingDateTime"))
    return None


def _distributions(umm: Mapping[str, Any]) -> list[Distribution]:
    known = _inside(umm.get("ArchiveAndDistributionInformation"), "FileDistributionInformation")
    formats = [format_name(entry.get("Format")) for entry in _list(known)]
    found = []
    for entry in _list(umm.get("RelatedUrls")):
        url = web_address(entry.get("URL"))
        if url and entry.get("Type") == "GET DATA":
            named = format_name(_inside(entry, "GetData", "Format")) or next(iter(formats), "")
            found.append(Distribution(format=named, url=url, title=clean(entry.get("Description"), 200)))
    return found
