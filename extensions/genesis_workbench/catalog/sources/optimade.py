"""OPTIMADE: databases of crystals and molecules, computed and measured, behind one interface."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    follow,
    listed,
    make_dataset,
    on_same_host,
    read_page,
    read_record,
)
from genesis_workbench.catalog.sources._files import Documents, lines, local_path
from genesis_workbench.catalog.sources._items import ELEMENTS, Item, ItemQuery, short
from genesis_workbench.catalog.sources._values import clean, web_address
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_SYMBOL = re.compile(r"[A-Z][a-z]?|X|vacancy")
_VERSIONED = re.compile(r"/v\d+(\.\d+)*$")
_ASKED = "elements,nelements,nsites,chemical_formula_reduced,chemical_formula_descriptive,chemical_formula_anonymous,elements_ratios,dimension_types,last_modified"


class OptimadeSource:
    """The structures of a database; of an index, the databases that it names.

    `url` of the section is the base address, with or without ``/v1``; a query in it (``?filter=nelements=2``) narrows
    what is taken. The address of a JSON Lines file (OPTIMADE 1.2), also ``file://``, is read too; so is the address of
    a ``links`` answer.
    """

    kind: ClassVar[str] = "optimade"
    protocol: ClassVar[str] = "OPTIMADE 1.x"
    incremental: ClassVar[bool] = True
    item_terms: ClassVar[frozenset[str]] = frozenset({ELEMENTS})

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, query = section.url.partition("?")
        base = base.rstrip("/").removesuffix("/structures")
        single = base.endswith((".jsonl", ".json", "/links")) or local_path(section) is not None
        self._base = base if _VERSIONED.search(base) or single else f"{base}/v1"
        self._first = self._base if single else f"{self._base}/structures" + (f"?{query}" if query else "")
        self._filter = parse_qs(query).get("filter", [""])[0]
        self._single = single
        self._section = section
        self._fetcher = fetcher
        self._documents = Documents(section, fetcher)

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, an address, on; with a state, of what was modified since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        if self._single:
            return self._file()
        params: dict[str, Any] = {}
        if cursor is None:
            changed = f'last_modified >= "{since}"' if since else ""
            chosen = " AND ".join(f"({part})" for part in (self._filter, changed) if part)
            size = min(100, self._section.max_records)
            params = {"page_limit": size, "response_fields": _ASKED, "filter": chosen or None}
        url = on_same_host(self._section, cursor or self._first, self._first)
        answer = self._fetcher.fetch(url, params=params, headers={"Accept": "application/vnd.api+json"})
        content = answer.json()
        found = listed(self._section, content, "data")
        after = _next(content) if found else None
        return read_page(found, self._read, _name, after, state={"since": changed_since(answer)})

    def _file(self) -> Page:
        answer = self._documents.read(self._first)
        if answer.body.lstrip()[:200].startswith(b'{"x-optimade"'):
            entries = [e for e in lines(answer) if not _is_header(e)]
            return read_page(entries, self._read, _name)
        return read_page(listed(self._section, answer.json(), "data"), self._read, _name)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        given = record.get("attributes")
        if not isinstance(given, Mapping):
            raise InvalidInput("it has no 'attributes': it is no entry as OPTIMADE answers it")
        kind = clean(record.get("type"), 40)
        if kind == "links":
            return self._database(record, given)
        if kind != "structures":
            raise InvalidInput(f"it is of the type {kind or 'unknown'}, not a structure")
        elements = _elements(given)
        formula = _formula(given)
        address = f"{self._base}/structures/{_name(record)}"
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=formula,
            description=f"Structure of {formula} with {given['nsites']} sites in the cell.",
            keywords=[
                formula,
                *elements,
                clean(given.get("chemical_formula_anonymous"), 80),
                "crystal structure",
            ],
            modified=given.get("last_modified"),
            landing_page=address,
            distributions=[Distribution(format="optimade", url=address)] if web_address(address) else [],
        )

    def _database(self, record: Mapping[str, Any], given: Mapping[str, Any]) -> Dataset:
        base = given.get("base_url")
        address = web_address(base.get("href") if isinstance(base, Mapping) else base)
        page = given.get("homepage")
        return make_dataset(
            self._section,
            record,
            identifier=_name(record),
            title=given.get("name"),
            description=given.get("description"),
            keywords=["optimade", "materials", clean(given.get("link_type"), 40)],
            agency=given.get("name"),
            landing_page=page.get("href") if isinstance(page, Mapping) else page,
            access="" if address else "it names no address of its own yet",
            distributions=[Distribution(format="optimade", url=address)] if address else [],
        )

    def items(self, query: ItemQuery) -> Iterator[Item]:
        """Yield structures that have all of the elements, page after page, until there are enough."""
        symbols = [each for each in query.elements if _SYMBOL.fullmatch(each)]
        if len(symbols) != len(query.elements):
            raise InvalidInput(
                f"{', '.join(query.elements)[:80]!r} has something that is no chemical symbol."
            )
        chosen = "elements HAS ALL " + ",".join(f'"{each}"' for each in symbols) if symbols else ""
        both = " AND ".join(f"({part})" for part in (self._filter, chosen) if part)
        params: dict[str, Any] = {
            "filter": both or None,
            "page_limit": min(query.limit, 100),
            "response_fields": _ASKED,
        }
        url: str | None = f"{self._base}/structures"
        left, seen = query.limit, set()
        while url is not None and url not in seen and left > 0:
            seen.add(url)
            content = self._fetcher.get_json(on_same_host(self._section, url, self._first), params=params)
            found = listed(self._section, content, "data")
            for record in found:
                made = read_record(record, self._read, _name)
                if isinstance(made, Dataset):
                    yield _item(record, made, self._section.name)
                    left -= 1
                if not left:
                    return
            url, params = (_next(content) if found and left > 0 else None), {}


def _item(record: Mapping[str, Any], made: Dataset, source: str) -> Item:
    return Item(
        id=_name(record),
        title=made.title,
        source=source,
        landing_page=made.landing_page,
        properties=short(dict(record["attributes"])),
        distributions=made.distributions,
    )


def _name(record: Mapping[str, Any]) -> str:
    return clean(record.get("id"), 300)


def _is_header(entry: Any) -> bool:
    # The header, and the descriptions of properties that come before the entries.
    return isinstance(entry, Mapping) and (
        "x-optimade" in entry or entry.get("type") == "info" or "data" in entry
    )


def _next(content: Mapping[str, Any]) -> str | None:
    links = content.get("links")
    value = links.get("next") if isinstance(links, Mapping) else None
    return clean(value.get("href") if isinstance(value, Mapping) else value, 2000) or None


def _formula(given: Mapping[str, Any]) -> str:
    names = ("chemical_formula_descriptive", "chemical_formula_reduced", "chemical_formula_hill")
    known = next((clean(given[name], 120) for name in names if clean(given.get(name), 120)), "")
    return known or "-".join(map(str, given["elements"]))


def _elements(given: Mapping[str, Any]) -> list[str]:
    """Return the elements of a structure; InvalidInput where it contradicts itself."""
    elements = given.get("elements")
    if not isinstance(elements, list) or not all(
        isinstance(e, str) and _SYMBOL.fullmatch(e) for e in elements
    ):
        raise InvalidInput(f"its elements {clean(str(elements), 80)} are no chemical symbols")
    if given.get("nelements", len(elements)) != len(elements):
        raise InvalidInput(f"it says {given['nelements']} elements and names {len(elements)}")
    if not isinstance(given.get("nsites"), int) or given["nsites"] < 1:
        raise InvalidInput("it does not say how many sites it has")
    ratios = given.get("elements_ratios")
    if isinstance(ratios, list) and ratios and not math.isclose(sum(map(float, ratios)), 1, abs_tol=0.01):
        raise InvalidInput("its ratios of elements do not add up to 1")
    return elements
