"""The Protein Data Bank: structures of proteins and nucleic acids."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import (
    Page,
    changed_since,
    follow,
    listed,
    make_dataset,
    read_page,
)
from genesis_workbench.catalog.sources._values import clean
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.site import SourceSection

_DATA_HOST = {"search.rcsb.org": "data.rcsb.org"}
_FIELDS = """
query ($ids: [String!]!) { entries(entry_ids: $ids) { rcsb_id struct { title } struct_keywords { pdbx_keywords text }
exptl { method } rcsb_accession_info { initial_release_date revision_date }
rcsb_entry_info { resolution_combined molecular_weight polymer_entity_count_protein }
rcsb_primary_citation { title rcsb_authors rcsb_journal_abbrev year pdbx_database_id_DOI } } }
""".strip()
_EVERYTHING = {
    "type": "terminal",
    "service": "text",
    "parameters": {
        "attribute": "rcsb_entry_info.structure_determination_methodology",
        "operator": "exact_match",
        "value": "experimental",
    },
}


class RcsbSource:
    """The search for identifiers, then their metadata, a page at a time.

    `url` of the section is the search's address (``https://search.rcsb.org``); the metadata come from the data API
    beside it (``https://data.rcsb.org``), or from ``/graphql`` on the same host where it is another.
    """

    kind: ClassVar[str] = "rcsb"
    protocol: ClassVar[str] = "RCSB PDB search and data API"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        parts = urlsplit(section.url)
        base = parts.path.rstrip("/").removesuffix("/rcsbsearch/v2/query")
        host = _DATA_HOST.get(parts.netloc, parts.netloc)
        self._search = urlunsplit((parts.scheme, parts.netloc, base + "/rcsbsearch/v2/query", "", ""))
        self._graphql = urlunsplit((parts.scheme, host, base + "/graphql", "", ""))
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a position, on; with a state, of entries revised since then."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        start = int(cursor) if cursor and cursor.isdigit() else 0
        rows = min(100, self._section.max_records)
        answer = self._fetcher.fetch(self._search, params={"json": json.dumps(_query(start, rows, since))})
        state = {"since": changed_since(answer)}
        if answer.status == 204:  # its way to say that nothing was found
            return Page([], state=state, unchanged=since is not None and start == 0)
        content = answer.json()
        found = listed(self._section, content, "result_set")
        ids = [clean(hit.get("identifier"), 20) for hit in found if isinstance(hit, Mapping)]
        total = content.get("total_count")
        more = isinstance(total, int) and start + rows < total and found
        entries = listed(self._section, self._metadata(ids).json(), "data", "entries") if ids else []
        return read_page(entries, self._read, _name, str(start + rows) if more else None, state=state)

    def _metadata(self, ids: list[str]) -> Answer:
        params = {"query": _FIELDS, "variables": json.dumps({"ids": ids})}
        return self._fetcher.fetch(self._graphql, params=params, headers={"Accept": "application/json"})

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        name = _name(record)
        if not name.isalnum():
            raise InvalidInput(f"its identifier {name[:40]!r} is none of the Protein Data Bank")
        words = _inside(record, "struct_keywords")
        methods = [clean(each.get("method"), 80).lower() for each in _list(record.get("exptl"))]
        return make_dataset(
            self._section,
            record,
            identifier=name,
            title=_inside(record, "struct", "title"),
            description=_described(record, methods),
            keywords=[
                *_split(_inside(words, "text")),
                *_split(_inside(words, "pdbx_keywords")),
                *methods,
                name,
            ],
            licence="CC0-1.0",  # of every entry: https://www.rcsb.org/pages/usage-policy
            citation=_citation(record),
            landing_page=f"https://www.rcsb.org/structure/{name}",
            doi=f"10.2210/pdb{name.lower()}/pdb",
            modified=_inside(record, "rcsb_accession_info", "revision_date"),
            distributions=[
                Distribution(
                    format="mmcif", url=f"https://files.rcsb.org/download/{name}.cif", title="PDBx/mmCIF"
                ),
                Distribution(format="bcif", url=f"https://models.rcsb.org/{name}.bcif", title="BinaryCIF"),
            ],
        )


def _query(start: int, rows: int, since: str | None) -> dict[str, Any]:
    query: dict[str, Any] = _EVERYTHING
    if since:
        changed = {
            "type": "terminal",
            "service": "text",
            "parameters": {
                "attribute": "rcsb_accession_info.revision_date",
                "operator": "greater_or_equal",
                "value": since,
            },
        }
        query = {"type": "group", "logical_operator": "and", "nodes": [_EVERYTHING, changed]}
    order = [{"sort_by": "rcsb_accession_info.initial_release_date", "direction": "asc"}]
    options = {"paginate": {"start": start, "rows": rows}, "sort": order}
    return {"query": query, "return_type": "entry", "request_options": options}


def _name(record: Mapping[str, Any]) -> str:
    return clean(record.get("rcsb_id"), 40).upper()


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _split(value: Any) -> list[str]:
    return [word.strip().lower() for word in clean(value, 400).split(",") if word.strip()]


def _described(record: Mapping[str, Any], methods: list[str]) -> str:
    parts = [f"Structure by {', '.join(methods)}" if methods else "Structure"]
    resolution = _inside(record, "rcsb_entry_info", "resolution_combined")
    if isinstance(resolution, list) and resolution:
        parts.append(f"resolution {clean(resolution[0], 20)} Å")
    weight = clean(_inside(record, "rcsb_entry_info", "molecular_weight"), 20)
    return "; ".join([*parts, f"{weight} kDa"] if weight else parts) + "."


def _citation(record: Mapping[str, Any]) -> str:
    cited = _inside(record, "rcsb_primary_citation")
    people = _inside(cited, "rcsb_authors")
    names = "; ".join(clean(each, 80) for each in people[:8]) if isinstance(people, list) else ""
    year = clean(_inside(cited, "year"), 10)
    head = f"{names} ({year})" if names and year else names
    known = clean(_inside(cited, "pdbx_database_id_DOI"), 100)
    parts = [head, clean(_inside(cited, "title"), 300), clean(_inside(cited, "rcsb_journal_abbrev"), 80)]
    text = ". ".join(part for part in parts if part)
    return f"{text}." + (f" https://doi.org/{known}" if known else "") if text else ""
