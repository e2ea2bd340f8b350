"""Intake catalogs: YAML files in which groups write down where their data are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urljoin

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.sources._base import Page, make_dataset, read_page, validators
from genesis_workbench.catalog.sources._files import Documents
from genesis_workbench.catalog.sources._values import clean, format_name, kind_of, web_address
from genesis_workbench.core import plain_yaml
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

MAX_BYTES = 2 * 2**20
_DRIVER_FORMAT = {
    "csv": "csv",
    "parquet": "parquet",
    "netcdf": "netcdf",
    "zarr": "zarr",
    "rasterio": "geotiff",
    "opendap": "opendap",
    "json": "json",
    "jsonl": "json",
    "hdf5": "hdf5",
}
_OBJECTS = ("s3://", "gs://", "gcs://", "abfs://", "file://")


class IntakeSource:
    """Each entry of an Intake catalog (the YAML of its first version) is one dataset.

    `url` of the section is the file's address: ``https://`` or ``file://``. It is read as plain data: drivers, plug-ins
    and templates in it are never run.
    """

    kind: ClassVar[str] = "intake"
    protocol: ClassVar[str] = "Intake catalog (YAML)"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._documents = Documents(section, fetcher)

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the one page there is, if it has changed."""
        answer = self._documents.read(self._section.url)
        taken = validators(answer)
        if state and state.get("digest") == taken.get("digest"):
            yield Page([], state=state, unchanged=True)
            return
        content = _yaml(answer.body, self._section)
        sources = content.get("sources")
        if not isinstance(sources, Mapping):
            raise InvalidInput(
                f"The source {self._section.name!r} sent YAML without 'sources': no Intake catalog."
            )
        folder = self._section.url.rpartition("/")[0]
        records = [{"#name": name, **e} if isinstance(e, Mapping) else e for name, e in sources.items()]
        yield read_page(records, lambda r: self._read(r, folder), lambda r: r.get("#name"), state=taken)

    def _read(self, record: Mapping[str, Any], folder: str) -> Dataset:
        arguments = record.get("args")
        arguments = arguments if isinstance(arguments, Mapping) else {}
        driver = clean(record.get("driver"), 100).rpartition(".")[2].lower()
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        name = clean(record.get("#name"), 200)
        given = arguments.get("urlpath") or arguments.get("path") or arguments.get("url")
        addresses = [_address(each, folder) for each in (given if isinstance(given, list) else [given])]
        kind = next((form for key, form in _DRIVER_FORMAT.items() if key in driver), "")
        return make_dataset(
            self._section,
            dict(record),
            identifier=name,
            title=metadata.get("title") or name,
            description=record.get("description") or metadata.get("description"),
            keywords=metadata.get("tags") or metadata.get("keywords"),
            licence=metadata.get("license"),
            citation=metadata.get("citation"),
            doi=metadata.get("doi"),
            landing_page=metadata.get("url"),
            distributions=[
                Distribution(format=kind or format_name(url), url=url, title=driver)
                for url in addresses
                if url
            ],
        )


def _yaml(body: bytes, section: SourceSection) -> Mapping[str, Any]:
    if len(body) > MAX_BYTES:
        raise InvalidInput(f"An Intake catalog of {len(body):,} bytes is too large; {MAX_BYTES:,} are read.")
    content = plain_yaml.load(body, f"The catalog of {section.name!r}")
    if not isinstance(content, Mapping):
        raise InvalidInput(
            f"The source {section.name!r} sent {kind_of(content)}, where an Intake catalog was expected."
        )
    return content


def _address(value: Any, folder: str) -> str:
    text = clean(value, 2000).replace("{{ CATALOG_DIR }}", folder).replace("{{CATALOG_DIR}}", folder)
    if not text or "{{" in text or "*" in text or " " in text:  # templates and patterns name no one place
        return ""
    text = text.removeprefix("simplecache::")
    return text if text.startswith(_OBJECTS) else web_address(urljoin(folder + "/", text))
