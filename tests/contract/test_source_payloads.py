"""What real providers sent: every file of a kind that a source reads is read, or refused with a reason.

The payloads lie beside the project and are not part of it; without them these tests skip. Each parser is covered by
payloads written by hand in test_sources.py as well.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources import _datacite
from genesis_workbench.catalog.sources._base import make_dataset, read_record
from genesis_workbench.catalog.sources._items import ItemQuery
from genesis_workbench.catalog.sources.dcat import DcatSource
from genesis_workbench.core.errors import GenesisError, InvalidInput, NotFound
from genesis_workbench.core.http import Answer
from genesis_workbench.testing.sources import Canned, make, section

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real payloads is not here")

Records = list[Dataset | Rejected]
Reader = Callable[[bytes], Records]


class Alone(Canned):
    """Gives one answer to whatever is asked first; what it links to is not part of the payload."""

    def fetch(self, url: str, **options: Any) -> Answer:
        if self.asked and self.asked[0][0] != url:
            raise NotFound(ELSEWHERE)
        return super().fetch(url, **options)


ELSEWHERE = "not part of this payload"


def source(kind: str, url: str = "https://example.gov/api/catalog.xml") -> Reader:
    """Return a reader that gives the content to a source as the answer of its place."""

    def read(body: bytes) -> Records:
        records = next(iter(make(kind, Alone(body), url).pages())).records
        return [r for r in records if not (isinstance(r, Rejected) and r.reason == ELSEWHERE)]

    return read


def dcat(body: bytes) -> Records:
    """Read every page of a data.json."""
    return [record for page in make("dcat", Canned(body)).pages() for record in page.records]


def waf(body: bytes) -> Records:
    """Read a record, or a listing whose files all hold the same record."""
    url = "https://edg.epa.gov/WAFer_harvest/ISO/"
    return next(iter(make("waf", Canned(body, ISO_RECORD), url).pages())).records


def cmr_items(body: bytes) -> Records:
    """Read granules, as a live question does."""
    found = list(make("cmr", Canned(body)).items(ItemQuery(collections=("x",), limit=5000)))
    if not found and json.loads(body)["items"]:
        raise InvalidInput("none of them is a granule")
    return [_as_dataset(item) for item in found]


def stac_items(body: bytes) -> Records:
    """Read a page of a search, as a live question does."""
    return [_as_dataset(item) for item in make("stac", Canned(body)).items(ItemQuery(limit=5000))]


def _as_dataset(item: Any) -> Dataset:
    return make_dataset(section("x"), item.id, identifier=item.id, title=item.title, spatial=item.spatial)


def datacite_alone(body: bytes) -> Records:
    """Read DataCite's metadata as they are inside an answer: a resource in XML, or attributes in JSON."""

    def read(record: Any) -> Dataset:
        return make_dataset(
            section("datacite"),
            record,
            identifier=_datacite.identifier(record),
            title=_datacite.title(record),
            **_datacite.fields(record),
        )

    try:
        record = json.loads(body)
    except ValueError:
        record = _datacite.from_xml(xml.parse(body, "DataCite"))
    return [read_record(record, read, _datacite.identifier)]


ISO_RECORD = b"""<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd"><gmd:fileIdentifier>one</gmd:fileIdentifier>
<gmd:identificationInfo><gmd:MD_DataIdentification><gmd:citation><gmd:CI_Citation><gmd:title>One</gmd:title></gmd:CI_Citation>
</gmd:citation></gmd:MD_DataIdentification></gmd:identificationInfo></gmd:MD_Metadata>"""

READERS: tuple[tuple[str, tuple[Reader, ...]], ...] = (
    ("dcat/*", (dcat,)),
    ("ckan/*", (source("ckan"),)),
    ("datagov_v4/*", (source("datagov"),)),
    ("cmr/*", (source("cmr"), cmr_items, stac_items)),
    ("stac/*", (source("stac"), source("stac_static"), stac_items)),
    ("erddap/*", (source("erddap", "https://example.gov/erddap/info/one/index.json"),)),
    ("thredds_opendap/*", (source("thredds"),)),
    ("optimade/*.jsonl", (source("optimade", "https://example.gov/structures.jsonl"),)),
    ("optimade/*", (source("optimade"),)),
    ("oaipmh/*", (source("oaipmh"),)),
    ("datacite/*", (source("datacite"), datacite_alone, source("croissant"))),
    ("osti/*", (source("osti"),)),
    ("nist_nerdm/*", (source("nerdm"),)),
    ("croissant/*", (source("croissant"),)),
    ("waf_iso/*", (waf, source("csw"))),
)
"""Who reads the files of a pattern; the first pattern that fits counts, and the first reader that can."""

OTHER: dict[str, str] = {
    "dcat/dcat-us-3.0/*.ttl": "the same in Turtle",
    "dcat/dcat-us-3.0/*.jsonld": "examples of single terms in JSON-LD: fragments, not what an agency serves",
    "dcat/schemas/*": "schemas",
    "dcat/project-open-data/*/schema/*": "schemas",
    "dcat/project-open-data/*.csv": "tables of the years before data.json",
    "dcat/project-open-data/*.html": "pages for people",
    "dcat/project-open-data/*.xml": "the XML form of the years before data.json",
    "dcat/datagov-harvester/dcatus3_0_no_identifier.json": "a record without an identifier",
    "datagov_v4/00-*": "the list of organizations",
    "datagov_v4/01-*": "records whose identifiers the documentation left out",
    "datagov_v4/04-*": "the list of places",
    "datagov_v4/05-*": "a place, printed with dots in it",
    "datagov_v4/06-*": "the list of organizations",
    "datagov_v4/08-*": "an error",
    "datagov_v4/09-*": "an error",
    "datagov_v4/10-*": "an error",
    "datagov_v4/tests/*": "a table of the server's own database",
    "cmr/cmr/granules-json-*": "CMR's older JSON; the source asks for UMM-JSON",
    "cmr/earthaccess/*[!m].json": "CMR's older JSON; the source asks for UMM-JSON",
    "cmr/cmr/services-*": "services, not collections",
    "croissant/*/data/*": "the data that the metadata beside them describe",
    "croissant/1.0/huggingface-squad/*": "a draft without a name",
    "datacite/lupo/schema_org.json": "a page of a blog",
    "erddap/erddaps.json": "a list of servers",
    "erddap/*.csv*": "data",
    "erddap/ndbc/*": "data",
    "erddap/status-*": "a page for people",
    "erddap/version-*": "the version of a server",
    "nist_nerdm/global_cart.json": "a shopping cart of files",
    "nist_nerdm/rpa.json": "a request for restricted files",
    "oaipmh/sickle/Identify.xml": "another verb",
    "oaipmh/sickle/List[IMS]*.xml": "another verb",
    "oaipmh/sickle/bad*.xml": "an error",
    "oaipmh/sickle/idDoesNotExist.xml": "an error",
    "optimade/optimade-python-tools/data/*.json": "what the server's database is filled from",
    "optimade/optimade-python-tools/index_links.json": "what the server's database is filled from",
    "optimade/optimade-python-tools/tests/*": "what the server's database is filled from",
    "optimade/*/info.json": "the description of a server",
    "osti/*.xml": "the XML form of the same records; the source asks for JSON",
    "stac/geoparquet/*": "a table of items",
    "stac/pc-sdk/sample-reference-file.json": "references into files",
    "stac/pystac-client/netherlands_aoi.json": "an area",
    "stac/pystac/catalogs/invalid-catalog/catalog.json": "a catalog without a version",
    "stac/services/pc-item-404.json": "an error",
    "stac/services/pc-queryables-*": "what a search can be narrowed by",
    "stac/*/fedeo_clearinghouse.json": "a landing page that says it is a catalog and has an extent",
    "stac/services/spacebel-emc-root.json": "a landing page that says it is a catalog and has an extent",
    "thredds_opendap/igra2-*": "data, and an error",
    "thredds_opendap/ncss-*": "data, and what they can be asked for",
    "thredds_opendap/ndbc-*": "data",
    "thredds_opendap/pydap/*": "data and their structure, for openers",
    "waf_iso/ckanext-geodatagov/sample[34].xml": "what a service can do",
    "thredds_opendap/thredds-latest-500.txt": "an error",
    "thredds_opendap/thredds-rap-catalog.html": "HTML where XML was wanted",
}
"""Files of those kinds that are no lists of datasets: they must be refused, with a reason."""

NO_READER = {
    "arrays": "openers",
    "battery": "openers",
    "experiments": "the experiments",
    "fusion": "openers",
    "materials": "openers",
    "modelzoo": "the model zoo",
    "pdb": "openers; the lists of the Protein Data Bank come from the source rcsb",
    "quantum": "openers",
    "semiconductor": "openers",
    "space": "openers",
}
"""Kinds that no source reads, and whose they are."""


def manifest() -> list[dict[str, str]]:
    path = DATA / "MANIFEST.tsv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def readers(path: str) -> tuple[Reader, ...]:
    return next((found for pattern, found in READERS if fnmatch(path, pattern)), ())


def outcome(path: str) -> tuple[Records, list[str]]:
    """Return what the first reader that can read a file makes of it, or why none of them could."""
    body = (DATA / path).read_bytes()
    body = gzip.decompress(body) if path.endswith(".gz") else body
    reasons: list[str] = []
    for read in readers(path):
        try:
            records = read(body)
        except GenesisError as error:
            reasons.append(error.message)
            continue
        if any(isinstance(record, Dataset) for record in records) or not records:
            return records, []
        reasons += [record.reason for record in records if isinstance(record, Rejected)]
    return [], reasons


LINES = [(line["path"], line["description_and_oddities"]) for line in manifest() if readers(line["path"])]


@pytest.mark.parametrize(("path", "said"), LINES, ids=[path for path, _ in LINES])
def test_a_real_payload_is_read_or_refused_with_a_reason(path: str, said: str) -> None:
    records, reasons = outcome(path)
    rejected = [record for record in records if isinstance(record, Rejected)]
    assert all(reasons)
    if "BROKEN ON PURPOSE" in said:
        assert reasons or rejected, "it was read, although it is broken"
    elif any(fnmatch(path, pattern) for pattern in OTHER):
        assert reasons, "it was read, although it is no list of datasets"
    else:
        assert not reasons
    made = [record for record in records if isinstance(record, Dataset)]
    for record in made:
        assert record.title
        assert all("://" in d.url for d in record.distributions)


def test_every_kind_has_a_reader_or_is_named_as_having_none() -> None:
    kinds = {line["path"].partition("/")[0] for line in manifest()}
    read = {pattern.partition("/")[0] for pattern, _ in READERS}
    assert kinds - read - {"path"} == NO_READER.keys()


@pytest.mark.parametrize("pattern", OTHER)
def test_no_refusal_is_listed_in_vain(pattern: str) -> None:
    assert any(fnmatch(path, pattern) for path, _ in LINES)


COUNTS = {
    "dcat/agency/energy.json": (482, 0),
    "dcat/agency/nasa-large.json.gz": (3600, 0),
    "dcat/agency/opm.json": (134, 0),
    "dcat/datagov-harvester/dcatus3_0_invalid.json": (1, 1),
    "dcat/datagov-harvester/dcatus3_0_nested_catalog.json": (3, 0),
    "dcat/datagov-harvester/dcatus_with_none.json": (402, 0),
    "cmr/cmr/collections-umm-pocloud-20.json": (20, 0),
    "cmr/cmr/granules-umm-grace-163.json": (163, 0),
    "stac/services/planetary-computer-collections.json": (126, 0),
    "stac/services/planetary-computer-search-large.json": (250, 0),
    "thredds_opendap/ramadda-leaf-catalog.xml": (7, 1),
    "oaipmh/sickle/ListRecords.xml": (1, 0),
}
"""How many datasets and how many rejections some of them hold."""


@pytest.mark.parametrize("path", COUNTS)
def test_nothing_of_a_real_payload_is_lost(path: str) -> None:
    records, _ = outcome(path)
    made = sum(isinstance(record, Dataset) for record in records)
    assert (made, len(records) - made) == COUNTS[path]


@pytest.mark.parametrize(
    "path", ["dcat/agency/energy.json", "dcat/datagov-harvester/dcatus3_0_nested_catalog.json"]
)
def test_a_large_file_gives_the_same_records_as_a_small_one(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = outcome(path)
    monkeypatch.setattr(DcatSource, "whole_bytes", 0)
    streamed, _ = outcome(path)
    assert sorted(record.id for record in streamed if isinstance(record, Dataset)) == sorted(
        record.id for record in whole if isinstance(record, Dataset)
    )


def test_what_a_real_record_says_arrives() -> None:
    (mur,), _ = outcome("cmr/cmr/collections-umm-mur.json")
    assert isinstance(mur, Dataset)
    assert mur.id == "peer.c1996881146-pocloud"
    assert mur.doi == "10.5067/GHGMR-4FJ04"
    assert mur.spatial == (-180.0, -90.0, 180.0, 90.0)
    assert mur.temporal is not None
    assert str(mur.temporal[0]).startswith("2002")
    assert "netcdf" in mur.formats
