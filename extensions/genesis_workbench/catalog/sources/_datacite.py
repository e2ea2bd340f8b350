"""Reading of DataCite metadata (schema 3 and 4, JSON and XML), for the sources that carry such records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._values import (
    box,
    box_of_geometry,
    clean,
    doi,
    format_name,
    period,
    plain,
    size,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput

_COVERAGE = ("Coverage", "Collected", "Valid")


def identifier(record: Mapping[str, Any]) -> str:
    """Return the DOI, or else whatever identifier it has."""
    known = record.get("doi") or record.get("identifier")
    if isinstance(known, Mapping):
        known = known.get("identifier")
    listed = [_text(entry, "identifier") for entry in _all(record, "identifiers")]
    found = clean(known, 300) or next((each for each in listed if doi(each)), next(iter(listed), ""))
    return doi(found).lower() or found or clean(record.get("id"), 300)


def title(record: Mapping[str, Any]) -> str:
    """Return the main title."""
    titles = _all(record, "titles")
    main = [entry for entry in titles if not _text(entry, "titleType")]
    return next((_text(entry, "title") for entry in [*main, *titles] if _text(entry, "title")), "")


def fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `make_dataset` wants of the metadata.

    Raises
    ------
    InvalidInput
        If it lacks titles or creators, which DataCite requires.
    """
    missing = [name for name in ("titles", "creators") if not _all(record, name)]
    if missing:
        raise InvalidInput(f"it lacks {' and '.join(missing)}, which DataCite requires")
    name = identifier(record)
    return {
        "agency": publisher(record),
        "description": _description(record),
        "keywords": [_text(entry, "subject") for entry in _all(record, "subjects")],
        "licence": _licence(record),
        "citation": _citation(record, name),
        "doi": name,
        "landing_page": web_address(record.get("url")) or (f"https://doi.org/{name}" if doi(name) else ""),
        "modified": record.get("updated") or _dated(record, "Updated"),
        "spatial": _spatial(record),
        "temporal": _temporal(record),
        "distributions": _distributions(record),
    }


def publisher(record: Mapping[str, Any]) -> str:
    """Return who published it."""
    value = record.get("publisher")
    return clean(value.get("name") if isinstance(value, Mapping) else value, 200)


def from_xml(resource: Any) -> dict[str, Any]:
    """Return the ``resource`` element of a DataCite document in the shape of its JSON."""
    if xml.local(resource) != "resource":
        raise InvalidInput(f"it is <{xml.local(resource)[:60]}>, not a DataCite <resource>")
    return {
        "doi": xml.text(resource, "identifier"),
        "titles": [
            {"title": "".join(e.itertext()).strip(), "titleType": xml.attribute(e, "titleType")}
            for e in xml.inside(resource, "titles", "title")
        ],
        "creators": [
            {"name": xml.text(e, "creatorName")} for e in xml.inside(resource, "creators", "creator")
        ],
        "publisher": xml.text(resource, "publisher"),
        "publicationYear": xml.text(resource, "publicationYear"),
        "subjects": [{"subject": text} for text in xml.texts(resource, "subjects", "subject")],
        "descriptions": [
            {"description": "".join(e.itertext()), "descriptionType": xml.attribute(e, "descriptionType")}
            for e in xml.inside(resource, "descriptions", "description")
        ],
        "rightsList": [
            {"rights": "".join(e.itertext()).strip(), "rightsUri": xml.attribute(e, "rightsURI")}
            for e in xml.inside(resource, "rightsList", "rights")
        ],
        "dates": [
            {"date": "".join(e.itertext()).strip(), "dateType": xml.attribute(e, "dateType")}
            for e in xml.inside(resource, "dates", "date")
        ],
        "formats": xml.texts(resource, "formats", "format"),
        "sizes": xml.texts(resource, "sizes", "size"),
        "geoLocations": [_place(e) for e in xml.inside(resource, "geoLocations", "geoLocation")],
    }


def _place(element: Any) -> dict[str, Any]:
    inner = xml.first(element, "geoLocationBox")
    # Schema 3 has the corners as text: south west north east.
    if inner is not None and not len(inner):
        parts = "".join(inner.itertext()).split()
        names = ("southBoundLatitude", "westBoundLongitude", "northBoundLatitude", "eastBoundLongitude")
        return {"geoLocationBox": dict(zip(names, parts, strict=False))} if len(parts) == 4 else {}
    if inner is not None:
        return {"geoLocationBox": {xml.local(e): "".join(e.itertext()).strip() for e in inner}}
    point = xml.first(element, "geoLocationPoint")
    return (
        {"geoLocationPoint": {xml.local(e): "".join(e.itertext()).strip() for e in point}}
        if point is not None
        else {}
    )


def _all(record: Mapping[str, Any], name: str) -> list[Any]:
    value = record.get(name)
    return value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []


def _text(entry: Any, name: str) -> str:
    return clean(entry.get(name) if isinstance(entry, Mapping) else entry, 4000)


def _description(record: Mapping[str, Any]) -> str:
    entries = _all(record, "descriptions")
    abstracts = [e for e in entries if _text(e, "descriptionType") == "Abstract"]
    for entry in [*abstracts, *entries]:
        found = plain(entry.get("description") if isinstance(entry, Mapping) else entry)
        if found:
            return found
    return ""


def _licence(record: Mapping[str, Any]) -> str:
    entries = _all(record, "rightsList")
    for name in ("rightsUri", "rightsURI", "rightsIdentifier", "rights"):
        found = next((_text(e, name) for e in entries if isinstance(e, Mapping) and _text(e, name)), "")
        if found:
            return found
    return ""


def _citation(record: Mapping[str, Any], name: str) -> str:
    people = [_text(entry, "name") or _text(entry, "creatorName") for entry in _all(record, "creators")]
    known = [person for person in people if person]
    who = "; ".join(known[:8]) + ("; et al." if len(known) > 8 else "")
    year = clean(record.get("publicationYear"), 10)
    parts = [f"{who} ({year})" if year else who, title(record), publisher(record)]
    where = f" https://doi.org/{name}" if doi(name) else ""
    return ". ".join(part.rstrip(".") for part in parts if part) + "." + where


def _dated(record: Mapping[str, Any], kind: str) -> str:
    entries = _all(record, "dates")
    return next((_text(e, "date") for e in entries if _text(e, "dateType") == kind), "")


def _temporal(record: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    for kind in _COVERAGE:
        start, slash, end = _dated(record, kind).partition("/")
        found = period(start, end if slash else start)
        if found:
            return found
    return None


def _spatial(record: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    for entry in _all(record, "geoLocations"):
        place = entry if isinstance(entry, Mapping) else {}
        edges = place.get("geoLocationBox")
        if isinstance(edges, Mapping):
            sides = ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")
            found = box([edges.get(side) for side in sides])
        else:
            point = place.get("geoLocationPoint")
            point = point if isinstance(point, Mapping) else {}
            x, y = point.get("pointLongitude"), point.get("pointLatitude")
            found = box([x, y, x, y]) if x is not None and y is not None else box_of_geometry(place)
        if found:
            return found
    return None


def _distributions(record: Mapping[str, Any]) -> list[Distribution]:
    addresses = record.get("contentUrl")
    listed = addresses if isinstance(addresses, list) else [addresses]
    formats = [clean(each, 80) for each in _all(record, "formats")]
    sizes = _all(record, "sizes")
    bytes_ = size(clean(sizes[0], 40).removesuffix(" bytes")) if len(sizes) == 1 else None
    return [
        Distribution(
            format=format_name(*formats[:1], url), url=url, size_bytes=bytes_ if len(listed) == 1 else None
        )
        for url in map(web_address, listed)
        if url
    ]
