"""NASA's Common Metadata Repository: collections of Earth observations, as UMM-JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    box,
    changed_since,
    clean,
    follow,
    format_name,
    kind_of,
    make_dataset,
    period,
    read_page,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_CURSOR = "CMR-Search-After"
_SIDES = ("West", "South", "East", "North")


class CmrSource:
    """A collection search; the next page is named by a header.

    `url` of the section is the address of the search (``https://cmr.earthdata.nasa.gov/search``); a query in it
    (``?provider=ORNL_CLOUD``) narrows what is taken.
    """

    kind: ClassVar[str] = "cmr"
    protocol: ClassVar[str] = "NASA CMR search, UMM-C"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, query = section.url.partition("?")
        base = base.rstrip("/").removesuffix("/collections.umm_json")
        self._url = f"{base}/collections.umm_json" + (f"?{query}" if query else "")
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor` on; with a state, of what was revised since then (``updated_since``)."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        answer = self._fetcher.fetch(
            self._url,
            params={"page_size": min(200, self._section.max_records), "updated_since": since},
            headers={_CURSOR: cursor} if cursor else {},
        )
        content = answer.json()
        if not isinstance(content, Mapping) or not isinstance(content.get("items"), list):
            errors = content.get("errors") if isinstance(content, Mapping) else None
            said = clean(errors, 200)
            raise InvalidInput(
                f"The source {self._section.name!r} sent {kind_of(content)} without a list 'items'"
                + (f": {said}" if said else ".")
            )
        following = answer.headers.get(_CURSOR) if content["items"] else None
        state = {"since": changed_since(answer)}
        return read_page(content["items"], self._read, _identifier, following, state=state)

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
