"""THREDDS and Hyrax: catalogs of files that can be read over the network by OPeNDAP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.catalog.sources._base import Page, follow, make_dataset, on_same_host, read_page
from genesis_workbench.catalog.sources._files import Walk
from genesis_workbench.catalog.sources._values import box, clean, format_name, period, web_address
from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_SERVICES = {"opendap": "opendap", "dods": "opendap", "httpserver": "", "http": "", "cdmremote": "cdmremote"}
_BYTES = {"bytes": 1, "kbytes": 1e3, "mbytes": 1e6, "gbytes": 1e9, "tbytes": 1e12}


class ThreddsSource:
    """A catalog and those that it refers to on the same host, one page each.

    `url` of the section is the address of a ``catalog.xml``. Each dataset with an address becomes a record, with
    OPeNDAP first among its distributions. The cursor names the catalogs that are still to be read.
    """

    kind: ClassVar[str] = "thredds"
    protocol: ClassVar[str] = "THREDDS catalogs, OPeNDAP"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield one page for each catalog."""
        return follow(self._page, cursor)

    def _page(self, cursor: str | None) -> Page:
        walk = Walk(self._section.url, cursor)
        page = Page([])
        while walk and not page.records:
            url = on_same_host(self._section, walk.next(), self._section.url)
            try:
                page = self._catalog(url, walk)
            except (InvalidInput, NotFound) as error:  # a broken catalog does not take the others with it
                if url == self._section.url:
                    raise
                page = Page([Rejected(url, error.message)])
        return replace(page, cursor=walk.cursor)

    def _catalog(self, url: str, walk: Walk) -> Page:
        body = self._fetcher.fetch(url, headers={"Accept": "application/xml, text/xml"}).body
        root = xml.parse(body, "a THREDDS catalog")
        if xml.local(root) != "catalog":
            raise InvalidInput(
                f"The source {self._section.name!r} sent <{xml.local(root)[:60]}>, where a THREDDS catalog was expected."
            )
        own = urlsplit(self._section.url)[:2]
        walk.add(address for address in _references(root, url) if urlsplit(address)[:2] == own)
        records = list(_datasets(root, url, dict(_services(root, url)), {}))
        return read_page(records, self._read, _name)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        element, inherited = record["element"], record["inherited"]
        if not record["distributions"]:
            raise InvalidInput("its catalog names no service through which it can be read")
        title = clean(element.get("name"), 300)
        start, end = _period(element, inherited)
        return make_dataset(
            self._section,
            {"#text": record["#text"]},
            identifier=_name(record),
            title=title,
            description=_document(element, inherited, ("summary", "abstract")),
            keywords=_inherited(element, inherited, "keyword"),
            agency=next(iter(_inherited(element, inherited, "publisher", "name")), ""),
            licence=_document(element, inherited, ("rights",)),
            landing_page=record["page"],
            modified=_dated(element, "modified"),
            spatial=_spatial(element, inherited),
            temporal=period(start, end),
            distributions=record["distributions"],
        )


def _references(root: Any, base: str) -> Iterator[str]:
    for element in root.iter():
        if xml.local(element) == "catalogRef":
            address = xml.attribute(element, "href")
            full = urljoin(base, address)
            if address and web_address(full):
                yield full[:-5] + ".xml" if full.endswith("/catalog.html") else full


def _services(root: Any, base: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each service's name with the kinds and addresses that it stands for."""
    for element in root.iter():
        if xml.local(element) != "service":
            continue
        below = [e for e in element.iter() if xml.local(e) == "service"]
        found = [
            (str(e.get("serviceType", "")).lower(), urljoin(base, str(e.get("base", "")))) for e in below
        ]
        yield str(element.get("name", "")), [each for each in found if each[0] in _SERVICES]


def _datasets(
    element: Any, base: str, services: Mapping[str, Any], inherited: Mapping[str, list[Any]], depth: int = 0
) -> Iterator[dict[str, Any]]:
    for child in element:
        if xml.local(child) != "dataset" or depth > 50:
            continue
        passed = {**inherited}
        for metadata in xml.inside(child, "metadata"):
            if metadata.get("inherited") == "true":
                passed["metadata"] = [metadata, *inherited.get("metadata", [])]
        passed["service"] = _service_names(child) or inherited.get("service", [])
        path = child.get("urlPath", "")
        accesses = list(xml.inside(child, "access"))
        if path or accesses:
            shown = base.removesuffix(".xml") + ".html" if base.endswith("catalog.xml") else base
            found = _distributions(child, path, accesses, services, passed["service"])
            yield {
                **xml.record(child),
                "inherited": passed.get("metadata", []),
                "distributions": found,
                "page": shown,
            }
        yield from _datasets(child, base, services, passed, depth + 1)


def _service_names(element: Any) -> list[str]:
    return xml.texts(element, "serviceName") + xml.texts(element, "metadata", "serviceName")


def _distributions(
    element: Any, path: str, accesses: list[Any], services: Mapping[str, Any], names: list[str]
) -> list[Distribution]:
    wanted = [(str(e.get("serviceName", "")), str(e.get("urlPath", ""))) for e in accesses]
    wanted += [(name, path) for name in names[:1] if path]
    found: dict[str, Distribution] = {}
    for name, where in wanted:
        for kind, base in services.get(name, []):
            url = web_address(_join(base, where))
            if url:
                form = _SERVICES[kind] or format_name(xml.text(element, "dataFormat"), url)
                found.setdefault(url, Distribution(format=form, url=url, size_bytes=_size(element)))
    return sorted(found.values(), key=lambda each: each.format != "opendap")


def _join(base: str, path: str) -> str:
    # The service's base is put before the path as it is; Hyrax has no slash at the end of the one, but before the other.
    return (
        base + path
        if base.endswith("/") != path.startswith("/")
        else base.rstrip("/") + "/" + path.lstrip("/")
    )


def _name(record: Mapping[str, Any]) -> str:
    element = record["element"]
    first = next(iter(xml.inside(element, "access")), None)
    return clean(
        element.get("urlPath") or element.get("ID") or (first.get("urlPath") if first is not None else ""),
        400,
    )


def _inherited(element: Any, inherited: list[Any], *path: str) -> list[str]:
    own = xml.texts(element, *path) + xml.texts(element, "metadata", *path)
    return own or [text for metadata in inherited for text in xml.texts(metadata, *path)]


def _document(element: Any, inherited: list[Any], kinds: tuple[str, ...]) -> str:
    for place in (element, *xml.inside(element, "metadata"), *inherited):
        for each in xml.inside(place, "documentation"):
            if str(each.get("type", "")).lower() in kinds:
                return " ".join("".join(each.itertext()).split())
    return ""


def _dated(element: Any, kind: str) -> str:
    return next(
        ("".join(e.itertext()).strip() for e in xml.inside(element, "date") if e.get("type") == kind), ""
    )


def _period(element: Any, inherited: list[Any]) -> tuple[str, str]:
    for place in (element, *xml.inside(element, "metadata"), *inherited):
        covered = xml.first(place, "timeCoverage")
        if covered is not None:
            return _moment(xml.text(covered, "start")), _moment(xml.text(covered, "end"))
    return "", ""


def _moment(text: str) -> str:
    return text.removesuffix(" UTC").replace(" ", "T", 1) + "Z" if text.endswith(" UTC") else text


def _spatial(element: Any, inherited: list[Any]) -> tuple[float, float, float, float] | None:
    for place in (element, *xml.inside(element, "metadata"), *inherited):
        covered = xml.first(place, "geospatialCoverage")
        if covered is None:
            continue
        try:
            west, width = (float(xml.text(covered, "eastwest", n)) for n in ("start", "size"))
            south, height = (float(xml.text(covered, "northsouth", n)) for n in ("start", "size"))
        except ValueError:
            return None
        east = west + width
        if width < 359 and (east > 360 or west < 0) and east > 180:  # over the meridian where counting begins
            west, east = (west - 360 if west > 180 else west), east - 360
        return box([west, south, east, south + height])
    return None


def _size(element: Any) -> int | None:
    entry = xml.first(element, "dataSize")
    if entry is None:
        return None
    try:
        number = float("".join(entry.itertext())) * _BYTES[str(entry.get("units", "bytes")).lower()]
    except (ValueError, KeyError):
        return None
    return int(number) if 0 <= number < 2**60 else None
