"""Repositories: DataCite, InvenioRDM, OAI-PMH, Croissant. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    as_json,
    first_records,
    make,
)

ATTRIBUTES = {
    "doi": "10.5555/Abc",
    "titles": [{"title": "Sub", "titleType": "Subtitle"}, {"title": "Main"}],
    "creators": [{"name": "Curie, M."}],
    "publisher": {"name": "Lab"},
    "publicationYear": 1903,
    "descriptions": [{"description": "<p>Rays</p>", "descriptionType": "Abstract"}],
    "rightsList": [{"rightsUri": "https://creativecommons.org/licenses/by/4.0/"}],
    "dates": [{"date": "1898/1902", "dateType": "Collected"}],
    "geoLocations": [
        {
            "geoLocationBox": {
                "westBoundLongitude": "2",
                "eastBoundLongitude": 3,
                "southBoundLatitude": 48,
                "northBoundLatitude": 49,
            }
        }
    ],
    "contentUrl": ["https://example.org/rays.csv"],
    "updated": "2024-01-01T00:00:00Z",
}


class TestDatacite(RemoteSourceContract):
    kind = "datacite"

    def answers(self) -> Mapping[str, Any]:
        def dois(query: Mapping[str, str]) -> Any:
            second = query.get("page[cursor]") == "2"
            doi = "10.5555/def" if second else "10.5555/Abc"
            found = [{"id": doi, "attributes": {**ATTRIBUTES, "doi": doi}}]
            return {"data": found, "links": {} if second else {"next": "/api/dois?page%5Bcursor%5D=2"}}

        return {"/api/dois": dois}

    names = ["10.5555/abc", "10.5555/def"]


def test_datacite_reads_what_a_record_says_and_asks_for_what_was_updated() -> None:
    fetcher = Canned(as_json({"data": [{"id": "x", "attributes": ATTRIBUTES}]}))
    (page,) = make("datacite", fetcher, "https://example.org?client-id=lab").pages(
        state={"since": "2025-01-01"}
    )
    assert fetcher.asked[0][0] == "https://example.org/dois?client-id=lab"
    assert fetcher.asked[0][1]["query"] == "(updated:[2025-01-01 TO *])"
    (found,) = page.records
    assert isinstance(found, Dataset)
    assert (found.title, found.agency, found.description) == ("Main", "Lab", "Rays")
    assert found.citation == "Curie, M. (1903). Main. Lab. https://doi.org/10.5555/abc"
    assert (found.spatial, found.temporal) == ((2.0, 48.0, 3.0, 49.0), ("1898", "1902"))
    assert (found.licence, found.formats) == ("https://creativecommons.org/licenses/by/4.0/", ["csv"])
    for missing in ("titles", "creators"):
        lacking = {k: v for k, v in ATTRIBUTES.items() if k != missing}
        (refused,) = first_records("datacite", as_json({"data": [{"id": "x", "attributes": lacking}]}))
        assert isinstance(refused, Rejected)
        assert missing in refused.reason


DEPOSIT = {
    "id": "ab1",
    "links": {"self_html": "https://example.org/records/ab1", "self": "https://example.org/api/records/ab1"},
    "pids": {"doi": {"identifier": "10.5555/zen"}},
    "updated": "2024-01-01T00:00:00Z",
    "access": {"status": "embargoed"},
    "metadata": {
        "title": "Spectra",
        "description": "<b>Of</b> stars",
        "publisher": "Zen",
        "publication_date": "2023-04",
        "creators": [{"person_or_org": {"name": "Payne, C."}}],
        "rights": [{"id": "cc-by-4.0"}],
        "subjects": [{"subject": "stars"}],
    },
    "files": {"entries": {"a.csv": {"key": "a.csv", "size": 5, "mimetype": "text/csv"}}},
}


class TestInvenioRdm(RemoteSourceContract):
    kind = "inveniordm"
    path = ""
    names = ["ab1", "ab2"]

    def answers(self) -> Mapping[str, Any]:
        def records(query: Mapping[str, str]) -> Any:
            second = query.get("page") == "2"
            entry = {**DEPOSIT, "id": "ab2"} if second else DEPOSIT
            links = {} if second else {"next": "/api/records?page=2"}
            return {"hits": {"hits": [entry], "total": 2}, "links": links}

        return {"/api/records": records}


def test_inveniordm_reads_both_shapes() -> None:
    (new,) = first_records("inveniordm", as_json({"hits": {"hits": [DEPOSIT]}}))
    assert isinstance(new, Dataset)
    assert (new.doi, new.licence, new.access, new.keywords) == (
        "10.5555/zen",
        "cc-by-4.0",
        "embargoed",
        ["stars"],
    )
    assert new.citation == "Payne, C. (2023). Spectra. Zen."
    assert [d.url for d in new.distributions] == ["https://example.org/api/records/ab1/files/a.csv/content"]
    old = {
        "id": 7,
        "doi": "10.5555/old",
        "links": {"html": "https://example.org/record/7"},
        "metadata": {
            "title": "Old",
            "access_right": "open",
            "license": {"id": "cc-zero"},
            "creators": [{"name": "X"}],
        },
        "files": [{"key": "o.nc", "size": 9, "links": {"self": "https://example.org/files/o.nc"}}],
    }
    (read,) = first_records("inveniordm", as_json({"hits": {"hits": [old]}}))
    assert isinstance(read, Dataset)
    assert (read.id, read.doi, read.access, read.formats) == ("peer.7", "10.5555/old", "", ["netcdf"])


OAI_HEAD = '<?xml version="1.0" encoding="UTF-8"?><OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
DC = (
    '<metadata><oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Tides</dc:title><dc:creator>Laplace</dc:creator>'
    "<dc:date>1776</dc:date><dc:identifier>https://doi.org/10.5555/tides</dc:identifier>"
    "<dc:coverage>northlimit=2; southlimit=1; westlimit=3; eastlimit=4</dc:coverage></oai_dc:dc></metadata>"
)
DATACITE_XML = (
    '<resource xmlns="http://datacite.org/schema/kernel-4"><identifier identifierType="DOI">10.5555/x</identifier>'
    "<creators><creator><creatorName>Noether</creatorName></creator></creators><titles><title>Rings</title></titles>"
    "<publisher>G</publisher><publicationYear>1921</publicationYear></resource>"
)


def oai_record(name: str, content: str = DC, status: str = "") -> str:
    header = (
        f"<header{status}><identifier>{name}</identifier><datestamp>2024-01-01T00:00:00Z</datestamp></header>"
    )
    return f"<record>{header}{content}</record>"


def oai(*records: str, token: str = "", moment: str = "2025-01-01T00:00:00Z") -> bytes:
    after = f"<resumptionToken>{token}</resumptionToken>" if token else ""
    return (
        f"{OAI_HEAD}<responseDate>{moment}</responseDate><ListRecords>{''.join(records)}{after}</ListRecords></OAI-PMH>"
    ).encode()


class TestOaiPmh(RemoteSourceContract):
    kind = "oaipmh"
    path = "/oai?set=data"

    def answers(self) -> Mapping[str, Any]:
        def pages(query: Mapping[str, str]) -> bytes:
            if query.get("resumptionToken"):
                return oai(oai_record("two", f"<metadata>{DATACITE_XML}</metadata>"))
            return oai(oai_record("one"), oai_record("odd", "<metadata><marc/></metadata>"), token="t")

        return {"/oai": pages}

    names = ["one", "two"]


def test_oaipmh_names_what_was_removed_and_asks_from_where_it_was() -> None:
    fetcher = Canned(oai(oai_record("gone", "", ' status="deleted"'), oai_record("one")))
    (page,) = make("oaipmh", fetcher, "https://example.org/oai?metadataPrefix=oai_dc").pages()
    assert page.removed == ("peer.gone",)
    assert page.state == {"since": "2025-01-01T00:00:00Z"}
    (tides,) = page.records
    assert isinstance(tides, Dataset)
    assert (tides.doi, tides.spatial) == ("10.5555/tides", (3.0, 1.0, 4.0, 2.0))
    assert "<dc:title>Tides" in page.natives[tides.id]
    list(make("oaipmh", fetcher).pages(state=page.state))
    assert fetcher.asked[-1][1]["from"] == "2025-01-01T00:00:00Z"


def test_oaipmh_takes_its_errors_for_what_they_are() -> None:
    def error(code: str) -> bytes:
        date = "<responseDate>2025-01-01T00:00:00Z</responseDate>"
        return f'{OAI_HEAD}{date}<error code="{code}">said</error></OAI-PMH>'.encode()

    (page,) = make("oaipmh", Canned(error("noRecordsMatch"))).pages(state={"since": "2024-01-01T00:00:00Z"})
    assert page.unchanged
    with pytest.raises(InvalidInput, match=r"badArgument.*said"):
        list(make("oaipmh", Canned(error("badArgument"))).pages())


def test_wrapped_datacite_and_odd_encodings_are_read() -> None:
    wrapped = f"<metadata><oai_datacite><payload>{DATACITE_XML}</payload></oai_datacite></metadata>"
    body = oai(oai_record("a", wrapped)).decode().replace("UTF-8", "UTF-16").replace("Noether", "Möbius")
    (found,) = first_records("oaipmh", body.encode("utf-16"))
    assert isinstance(found, Dataset)
    assert found.citation.startswith("Möbius (1921). Rings. G.")


def test_a_search_with_more_hits_than_are_given_does_not_look_complete() -> None:
    pages = make("inveniordm", Canned(as_json({"hits": {"hits": [DEPOSIT], "total": 10_001}}))).pages()
    assert next(pages).cursor is not None
    with pytest.raises(InvalidInput, match="narrow its query"):
        next(pages)


CROISSANT = {
    "@context": {"@vocab": "https://schema.org/"},
    "@type": "sc:Dataset",
    "conformsTo": "http://mlcommons.org/croissant/1.0",
    "name": "flowers",
    "description": "Petals",
    "license": ["https://example.org/licence"],
    "url": "https://example.org/flowers",
    "citeAs": "Fisher (1936).",
    "distribution": [
        {
            "@type": "cr:FileObject",
            "name": "f.csv",
            "contentUrl": "data/f.csv",
            "encodingFormat": "text/csv",
            "contentSize": "1.5 KB",
            "sha256": "0" * 64,
        },
        {"@type": "cr:FileSet", "includes": "*.jpg"},
    ],
}


class TestCroissant(RemoteSourceContract):
    kind = "croissant"
    path = "/a/metadata.json"
    unchanged = True
    good = {"/a/metadata.json": {"dataset": [CROISSANT, {"@type": "Person", "name": "not data"}]}}

    names = ["https://example.org/flowers"]


def test_croissant_says_where_the_files_are() -> None:
    (found,) = first_records("croissant", as_json(CROISSANT), "https://example.org/a/metadata.json")
    assert isinstance(found, Dataset)
    (file,) = found.distributions
    assert (file.url, file.format, file.size_bytes) == ("https://example.org/a/data/f.csv", "csv", 1500)
    assert file.checksum == "sha256:" + "0" * 64
    assert (found.citation, found.licence) == ("Fisher (1936).", "https://example.org/licence")
