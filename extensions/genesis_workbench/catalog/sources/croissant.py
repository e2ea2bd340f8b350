"""Croissant and schema.org: descriptions of data for machine learning, as JSON-LD."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urljoin

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    fetch_changed,
    make_dataset,
    read_page,
    validators,
)
from genesis_workbench.catalog.sources._values import (
    box,
    clean,
    doi,
    format_name,
    kind_of,
    period,
    plain,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_SIZE = re.compile(r"([\d.]{1,20})\s*([KMGT]?B?)", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class CroissantSource:
    """A Croissant file (0.8 to 1.1), or a file with several schema.org datasets.

    `url` of the section is the address of the JSON-LD: one dataset, a list of them, or an object that has them under
    ``@graph`` or ``dataset``.
    """

    kind: ClassVar[str] = "croissant"
    protocol: ClassVar[str] = "Croissant, schema.org Dataset (JSON-LD)"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the one page there is, if it has changed."""
        accepted = {"Accept": "application/ld+json, application/json"}
        answer, same = fetch_changed(self._fetcher, self._section.url, state, headers=accepted)
        if same:
            yield Page([], state=state or {}, unchanged=True)
            return
        yield read_page(_records(answer.json(), self._section), self._read, _name, state=validators(answer))

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        kinds = record.get("@type") or record.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not any(clean(kind, 100).rpartition(":")[2].rpartition("/")[2] == "Dataset" for kind in kinds):
            raise InvalidInput(f"its type is {clean(kinds, 60) or 'not given'}, not Dataset")
        get = _reader(record)
        coverage = clean(get("temporalCoverage"), 100)
        start, slash, end = coverage.partition("/")
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=get("name") or get("headline"),
            description=plain(_text(get("description"))),
            keywords=_keywords(get("keywords")),
            agency=_person(
                get("publisher") or get("includedInDataCatalog") or get("creator") or get("author")
            ),
            licence=_text(get("license")),
            citation=_citation(get("citeAs") or get("citation")),
            landing_page=_text(get("url")) or _text(record.get("@id")),
            doi=_doi(record),
            modified=_text(get("dateModified") or get("datePublished")),
            spatial=_spatial(get("spatialCoverage")),
            temporal=period(start, end if slash else start) if coverage else None,
            distributions=_distributions(get("distribution"), self._section.url),
        )


def _records(content: Any, section: SourceSection) -> list[Any]:
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        return content
    if isinstance(content, Mapping):
        for name in ("@graph", "dataset"):
            if isinstance(content.get(name), list) and "distribution" not in content:
                return list(content[name])
        if content.get("@type") or content.get("type"):
            return [content]
    raise InvalidInput(
        f"The source {section.name!r} sent {kind_of(content)} without '@type': this is no JSON-LD of a dataset."
    )


def _reader(record: Mapping[str, Any]) -> Any:
    def get(name: str) -> Any:
        return next((record[key] for key in (name, f"sc:{name}", f"schema:{name}") if record.get(key)), None)

    return get


def _name(record: Mapping[str, Any]) -> str:
    get = _reader(record)
    return doi(_doi(record)).lower() or _text(
        record.get("@id") or get("identifier") or get("url") or get("name")
    )


def _doi(record: Mapping[str, Any]) -> str:
    get = _reader(record)
    listed = get("identifier")
    candidates = [
        record.get("@id"),
        *(listed if isinstance(listed, list) else [listed]),
        get("url"),
        get("sameAs"),
    ]
    return next((found for found in (doi(_text(each)) for each in candidates) if found), "")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return next((found for found in map(_text, value) if found), "")
    if isinstance(value, Mapping):
        value = (
            value.get("@value")
            or value.get("@id")
            or value.get("url")
            or value.get("value")
            or value.get("name")
        )
    return clean(value, 4000)


def _person(value: Any) -> str:
    if isinstance(value, list):
        value = next((each for each in value if isinstance(each, Mapping)), None)
    return clean(value.get("name") or value.get("sc:name") if isinstance(value, Mapping) else value, 200)


def _keywords(value: Any) -> Any:
    if isinstance(value, list):
        return [_person(each) if isinstance(each, Mapping) else each for each in value]
    return value


def _citation(value: Any) -> str:
    text = _text(value)
    # Some give BibTeX: it says less to a person than the title and the page.
    return "" if text.startswith("@") else text


def _spatial(value: Any) -> tuple[float, float, float, float] | None:
    for place in value if isinstance(value, list) else [value]:
        geo = place.get("geo") if isinstance(place, Mapping) else None
        for shape in geo if isinstance(geo, list) else [geo]:
            if not isinstance(shape, Mapping):
                continue
            corners = clean(shape.get("box"), 200).replace(",", " ").split()
            if len(corners) == 4:  # schema.org: south west north east
                return box([corners[1], corners[0], corners[3], corners[2]])
            if shape.get("latitude") is not None:
                return box([shape.get("longitude"), shape["latitude"]] * 2)
    return None


def _distributions(value: Any, base: str) -> list[Distribution]:
    found = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, Mapping):
            continue
        get = _reader(entry)
        address = _text(get("contentUrl") or get("url"))
        url = web_address(urljoin(base, address)) if address else ""
        if not url:  # a set of files inside another one has no address of its own
            continue
        sha256 = clean(get("sha256"), 100)
        found.append(
            Distribution(
                format=format_name(get("encodingFormat"), get("fileFormat"), url),
                url=url,
                title=clean(get("name"), 200),
                size_bytes=_bytes(get("contentSize")),
                checksum=f"sha256:{sha256.lower()}" if _SHA256.fullmatch(sha256) else None,
            )
        )
    return found


def _bytes(value: Any) -> int | None:
    match = _SIZE.fullmatch(clean(value, 60))
    if not match:
        return None
    try:
        number = float(match.group(1)) * _UNITS[(match.group(2).upper().removesuffix("B") + "B")]
    except (ValueError, KeyError):
        return None
    return int(number) if number < 2**60 else None
