"""Reading of text that nobody here wrote."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.catalog.citation import cite
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources import _base, _dcat, _values
from genesis_workbench.catalog.sources._base import make_dataset, read_records
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.site import SourceSection

SECTION = SourceSection(name="lab", kind="dcat", title="Lab", agency="Lab", url="https://example.gov/")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = [
    "identifier",
    "title",
    "description",
    "keyword",
    "license",
    "landingPage",
    "modified",
    "accessLevel",
    "rights",
    "spatial",
    "temporal",
    "distribution",
]


@given(st.dictionaries(st.sampled_from(NAMES), values))
def test_any_record_is_a_dataset_or_a_rejection(record: dict[str, Any]) -> None:
    def make(native: Any) -> Dataset:
        return make_dataset(
            SECTION,
            native,
            identifier=_dcat.identifier(native),
            title=native.get("title"),
            **_dcat.fields(native),
        )

    (made,) = read_records([record], make, _dcat.identifier)
    assert isinstance(made, Dataset | Rejected)
    if isinstance(made, Dataset):
        assert Dataset.model_validate_json(made.model_dump_json()) == made


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 50))
def test_clean_text_is_short_and_visible(text: str, limit: int) -> None:
    cleaned = _values.clean(text, limit)
    assert len(cleaned) <= limit
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in cleaned)
    cleaned.encode()


@given(st.text(min_size=1))
def test_every_identifier_makes_a_slug(native: str) -> None:
    check_slug(_base.dataset_id("lab", native), "dataset")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_identifiers_make_different_slugs(one: str, other: str) -> None:
    if one.lower() != other.lower():
        assert _base.dataset_id("lab", one) != _base.dataset_id("lab", other)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://example.gov/a?b=c", "https://example.gov/a?b=c"),
        ("javascript:alert(1)", ""),
        ("package://pvlib/data/Altitude.h5", ""),
        ("file:///etc/passwd", ""),
        ("https://user:word@example.gov/", ""),
        ("https://", ""),
        ("http://[::1", ""),
        (7, ""),
    ],
)
def test_addresses(value: object, expected: str) -> None:
    assert _values.web_address(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("-106.0,35.0,-105.0,36.0", (-106.0, 35.0, -105.0, 36.0)),
        ([170, -10, -170, 10], (170.0, -10.0, -170.0, 10.0)),
        ([0, 0, 0, 10, 10, 10], (0.0, 0.0, 10.0, 10.0)),
        ("United States", None),
        ([0, 10, 10, 0], None),
        ([0, 0, "NaN", 0], None),
        ([1000, 0, 1, 1], None),
        ([0, -90, 360, 90], (-180.0, -90.0, 180.0, 90.0)),  # counted east from Greenwich
        ([200, 20, 240, 50], (-160.0, 20.0, -120.0, 50.0)),
        ([180, -90, 360, 90], (180.0, -90.0, 0.0, 90.0)),
        ([170, -10, 190, 10], (170.0, -10.0, -170.0, 10.0)),
        ([-180.0000001, -90.00001, 180, 90], (-180.0, -90.0, 180.0, 90.0)),  # rounded
        ([0, 0, 361, 1], None),
        (None, None),
        ('{"type": "Polygon", "coordinates": [[[0, 1], [2, 1], [2, 3], [0, 1]]]}', (0.0, 1.0, 2.0, 3.0)),
        (
            '{"type": "envelope", "coordinates": [[170.0, 10.0], [-170.0, -10.0]]}',
            (170.0, -10.0, -170.0, 10.0),
        ),
        ({"bbox": [1, 2, 3, 4]}, (1.0, 2.0, 3.0, 4.0)),
        ("{broken", None),
    ],
)
def test_boxes(value: object, expected: object) -> None:
    assert _dcat.spatial(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2012", "2012"),
        ("2012-05", "2012-05"),
        ("2012-05-06T07:08:09Z", "2012-05-06T07:08:09Z"),
        ("2012-05-06 07:08:09", "2012-05-06T07:08:09"),
        ("R/P1D", None),
        ("undefined", None),
        (None, None),
        (2012, "2012"),
    ],
)
def test_dates(value: object, expected: str | None) -> None:
    assert _values.date(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("text/csv",), "csv"),
        (("image/tiff; application=geotiff; profile=cloud-optimized",), "geotiff"),
        (("", None, "https://example.gov/a.nc?x=1"), "netcdf"),
        (("application/octet-stream", "Shapefile"), "shapefile"),
        ((None, "https://example.gov/page"), ""),
    ],
)
def test_formats(values: tuple[object, ...], expected: str) -> None:
    assert _values.format_name(*values) == expected


def test_restricted_access_is_said() -> None:
    fields = _dcat.fields({"accessLevel": "restricted public", "rights": "On request"})
    assert fields["access"] == "restricted public: On request"
    assert _dcat.fields({"accessLevel": "public"})["access"] == ""


def test_a_citation_is_made_where_none_is_given() -> None:
    dataset = Dataset(id="a", title="T", source="s", agency="A", modified="2020-01-01", doi="10.1234/x")
    assert cite(dataset) == "A (2020). T. https://doi.org/10.1234/x"
