"""Reading of geographic metadata in XML: ISO 19115 and 19115-2 (as ISO 19139), and FGDC CSDGM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.catalog.sources._values import (
    MAX_KEYWORDS,
    box,
    clean,
    date,
    doi,
    format_name,
    period,
    plain,
    web_address,
)
from genesis_workbench.core.errors import InvalidInput

ISO = ("MD_Metadata", "MI_Metadata")
_SIDES = ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")
_FGDC_SIDES = ("westbc", "southbc", "eastbc", "northbc")


def identifier(root: Any, otherwise: str = "") -> str:
    """Return a record's own identifier; `otherwise` where it has none, as FGDC's have."""
    return clean(xml.text(root, "fileIdentifier"), 400) or otherwise


def is_record(root: Any) -> bool:
    """Whether an element is a record of either standard."""
    name = xml.local(root)
    return name in ISO or (name == "metadata" and xml.first(root, "idinfo") is not None)


def fields(root: Any) -> dict[str, Any]:
    """Return what `make_dataset` wants of a record, its title among it.

    Raises
    ------
    InvalidInput
        If it is neither ISO nor FGDC, or lacks what its standard requires.
    """
    if not is_record(root):
        raise InvalidInput(f"it is <{xml.local(root)[:60]}>: ISO 19139 and FGDC are read")
    return _iso(root) if xml.local(root) in ISO else _fgdc(root)


def _iso(root: Any) -> dict[str, Any]:
    described = next(iter(next(xml.inside(root, "identificationInfo"), ())), None)
    if described is None:
        raise InvalidInput("it has no 'identificationInfo', which ISO 19115 requires")
    contacts = [*_below(root, "CI_ResponsibleParty")]
    if any(_is_nobody(each) for each in contacts):
        raise InvalidInput(
            "it has a responsible party with neither a name nor a role, which ISO 19115 requires"
        )
    cited = xml.first(described, "citation", "CI_Citation")
    links = [_link(each) for each in _below(root, "CI_OnlineResource")]
    found = [each for each in links if each is not None]
    codes = [text for each in _below(cited, "MD_Identifier") for text in xml.texts(each, "code")]
    return {
        "title": xml.text(cited, "title"),
        "description": plain(xml.text(described, "abstract")),
        "keywords": _keywords(described),
        "agency": next((each for party in contacts for each in xml.texts(party, "organisationName")), ""),
        "licence": _licence(described),
        "doi": next((known for known in map(doi, [*codes, *(d.url for d in found)]) if known), ""),
        "landing_page": next((d.url for d in found if d.format == "html"), ""),
        "modified": xml.text(root, "dateStamp"),
        "spatial": next(
            filter(None, (_box(each, _SIDES) for each in _below(described, "EX_GeographicBoundingBox"))), None
        ),
        "temporal": next(filter(None, map(_period, _below(described, "EX_TemporalExtent"))), None),
        "distributions": found,
    }


def _fgdc(root: Any) -> dict[str, Any]:
    info = xml.first(root, "idinfo")
    cited = xml.first(info, "citation", "citeinfo")
    addresses = [
        *xml.texts(cited, "onlink"),
        *(text for each in _below(root, "networka") for text in xml.texts(each, "networkr")),
    ]
    links = {url: format_name(url) for url in map(web_address, addresses) if url}
    start = xml.text(info, "timeperd", "timeinfo", "rngdates", "begdate")
    end = xml.text(info, "timeperd", "timeinfo", "rngdates", "enddate")
    single = xml.text(info, "timeperd", "timeinfo", "sngdate", "caldate")
    access = xml.text(info, "accconst")
    return {
        "title": xml.text(cited, "title"),
        "description": plain(xml.text(info, "descript", "abstract")),
        "keywords": xml.texts(info, "keywords", "theme", "themekey")[:MAX_KEYWORDS],
        "agency": xml.text(cited, "pubinfo", "publish") or xml.text(cited, "origin"),
        "licence": xml.text(info, "useconst"),
        "access": "" if access.lower().rstrip(".") in ("", "none", "unrestricted") else access,
        "landing_page": next(iter(links), ""),
        "modified": _day(xml.text(root, "metainfo", "metd")),
        "spatial": _box(xml.first(info, "spdom", "bounding"), _FGDC_SIDES),
        "temporal": period(_day(start or single), _day(end or single)),
        "distributions": [Distribution(format=kind, url=url) for url, kind in links.items()],
    }


def _below(element: Any, name: str) -> Iterator[Any]:
    """Yield all elements of a name, at any depth."""
    if element is not None:
        yield from (each for each in element.iter() if xml.local(each) == name)


def _is_nobody(party: Any) -> bool:
    names = ("individualName", "organisationName", "positionName")
    named = any(xml.text(party, name) for name in names)
    return not named and len(party) > 0 and xml.first(party, "role", "CI_RoleCode") is None


def _keywords(described: Any) -> list[str]:
    found: list[str] = []
    for group in _below(described, "MD_Keywords"):
        for text in xml.texts(group, "keyword"):
            found.append(text.rpartition(">")[2].strip())  # "EARTH SCIENCE > OCEANS > SALINITY"
            if len(found) >= 4 * MAX_KEYWORDS:  # a record has been seen with thousands
                return found
    return found


def _licence(described: Any) -> str:
    for kind in ("MD_LegalConstraints", "MD_Constraints"):
        for each in _below(described, kind):
            for name in ("useLimitation", "otherConstraints"):
                found = xml.text(each, name)
                if found:
                    return found
    return ""


def _link(element: Any) -> Distribution | None:
    url = web_address(xml.text(element, "linkage"))
    if not url:
        return None
    title = clean(xml.text(element, "name") or xml.text(element, "description"), 200)
    return Distribution(format=format_name(url) or "html", url=url, title=title)


def _box(element: Any, sides: tuple[str, ...]) -> tuple[float, float, float, float] | None:
    return box([xml.text(element, side) for side in sides]) if element is not None else None


def _period(element: Any) -> tuple[str | None, str | None] | None:
    def first(*names: str) -> str:
        return next(
            (t for n in names for e in _below(element, n) if (t := "".join(e.itertext()).strip())), ""
        )

    start = first("beginPosition", "begin", "timePosition")
    end = first("endPosition", "end", "timePosition")
    return period(start, end)


def _day(text: str) -> str:
    """Turn FGDC's 20131231 into 2013-12-31."""
    plain_ = text.strip()
    if len(plain_) in (6, 8) and plain_.isdigit():
        plain_ = "-".join(part for part in (plain_[:4], plain_[4:6], plain_[6:]) if part)
    return plain_ if date(plain_) else ""
