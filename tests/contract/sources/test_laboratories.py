"""Laboratories and their databases: OSTI.gov, NIST, the Protein Data Bank, OPTIMADE. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    as_json,
    first_records,
    make,
)

OSTI = {
    "osti_id": "123",
    "title": "Fusion",
    "doi": "https://doi.org/10.5555/osti",
    "authors": ["Meitner, L. [Lab]"],
}


class TestOsti(RemoteSourceContract):
    kind = "osti"
    good = {"/api/records": [OSTI, {"title": "no identifier"}]}
    names = ["123"]


def test_osti_pages_by_number_and_asks_by_the_day() -> None:
    rows = [{**OSTI, "osti_id": str(n)} for n in range(100)]
    fetcher = Canned(as_json(rows), as_json(rows[:1]), headers={"X-Total-Count": "101"})
    pages = list(make("osti", fetcher).pages(state={"since": "2025-03-04T05:06:07Z"}))
    assert [page.cursor for page in pages] == ["2", None]
    assert [(p["page"], p["entry_date_start"]) for _, p, _ in fetcher.asked] == [
        (1, "03/04/2025"),
        (2, "03/04/2025"),
    ]
    first = pages[0].records[0]
    assert isinstance(first, Dataset)
    assert first.citation == "Meitner, L. Fusion. https://doi.org/10.5555/osti"


ARRAY = {
    "id": "temperature",
    "attributes": {
        "structure_family": "array",
        "specs": [],
        "metadata": {"title": "Temperatures"},
        "structure": {"shape": [3, 4]},
    },
}
RUNS = {"id": "a run", "attributes": {"structure_family": "container", "specs": [], "metadata": {}}}
TABLE = {
    "id": "events",
    "attributes": {
        "structure_family": "table",
        "specs": [{"name": "dataframe"}],
        "metadata": {},
        "structure": {"columns": ["time", "motor"]},
    },
}


class TestTiled(RemoteSourceContract):
    kind = "tiled"
    good = {"/api/api/v1/search/": {"data": [ARRAY, {"id": "no structure"}], "links": {"next": None}}}
    names = ["temperature"]


def test_tiled_goes_into_containers_and_says_how_each_thing_opens() -> None:
    outer = {"data": [ARRAY, RUNS], "links": {"next": None}}
    empty = {"data": [{**RUNS, "id": "inner"}], "links": {"next": None}}
    inner = {"data": [TABLE], "links": {"next": None}}
    fetcher = Canned(as_json(outer), as_json(empty), as_json(inner))
    first, second = make("tiled", fetcher, "https://tiled.example.gov").pages()
    assert [url.partition("/search/")[2] for url, _, _ in fetcher.asked] == ["", "a%20run", "a%20run/inner"]
    array, table = first.records[0], second.records[0]
    assert isinstance(array, Dataset)
    assert isinstance(table, Dataset)
    assert array.description == "An array of 3 by 4."
    assert [d.url for d in array.distributions] == ["https://tiled.example.gov/zarr/v3/temperature"]
    assert (table.title, table.description) == ("a run/inner/events", "A table with time, motor.")
    assert [d.format for d in table.distributions] == ["parquet", "csv"]


def test_tiled_goes_on_at_the_container_where_it_was_broken_off() -> None:
    outer = {"data": [ARRAY, RUNS], "links": {"next": None}}
    first = next(iter(make("tiled", Canned(as_json(outer)), "https://tiled.example.gov").pages()))
    fetcher = Canned(as_json({"data": [TABLE], "links": {"next": None}}))
    (rest,) = make("tiled", fetcher, "https://tiled.example.gov").pages(first.cursor)
    assert [url.partition("/search/")[2] for url, _, _ in fetcher.asked] == ["a%20run"]
    assert rest.cursor is None


NERDM = {
    "_schema": "https://data.nist.gov/od/dm/nerdm-schema/v0.7#",
    "ediid": "ark:/88434/mds2-1",
    "title": "Steam",
    "description": ["Tables", "of steam."],
    "accessLevel": "public",
    "components": [
        {"downloadURL": "https://data.nist.gov/od/ds/steam.csv", "mediaType": "text/csv", "size": 4},
        {"downloadURL": "https://data.nist.gov/od/ds/steam.csv.sha256"},
    ],
}


class TestNerdm(RemoteSourceContract):
    kind = "nerdm"
    unchanged = True
    good = {"/api/records": {"ResultCount": 1, "PageSize": 0, "ResultData": [NERDM, {"title": "x"}]}}
    names = ["ark:/88434/mds2-1"]


def test_nerdm_lists_the_files_without_their_checksum_files() -> None:
    (found,) = first_records("nerdm", as_json({"ResultCount": 1, "ResultData": [NERDM]}))
    assert isinstance(found, Dataset)
    assert found.description == "Tables of steam."
    assert [d.url for d in found.distributions] == ["https://data.nist.gov/od/ds/steam.csv"]


ENTRY = {
    "rcsb_id": "4HHB",
    "struct": {"title": "Deoxyhaemoglobin"},
    "struct_keywords": {"pdbx_keywords": "OXYGEN TRANSPORT"},
    "exptl": [{"method": "X-RAY DIFFRACTION"}],
    "rcsb_accession_info": {"revision_date": "2024-05-22T00:00:00Z"},
    "rcsb_entry_info": {"resolution_combined": [1.74], "molecular_weight": 64.74},
    "rcsb_primary_citation": {"rcsb_authors": ["Fermi, G."], "year": 1984, "title": "The structure"},
}
HITS = {"total_count": 2, "result_set": [{"identifier": "4HHB"}, {"identifier": "1ABC"}]}


class TestRcsb(RemoteSourceContract):
    kind = "rcsb"
    good = {"/api/rcsbsearch/v2/query": HITS, "/api/graphql": {"data": {"entries": [ENTRY, None]}}}
    names = ["4HHB"]


def test_rcsb_asks_the_data_api_beside_the_search_for_what_was_revised() -> None:
    fetcher = Canned(
        as_json({"total_count": 1, "result_set": [{"identifier": "4HHB"}]}),
        as_json({"data": {"entries": [ENTRY]}}),
    )
    source = make("rcsb", fetcher, "https://search.rcsb.org/rcsbsearch/v2/query")
    (page,) = source.pages(state={"since": "2025-01-01T00:00:00Z"})
    (search, asked, _), (data, variables, _) = fetcher.asked
    assert (search, data) == ("https://search.rcsb.org/rcsbsearch/v2/query", "https://data.rcsb.org/graphql")
    assert "2025-01-01T00:00:00Z" in asked["json"]
    assert json.loads(variables["variables"]) == {"ids": ["4HHB"]}
    (found,) = page.records
    assert isinstance(found, Dataset)
    assert (found.doi, found.formats) == ("10.2210/pdb4hhb/pdb", ["bcif", "mmcif"])
    assert found.description == "Structure by x-ray diffraction; resolution 1.74 Å; 64.74 kDa."
    (nothing,) = make("rcsb", Canned(b"", status=204)).pages(state={"since": "2025-01-01T00:00:00Z"})
    assert nothing.unchanged


STRUCTURE = {
    "type": "structures",
    "id": "s1",
    "attributes": {
        "elements": ["O", "Si"],
        "nelements": 2,
        "nsites": 9,
        "elements_ratios": [0.667, 0.333],
        "chemical_formula_reduced": "O2Si",
        "last_modified": "2024-01-01T00:00:00Z",
    },
}


class TestOptimade(RemoteSourceContract):
    kind = "optimade"

    def answers(self) -> Mapping[str, Any]:
        def structures(query: Mapping[str, str]) -> Any:
            if query.get("page_offset") == "1":
                return {"data": [{**STRUCTURE, "id": "s2"}], "links": {"next": None}}
            return {"data": [STRUCTURE], "links": {"next": {"href": "/api/v1/structures?page_offset=1"}}}

        return {"/api/v1/structures": structures}

    names = ["s1", "s2"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"elements": ["Acc"]}, "no chemical symbols"),
        ({"nelements": 3}, "says 3 elements"),
        ({"nsites": 0}, "how many sites"),
        ({"elements_ratios": [1, 1]}, "add up to 1"),
    ],
)
def test_a_structure_that_contradicts_itself_is_refused(changed: dict[str, Any], reason: str) -> None:
    bad = {**STRUCTURE, "attributes": {**STRUCTURE["attributes"], **changed}}  # type: ignore[dict-item]
    (record,) = first_records("optimade", as_json({"data": [bad]}))
    assert isinstance(record, Rejected)
    assert reason in record.reason


def test_optimade_reads_an_index_and_json_lines(tmp_path: Path) -> None:
    links = [
        {"type": "links", "id": "mp", "attributes": {"name": "MP", "base_url": None, "link_type": "external"}}
    ]
    (database,) = first_records("optimade", as_json({"data": links}), "https://example.org/v1/links")
    assert isinstance(database, Dataset)
    assert database.access
    file = tmp_path / "structures.jsonl"
    rows = [
        {"x-optimade": {"meta": {"api_version": "1.1.0"}}},
        {"type": "info", "id": "structures"},
        STRUCTURE,
    ]
    file.write_text("\n".join([*map(json.dumps, rows), "{broken"]))
    good, broken = next(iter(make("optimade", Canned(b""), file.as_uri()).pages())).records
    assert isinstance(good, Dataset)
    assert isinstance(broken, Rejected)


def test_optimade_keeps_the_filter_of_the_site() -> None:
    fetcher = Canned(as_json({"data": [STRUCTURE]}))
    list(
        make("optimade", fetcher, "https://example.org/v1?filter=nelements=2").pages(
            state={"since": "2025-01-01"}
        )
    )
    assert fetcher.asked[0][1]["filter"] == '(nelements=2) AND (last_modified >= "2025-01-01")'
