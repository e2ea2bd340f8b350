"""data.gov: what most agencies of the United States publish, through its catalog API (version 4)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _dcat
from genesis_workbench.catalog.sources._base import Page, follow, listed, make_dataset, read_page
from genesis_workbench.catalog.sources._values import box_of_geometry, clean
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

KEY_VARIABLE = "DATAGOV_API_KEY"
_DATASET_PAGE = "https://catalog.data.gov/dataset/"


class DatagovSource:
    """The search of data.gov, page after page by its cursor ``after``.

    `url` of the section is the base of the API; a query in it (``?q=climate&org_slug=nasa``) narrows what is taken.
    The API wants a key of api.data.gov, taken from the environment; without one its public trial key is used, which
    allows 50 requests a day.
    """

    kind: ClassVar[str] = "datagov"
    protocol: ClassVar[str] = "data.gov catalog API v4"
    incremental: ClassVar[bool] = False  # the API has no search by time of change

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, query = section.url.partition("?")
        self._url = base.rstrip("/").removesuffix("/search") + "/search" + (f"?{query}" if query else "")
        self._section = section
        self._fetcher = fetcher
        self._headers = {"X-Api-Key": os.environ.get(KEY_VARIABLE) or "DEMO_KEY"}

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor` on, whatever the state."""
        return follow(self._page, cursor)

    def _page(self, cursor: str | None) -> Page:
        answer = self._fetcher.get_json(
            self._url,
            params={"per_page": min(100, self._section.max_records), "after": cursor},
            headers=self._headers,
        )
        found = listed(self._section, answer, "results")
        after = answer.get("after")
        following = after if isinstance(after, str) and after and found else None
        return read_page(found, self._read, lambda r: r.get("identifier") or r.get("slug"), following)

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        inner = record.get("dcat")
        native = inner if isinstance(inner, Mapping) else {}
        fields = _dcat.fields({**record, **native})
        organization = record.get("organization")
        slug = clean(record.get("slug"), 300)
        return make_dataset(
            self._section,
            record,
            identifier=record.get("identifier") or slug,
            title=native.get("title") or record.get("title"),
            **{
                **fields,
                "agency": organization.get("name")
                if isinstance(organization, Mapping)
                else record.get("publisher"),
                "landing_page": fields["landing_page"] or (_DATASET_PAGE + slug if slug else ""),
                "spatial": fields["spatial"] or box_of_geometry(record.get("spatial_shape")),
            },
        )
