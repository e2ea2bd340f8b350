"""Whatever a place answers, a source gives datasets, rejections with a reason, or one of our errors: never another."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources._items import ItemQuery
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.testing.sources import Canned, make

WORDS = st.sampled_from(
    [
        "id",
        "identifier",
        "title",
        "name",
        "description",
        "@id",
        "@type",
        "type",
        "links",
        "rel",
        "href",
        "next",
        "data",
        "attributes",
        "metadata",
        "files",
        "meta",
        "umm",
        "extent",
        "spatial",
        "temporal",
        "bbox",
        "interval",
        "geometry",
        "coordinates",
        "properties",
        "assets",
        "distribution",
        "downloadURL",
        "elements",
        "nsites",
        "nelements",
        "titles",
        "creators",
        "publisher",
        "dates",
        "geoLocations",
        "rightsList",
        "components",
        "keyword",
        "keywords",
        "license",
        "contactPoint",
        "extras",
        "resources",
        "tags",
        "ediid",
        "_schema",
        "rcsb_id",
        "struct",
        "osti_id",
        "authors",
        "contentUrl",
        "SpatialExtent",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS
    | st.sampled_from(
        ["Feature", "Collection", "structures", "links", "Dataset", "sc:Dataset", "https://x.gov/a"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)
ENVELOPES: dict[str, Callable[[list[Any]], Any]] = {
    "ckan": lambda records: {"success": True, "result": {"count": 1, "results": records}},
    "cmr": lambda records: {"items": records},
    "croissant": lambda records: {"@graph": records},
    "datacite": lambda records: {"data": records},
    "datagov": lambda records: {"results": records},
    "dcat": lambda records: {"dataset": records},
    "erddap": lambda records: {
        "table": {"columnNames": ["datasetID", "title", "minLongitude"], "rows": records}
    },
    "inveniordm": lambda records: {"hits": {"hits": records}},
    "nerdm": lambda records: {"ResultData": records},
    "optimade": lambda records: {"data": records},
    "osti": lambda records: records,
    "stac": lambda records: {"collections": records},
    "stac_static": lambda records: {"type": "FeatureCollection", "features": records},
}
some = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def unless_refused(read: Callable[[], Any]) -> Any:
    """Return what `read` gives; None where it is refused by one of our errors. Any other error fails the test."""
    with contextlib.suppress(GenesisError):
        return read()
    return None


@pytest.mark.parametrize("kind", ENVELOPES)
@some
@given(records=st.lists(VALUES, max_size=4))
def test_any_records_become_datasets_or_rejections(kind: str, records: list[Any]) -> None:
    body = json.dumps(ENVELOPES[kind](records)).encode()
    page = unless_refused(lambda: next(iter(make(kind, Canned(body)).pages())))
    if page is None:
        return
    for record in page.records:
        assert isinstance(record, Dataset) or (isinstance(record, Rejected) and record.reason)
    assert page.natives.keys() == {record.id for record in page.records if isinstance(record, Dataset)}


@pytest.mark.parametrize("kind", ["stac", "optimade", "cmr", "erddap"])
@some
@given(records=st.lists(VALUES, max_size=4))
def test_any_items_become_items_or_errors(kind: str, records: list[Any]) -> None:
    envelopes = {
        "stac": {"features": records},
        "erddap": {"table": {"columnNames": ["Dataset ID", "tabledap"], "rows": records}},
    }
    body = json.dumps(envelopes.get(kind) or ENVELOPES[kind](records)).encode()
    found = unless_refused(
        lambda: list(make(kind, Canned(body)).items(ItemQuery(collections=("c",) if kind == "cmr" else ())))
    )
    assert all(item.id and item.title and item.source == "peer" for item in found or ())


@pytest.mark.parametrize("kind", [*ENVELOPES, "oaipmh", "thredds", "s3", "intake", "rcsb", "waf", "csw"])
@some
@given(body=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_read_or_refused(kind: str, body: bytes) -> None:
    pages = unless_refused(lambda: list(islice(make(kind, Canned(body)).pages(), 4)))
    for page in pages or ():
        assert all(isinstance(record, Dataset | Rejected) for record in page.records)


TAGS = st.sampled_from(
    [
        "catalog",
        "dataset",
        "service",
        "access",
        "catalogRef",
        "metadata",
        "documentation",
        "ListRecords",
        "record",
        "header",
        "identifier",
        "resource",
        "titles",
        "title",
        "creators",
        "dc",
        "OAI-PMH",
        "ListBucketResult",
        "Contents",
        "Key",
        "Size",
        "error",
        "geospatialCoverage",
        "eastwest",
        "start",
    ]
)


def trees() -> st.SearchStrategy[str]:
    attributes = st.dictionaries(
        st.sampled_from(["name", "urlPath", "base", "serviceType", "code"]), st.just("x"), max_size=3
    )
    leaves = st.sampled_from(["", "x", "1", "&amp;"])
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda tag, given, parts: (
                f"<{tag}{''.join(f' {k}={v!r}' for k, v in given.items())}>{''.join(parts)}</{tag}>"
            ),
            TAGS,
            attributes,
            st.lists(inner, max_size=4),
        ),
        max_leaves=20,
    )


@pytest.mark.parametrize(
    ("kind", "root"),
    [
        ("oaipmh", "OAI-PMH"),
        ("thredds", "catalog"),
        ("s3", "ListBucketResult"),
        ("waf", "MD_Metadata"),
        ("csw", "SearchResults"),
    ],
)
@some
@given(inner=trees())
def test_any_xml_is_read_or_refused(kind: str, root: str, inner: str) -> None:
    body = f"<{root}>{inner}</{root}>".encode()
    pages = unless_refused(lambda: list(islice(make(kind, Canned(body)).pages(), 4)))
    for page in pages or ():
        assert all(isinstance(record, Dataset | Rejected) for record in page.records)
