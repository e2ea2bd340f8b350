"""Files: S3 buckets, Intake catalogs, folders, and data that come in packages. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources.starter import RECORDS
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    SourceContract,
    first_records,
    make,
)


class TestS3(RemoteSourceContract):
    kind = "s3"
    path = "/bucket?prefix=a/"

    def answers(self) -> Mapping[str, Any]:
        def listing(query: Mapping[str, str]) -> bytes:
            second = "continuation-token" in query
            keys = ["a/z.zarr/0.0", "a/z.zarr/.zgroup"] if second else ["a/x 1.nc", "a/readme.md", "a/y.csv"]
            rows = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>3</Size></Contents>"
                for key in keys
            )
            more = "" if second else "<NextContinuationToken>t</NextContinuationToken>"
            return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}{more}</ListBucketResult>'.encode()

        return {"/bucket/": listing}

    names = ["a/x 1.nc", "a/y.csv", "a/z.zarr/"]


class TestIntake(RemoteSourceContract):
    kind = "intake"
    path = "/catalog.yml"
    unchanged = True
    good = {
        "/catalog.yml": b"""
metadata: {version: 1}
sources:
  rain:
    driver: netcdf
    description: Rain
    args: {urlpath: "{{ CATALOG_DIR }}/rain.nc"}
  bad: 7
""",
    }
    names = ["rain"]


def test_intake_is_read_as_plain_data() -> None:
    text = b"sources: {x: !!python/object/apply:os.system ['true']}"
    with pytest.raises(
        InvalidInput, match=r"The catalog of .* cannot be read: could not determine a constructor"
    ):
        first_records("intake", text)
    with pytest.raises(InvalidInput, match="aliases"):
        first_records("intake", b"a: &a [x]\nsources: {one: *a}")
    (rain,) = first_records("intake", TestIntake.good["/catalog.yml"], "https://example.org/d/catalog.yml")[
        :1
    ]
    assert isinstance(rain, Dataset)
    assert [(d.format, d.url) for d in rain.distributions] == [("netcdf", "https://example.org/d/rain.nc")]


class _LocalContract(SourceContract):
    """A source without a peer."""

    @pytest.fixture
    def peer(self) -> None:  # type: ignore[override]
        return None


class TestFolder(_LocalContract):
    kind = "folder"
    unchanged = True
    names = ["run_20240102/a.csv", "run_20240102/z.zarr"]

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path / "data"
        (self.root / "run_20240102" / "z.zarr").mkdir(parents=True)
        (self.root / "run_20240102" / "z.zarr" / ".zgroup").write_text("{}")
        (self.root / "run_20240102" / "a.csv").write_text("x\n1\n")
        (self.root / "notes.txt").write_text("not data")
        (self.root / ".hidden.csv").write_text("x")
        (self.root / "out.csv").symlink_to(Path(__file__))

    def url(self, peer: Any) -> str:
        return self.root.as_uri()

    def test_links_that_lead_out_are_refused(self) -> None:
        (page,) = make("folder", Canned(b""), self.root.as_uri()).pages()
        assert [r.reason for r in page.records if isinstance(r, Rejected)] == [
            "it is a link that leads out of the folder"
        ]
        found = next(r for r in page.records if isinstance(r, Dataset))
        assert found.distributions[0].url.startswith("file:///")

    def test_a_changed_file_is_noticed(self) -> None:
        source = make("folder", Canned(b""), self.root.as_uri())
        (first,) = source.pages()
        os.utime(self.root / "run_20240102" / "a.csv", (1, 1))
        (second,) = source.pages(state=first.state)
        assert not second.unchanged

    @pytest.mark.parametrize("url", ["https://example.org/x", "file://host/x", "file:///not/there"])
    def test_an_address_that_is_no_folder_is_an_error(self, url: str) -> None:
        with pytest.raises(GenesisError):
            list(make("folder", Canned(b""), url).pages())


class TestStarter(_LocalContract):
    kind = "starter"

    def source(self, peer: Any, fetcher: Fetcher) -> Any:
        return make("starter", fetcher, "")

    def ids(self) -> list[str]:
        return [record["id"] for record in RECORDS]
